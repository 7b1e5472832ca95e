"""Several hosts of libvirt in one section: where a VM is made and found. Hosts of the test driver, each from a file."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.support.libvirt_hosts import INSTALLATION, OPTIONS, require_library
from vmpooler_tasks.errors import PermanentProviderError
from vmpooler_tasks.providers import PoolSpec, ProviderContext, registry

pytestmark = [pytest.mark.stage(name="guests")]

TEMPLATE = "debian-12-x86_64"
POOL = PoolSpec(name="debian", template=TEMPLATE)
MEMORY_MIB = 1024

NODE = """
<node>
  <cpu><mhz>2000</mhz><model>x86_64</model><active>4</active><nodes>1</nodes><sockets>1</sockets><cores>4</cores>
    <threads>1</threads></cpu>
  <memory>{memory_kib}</memory>
  <network><name>default</name><bridge name='virbr0'/><forward/><ip address='192.168.122.1' netmask='255.255.255.0'>
    <dhcp><range start='192.168.122.2' end='192.168.122.254'/></dhcp></ip></network>
  <pool type='dir'><name>default-pool</name><target><path>/default-pool</path></target></pool>
</node>"""

DOMAIN = """
<domain type='test'>
  <name>{name}</name>
  <memory unit='MiB'>{memory_mib}</memory>
  <os><type>hvm</type></os>
  <devices><interface type='network'><source network='default'/></interface></devices>
</domain>"""


class Racks:
    """A provider with hosts of these sizes in GiB. Each has the template, without a disk."""

    def __init__(self, folder: Path, **sizes: int) -> None:
        uris = {}
        for name, gibibytes in sizes.items():
            file = folder / f"{name}.xml"
            file.write_text(NODE.format(memory_kib=gibibytes * 1024 * 1024), encoding="utf-8")
            uris[name] = f"test://{file}"
        options = {name: value for name, value in OPTIONS.items() if name != "uri"} | {"hosts": uris}
        context = ProviderContext(name="libvirt", options=options, redis_url="", installation=INSTALLATION)
        self.provider: Any = registry.load(context)
        for name in sizes:
            self.define(name, TEMPLATE)

    def define(self, host: str, name: str, memory_mib: int = MEMORY_MIB, *, starts: bool = False) -> None:
        [chosen] = [one for one in self.provider._hosts.all if one.name == host]

        def step(connection: Any) -> None:
            domain = connection.defineXML(DOMAIN.format(name=name, memory_mib=memory_mib))
            if starts:
                domain.create()

        chosen.call(step)

    def undefine_template(self, host: str) -> None:
        [chosen] = [one for one in self.provider._hosts.all if one.name == host]
        chosen.call(lambda connection: connection.lookupByName(TEMPLATE).undefine())

    def create(self, count: int, pool: PoolSpec = POOL) -> list[str]:
        """Make so many VMs, one after the other, and return the host of each."""
        return [self.provider.create_vm(pool, f"vm-{number}").host for number in range(count)]


@pytest.fixture
def racks(tmp_path: Path) -> Iterator[Racks]:
    require_library()
    own = Racks(tmp_path, small=8, large=12)
    yield own
    own.provider.close()


def test_a_vm_is_made_where_most_memory_is_free(racks: Racks) -> None:
    assert racks.create(6) == ["large"] * 4 + ["small", "large"]


def test_the_domains_of_others_count(racks: Racks) -> None:
    racks.define("large", "own", memory_mib=6 * 1024, starts=True)
    racks.define("small", "shut-off", memory_mib=6 * 1024)
    assert racks.create(1) == ["small"]


def test_many_clones_at_once_do_not_all_choose_the_same_host(racks: Racks) -> None:
    with ThreadPoolExecutor(8) as threads:
        made = list(threads.map(lambda number: racks.provider.create_vm(POOL, f"vm-{number}").host, range(8)))
    assert set(made) == {"small", "large"}
    assert len(racks.provider.list_vms(POOL)) == 8


def test_a_vm_is_found_marked_and_destroyed_on_any_host(racks: Racks) -> None:
    hosts = racks.create(6)
    provider = racks.provider
    for number, host in enumerate(hosts):
        vm = f"vm-{number}"
        assert provider.find_vm(POOL, vm).host == host
        assert provider.create_vm(POOL, vm).existed, "there is no second one on another host"
        assert provider.is_ready(POOL, vm).ready
    assert set(provider.list_vms(POOL)) == {vm.name for vm in provider.list_marked()} == {f"vm-{n}" for n in range(6)}
    assert all(provider.destroy_vm(POOL, f"vm-{number}") for number in range(6))
    assert provider.list_vms(POOL) == {}


def test_the_clone_target_of_a_pool_is_its_host(racks: Racks) -> None:
    pool = PoolSpec(name="debian", template=TEMPLATE, clone_target="small")
    assert racks.create(5, pool) == ["small"] * 5
    elsewhere = PoolSpec(name="debian", template=TEMPLATE, clone_target="medium")
    with pytest.raises(
        PermanentProviderError, match=r"clone_target medium is no host of this provider \(small, large\)"
    ):
        racks.provider.create_vm(elsewhere, "vm-9")


def test_a_host_without_the_template_is_not_chosen(racks: Racks) -> None:
    racks.undefine_template("large")
    assert racks.provider.find_problems([POOL]) == []
    assert racks.create(3) == ["small"] * 3
    racks.undefine_template("small")
    with pytest.raises(PermanentProviderError, match=f"template {TEMPLATE} does not exist"):
        racks.provider.create_vm(POOL, "vm-9")
    [problem] = racks.provider.find_problems([POOL])
    assert problem.text == f"template {TEMPLATE} does not exist: no host (small, large) has a domain of this name"
