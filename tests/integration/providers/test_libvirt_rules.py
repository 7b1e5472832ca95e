"""Rules of the provider for libvirt: its errors, its options, and the definition of a clone."""

import re
from importlib import import_module
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from tests.support.libvirt_hosts import require_library
from tests.support.processes import ROOT
from vmpooler_tasks.errors import (
    PermanentProviderError,
    ThrottledProviderError,
    TransientProviderError,
    VmNotFoundError,
)
from vmpooler_tasks.providers import PoolSpec

pytestmark = [pytest.mark.stage(name="guests")]

VM = "brave-curie"

TEMPLATE = """
<domain type='kvm' id='7'>
  <name>template</name>
  <uuid>37b43936-b5f1-4c96-a7cd-ec01573b141f</uuid>
  <genid>37b43936-b5f1-4c96-a7cd-ec01573b1420</genid>
  <memory unit='KiB'>1048576</memory>
  <os><type arch='x86_64'>hvm</type>
    <nvram template='/usr/share/OVMF/OVMF_VARS.fd'>/var/lib/nvram/template.fd</nvram></os>
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' type='raw' discard='unmap'/>
      <source file='/images/system.img'/>
      <backingStore/>
      <target dev='vda' bus='virtio'/>
      <alias name='virtio-disk0'/>
    </disk>
    <disk type='volume' device='disk'>
      <driver name='qemu' type='qcow2'/>
      <source pool='default' volume='data.qcow2'/>
      <target dev='sdb' bus='scsi'/>
    </disk>
    <disk type='file' device='disk'>
      <source file='/images/shared.img'/><target dev='vdc' bus='virtio'/><shareable/>
    </disk>
    <disk type='file' device='cdrom'>
      <source file='/images/cd.iso'/><target dev='sda' bus='sata'/><readonly/>
    </disk>
    <interface type='network'>
      <mac address='52:54:00:10:2C:07'/><source network='default'/><target dev='vnet0'/>
    </interface>
    <channel type='unix'>
      <source mode='bind' path='/var/lib/libvirt/qemu/channel/template/agent'/>
      <target type='virtio' name='org.qemu.guest_agent.0'/>
    </channel>
    <graphics type='vnc' port='5901' autoport='no'/>
  </devices>
</domain>"""


@pytest.fixture
def definitions() -> Any:
    require_library()
    return import_module("vmpooler_tasks.providers.libvirt.definitions")


@pytest.fixture
def clone(definitions: Any) -> ET.Element:
    mark = definitions.Mark(
        vm=VM, pool="debian", installation="lab", volumes=(definitions.Volume("default", "a.qcow2"),)
    )
    images = {"vda": "/images/a.qcow2", "sdb": "/images/b.qcow2"}
    text = definitions.clone_definition(TEMPLATE, name=VM, mark=mark, images=images, with_cloud_init=True)
    return ET.fromstring(text)  # noqa: S314 - the test made it


def test_the_own_disks_of_a_template_are_its_writable_ones(definitions: Any) -> None:
    found = [(disk.target, disk.bus, disk.format, disk.path) for disk in definitions.own_disks(TEMPLATE)]
    assert found == [("vda", "virtio", "raw", "/images/system.img"), ("sdb", "scsi", "qcow2", None)]
    assert definitions.own_disks(TEMPLATE)[1].volume == definitions.Volume("default", "data.qcow2")


def test_a_disk_that_is_no_image_of_the_host_cannot_be_cloned(definitions: Any) -> None:
    network = TEMPLATE.replace("<source file='/images/system.img'/>", "<source protocol='rbd' name='pool/x'/>")
    network = network.replace("type='file' device='disk'", "type='network' device='disk'", 1)
    with pytest.raises(PermanentProviderError, match="disk vda of the template cannot be cloned: its type is network"):
        definitions.own_disks(network)


def test_a_clone_has_no_identity_of_its_template(clone: ET.Element) -> None:
    assert clone.findtext("name") == VM
    assert clone.get("id") is None
    assert clone.find("uuid") is None
    assert clone.findtext("genid") == ""
    for path in ("devices/interface/mac", "devices/interface/target", "devices/disk/alias"):
        assert clone.find(path) is None, path
    [nvram] = clone.iterfind("os/nvram")
    assert (nvram.text, nvram.get("template")) == (None, "/usr/share/OVMF/OVMF_VARS.fd")
    [channel] = clone.iterfind("devices/channel/source")
    assert channel.get("path") is None
    [graphics] = clone.iterfind("devices/graphics")
    assert graphics.attrib == {"type": "vnc", "autoport": "yes"}


