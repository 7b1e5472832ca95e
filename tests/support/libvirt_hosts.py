"""Hosts of libvirt's test driver, which keeps domains and volumes in the memory of this process."""

import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import pytest

from vmpooler_tasks.providers import PoolSpec, ProviderContext, registry

URI = "test:///default"
STORAGE_POOL = "default-pool"
TEMPLATE = "debian-12-x86_64"
OPTIONS = {"uri": URI, "storage_pool": STORAGE_POOL, "ready_port": None, "call_seconds": 60}
"""The test driver invents addresses, at which nothing replies."""

INSTALLATION = "lab"
POOL = PoolSpec(name="debian", template=TEMPLATE)

TEMPLATE_DEFINITION = """
<domain type='test'>
  <name>{name}</name>
  <memory unit='MiB'>{memory_mib}</memory>
  <os><type>hvm</type></os>
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2'/>
      <source file='/default-pool/{name}.qcow2'/>
      <target dev='vda' bus='virtio'/>
    </disk>
    <interface type='network'><source network='default'/></interface>
  </devices>
</domain>"""


def load(installation: str = INSTALLATION, config: Mapping[str, Any] | None = None, **options: Any) -> Any:
    """Return a provider on the default host of the test driver."""
    context = ProviderContext(
        name="libvirt",
        options=OPTIONS | options,
        redis_url="redis://127.0.0.1",
        installation=installation,
        config=config or {},
    )
    return registry.load(context)


def require_library() -> None:
    """Without libvirt-python, skip the test here, and fail it in CI."""
    if find_spec("libvirt"):
        return
    if os.environ.get("CI"):
        pytest.fail("libvirt-python is not installed; `make libvirt` does that")
    pytest.skip("libvirt-python is not installed: make libvirt")


@dataclass
class TestHost:
    """A connection of the test's own, which shows what is there."""

    __test__ = False
    connection: Any

    def reset(self) -> None:
        """Remove what an earlier test left: the state ends with the last connection, which an error may still hold."""
        for domain in self.connection.listAllDomains():
            if domain.name() != "test":
                if domain.isActive():
                    domain.destroy()
                domain.undefineFlags(3)  # with its snapshots
        for volume in self.storage.listAllVolumes():
            volume.delete()
        network = self.connection.networkLookupByName("default")
        if not network.isActive():
            network.create()

    def add_template(self, name: str = TEMPLATE, memory_mib: int = 64) -> None:
        """Define a domain that is shut off, with a volume."""
        self.add_volume(f"{name}.qcow2")
        self.connection.defineXML(TEMPLATE_DEFINITION.format(name=name, memory_mib=memory_mib))

    def add_domain(self, name: str, *, metadata: str = "") -> None:
        """Define a domain without a disk or a network interface, which is shut off."""
        self.connection.defineXML(
            f"<domain type='test'><name>{name}</name><metadata>{metadata}</metadata><memory>1024</memory>"
            "<os><type>hvm</type></os></domain>"
        )

    def remove_domains(self, names: Collection[str]) -> None:
        """Undefine those of these domains that are there."""
        for domain in self.connection.listAllDomains():
            if domain.name() in names:
                domain.undefine()

    def add_volume(self, name: str, capacity: int = 1048576) -> None:
        self.storage.createXML(
            f"<volume><name>{name}</name><capacity>{capacity}</capacity>"
            "<target><format type='qcow2'/></target></volume>"
        )

    @property
    def storage(self) -> Any:
        return self.connection.storagePoolLookupByName(STORAGE_POOL)

    @property
    def volumes(self) -> list[str]:
        return sorted(self.storage.listVolumes())

    @property
    def domains(self) -> list[str]:
        return sorted(domain.name() for domain in self.connection.listAllDomains())


@contextmanager
def default_host() -> Iterator[TestHost]:
    """Yield the default host of the test driver with a template, and with its network."""
    connection = import_module("libvirt").open(URI)  # not where the library is missing
    try:
        host = TestHost(connection)
        host.reset()
        host.add_template()
        yield host
    finally:
        connection.close()