def test_a_clone_has_images_of_its_own_and_shares_what_is_shared(clone: ET.Element) -> None:
    sources = [source.attrib for source in clone.iterfind("devices/disk/source")]
    images = ["/images/a.qcow2", "/images/b.qcow2", "/images/shared.img", "/images/cd.iso"]
    assert sources == [{"file": image} for image in images]
    first, second, shared, _ = clone.iterfind("devices/disk")
    assert first.find("driver").attrib == {"name": "qemu", "type": "qcow2", "discard": "unmap"}  # type: ignore[union-attr]
    assert first.find("backingStore") is None
    assert second.get("type") == "file"
    assert shared.find("driver") is None


def test_a_clone_has_its_mark_and_its_name_for_cloud_init(clone: ET.Element, definitions: Any) -> None:
    [element] = clone.iterfind("metadata/{urn:vmpooler-tasks:vm}vm")
    mark = definitions.Mark.from_xml(ET.tostring(element, encoding="unicode"))
    assert (mark.pool, mark.installation) == ("debian", "lab")
    assert mark.volumes == (definitions.Volume("default", "a.qcow2"),)
    assert clone.findtext("sysinfo/system/entry[@name='serial']") == f"ds=nocloud;h={VM};i={VM}"
    assert clone.find("os/smbios").attrib == {"mode": "sysinfo"}  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("code", "words", "expected"),
    [
        ("VIR_ERR_NO_DOMAIN", "Domain not found", VmNotFoundError),
        ("VIR_ERR_ACCESS_DENIED", "access denied: 'domain:start'", PermanentProviderError),
        ("VIR_ERR_AUTH_FAILED", "authentication failed", PermanentProviderError),
        ("VIR_ERR_NO_STORAGE_POOL", "Storage pool not found", PermanentProviderError),
        ("VIR_ERR_SYSTEM_ERROR", "cannot write: No space left on device", PermanentProviderError),
        ("VIR_ERR_RESOURCE_BUSY", "resource busy", ThrottledProviderError),
        ("VIR_ERR_RPC", "Too many active clients, dropping connection", ThrottledProviderError),
        ("VIR_ERR_SYSTEM_ERROR", "Cannot recv data: Connection reset by peer", TransientProviderError),
        ("VIR_ERR_INTERNAL_ERROR", "monitor closed", TransientProviderError),
    ],
)
def test_an_error_has_the_class_that_says_what_helps(code: str, words: str, expected: type[Exception]) -> None:
    require_library()
    libvirt: Any = import_module("libvirt")
    error = libvirt.libvirtError(f"{words} '{VM}'")
    error.err = (getattr(libvirt, code), 0, f"{words} '{VM}'", 2, None, None, None, 0, 0)
    found = import_module("vmpooler_tasks.providers.libvirt.errors.faults").as_provider_error(error, "rack-1", VM)
    assert type(found) is expected
    assert VM not in str(found)
    if expected is not VmNotFoundError:
        assert str(found) == f"rack-1: {words} 'the VM'"


def test_the_document_has_every_option_with_its_default() -> None:
    require_library()
    options: Any = import_module("vmpooler_tasks.providers.libvirt.options")
    text = (ROOT / "docs/providers/libvirt.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`[^|]+) \| ([^|]+) \| [^|]+ \|$", text, re.MULTILINE)
    documented = {name: default for names, default in rows for name in re.findall(r"`(\w+)`", names)}
    fields = options.LibvirtOptions.model_fields
    assert fields.keys() - {"provider_class"} <= documented.keys()
    for name, field in fields.items():
        if isinstance(field.default, int | float) and not isinstance(field.default, bool):
            assert documented[name] == f"{field.default:g}", name
    for name in options.PoolOptions.model_fields:
        assert f"`{name}`" in text


def test_a_pool_has_its_own_options_before_those_of_the_section() -> None:
    require_library()
    options: Any = import_module("vmpooler_tasks.providers.libvirt.options")
    section = options.LibvirtOptions(ready_port=22, storage_pool="fast", cloud_init=True)
    of = options.EffectiveOptions.of
    assert of(section, PoolSpec(name="a")) == (22, "fast", True, True)
    own = {"ready_port": None, "storage_pool": "slow", "cloud_init": False, "create_linked_clone": False, "size": 3}
    assert of(section, PoolSpec(name="a", options=own)) == (None, "slow", False, False)


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("qemu:///system", "qemu:///system"),
        ("qemu+ssh://me@rack-1/system", "qemu+ssh://me@rack-1/system?no_tty=1"),
        ("qemu+ssh://rack-1/system?keyfile=/k", "qemu+ssh://rack-1/system?keyfile=/k&no_tty=1"),
        ("qemu+ssh://rack-1/system?no_tty=0", "qemu+ssh://rack-1/system?no_tty=0"),
    ],
)
def test_ssh_never_waits_for_somebody_to_type_a_password(uri: str, expected: str) -> None:
    require_library()
    options: Any = import_module("vmpooler_tasks.providers.libvirt.options")
    assert list(options.LibvirtOptions(hosts={"a": uri}).uris().values()) == [expected]
    assert set(options.LibvirtOptions(uri=uri).uris()) == {"rack-1" if "ssh" in uri else "localhost"}
