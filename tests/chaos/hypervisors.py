"""The hypervisors of the scenarios: each keeps its VMs outside the Redis that is damaged, and shows what is there.

What is there is read past the provider under test: the records of the dummy, the control page of the vCenter, the API
of EC2 with a login of its own. So it is the truth, also while the provider is down or lies.
"""

import json
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import redis
from botocore.exceptions import BotoCoreError, ClientError

from tests.support import moto_server, servers, vcenter_simulator
from tests.support.ec2_lab import ALIVE, Ec2Lab, tags_of
from tests.support.moto_server import IMAGE, REGION, MotoServer
from tests.support.servers import TestServer
from tests.support.vcenter_simulator import CLUSTER, FOLDER, TEMPLATE, Vcenter
from vmpooler_tasks.errors import VmpoolerTasksError
from vmpooler_tasks.providers.dummy.inventory import PARTS_PREFIX, PREFIX
from vmpooler_tasks.store import Database

DURABLE = ("--appendonly", "yes", "--appendfsync", "always")
"""Options of a server that loses no confirmed write. With a delay of a second, a killed one may lose some."""

AWAY = (VmpoolerTasksError, redis.RedisError, httpx.HTTPError, OSError, BotoCoreError, ClientError)
"""What a reading raises while Redis or the hypervisor does not reply. What is there is not known then."""

POOLS = ("amber", "birch")

Inventory = Mapping[str, Counter[str]]
"""Pool → VM → how many machines have this name."""


class Hypervisor(ABC):
    """Where the VMs are. `clone_seconds` is about how long a clone takes at most."""

    name: str
    clone_seconds: float
    pause_seconds: float
    """Time between two readings of the inventory by those who watch it: a reading is work for this machine."""

    @property
    @abstractmethod
    def section(self) -> Mapping[str, Any]:
        """The options of its section in `:providers:`."""

    @property
    def environment(self) -> Mapping[str, str]:
        """Variables of the processes under test."""
        return {}

    @abstractmethod
    def pool(self, name: str) -> Mapping[str, Any]:
        """Return the options of a pool that only its provider knows, and its template."""

    @abstractmethod
    def read(self) -> Inventory:
        """Return what is there, however its provider fares."""

    @abstractmethod
    def disks(self, pool: str, vm: str) -> Sequence[int]:
        """Return the sizes in gigabytes of all disks of a VM."""

    def problems(self) -> Sequence[str]:
        """Return what was made and belongs to nothing any more."""
        return ()


class DummyHypervisor(Hypervisor):
    """The dummy, on a server of its own. A clone fails at times, for a while or for good."""

    name, pause_seconds = "dummy", 0.1
    clone_seconds = 0.4

    def __init__(self, server: TestServer, **options: Any) -> None:
        self.server, self.options = server, options
        self.db = Database(server.url)

    @property
    def section(self) -> Mapping[str, Any]:
        failures = {"create": {"transient": 0.03, "permanent": 0.03}, "destroy": {"transient": 0.03}}
        spans = {"clone_seconds": (0.05, self.clone_seconds), "destroy_seconds": (0, 0.2)}
        return {"redis_url": self.server.url, "failures": failures, **spans, **self.options}

    def pool(self, name: str) -> Mapping[str, Any]:
        return {"template": f"templates/{name}"}

    def read(self) -> Inventory:
        pools = [key.decode().removeprefix(PREFIX) for key in self.db.client.scan_iter(f"{PREFIX}*", count=1000)]
        return {
            pool: Counter(vm.decode() for vm in self.db.call("HKEYS", f"{PREFIX}{pool}"))
            for pool in pools
            if ":" not in pool
        }

    def disks(self, pool: str, vm: str) -> Sequence[int]:
        parts = self.db.call("HGETALL", f"{PARTS_PREFIX}{pool}:{vm}")
        return [int(float(size)) for part, size in parts.items() if part.startswith(b"disk:")]


class VsphereHypervisor(Hypervisor):
    """A vCenter. Each pool has a folder that the simulator has from its start."""

    name, pause_seconds = "vsphere", 0.5
    clone_seconds = 1.2
    folders: Mapping[str, str] = dict(zip(POOLS, (FOLDER, "Pooled VMs/other"), strict=True))

    def __init__(self, server: Vcenter) -> None:
        self.server = server
        self.usual: Mapping[str, Any] = {"clone_seconds": 0.6, "guest_seconds": 0.2}
        server.configure(**self.usual)

    @property
    def section(self) -> Mapping[str, Any]:
        return self.server.options

    def pool(self, name: str) -> Mapping[str, Any]:
        return {"template": TEMPLATE, "folder": self.folders[name], "clone_target": CLUSTER}

    def read(self) -> Inventory:
        return {pool: Counter(vm["name"] for vm in self.server.vms(folder)) for pool, folder in self.folders.items()}

    def disks(self, pool: str, vm: str) -> Sequence[int]:
        found = [one for one in self.server.vms(self.folders[pool]) if one["name"] == vm]
        return [disk["kilobytes"] // 1024**2 for one in found for disk in one["disks"]]


class Ec2Hypervisor(Hypervisor):
    """EC2, whose instances are pending for a moment. Ended instances stay visible, as in EC2."""

    name, pause_seconds = "ec2", 1.0
    clone_seconds = 1.5

    def __init__(self, server: MotoServer, stack: ExitStack) -> None:
        self.server, self.lab = server, Ec2Lab(server, stack)
        server.set_pending(0.5)

    @property
    def section(self) -> Mapping[str, Any]:
        return {"region": REGION, "endpoint_url": self.server.url, "readiness": "running"}

    @property
    def environment(self) -> Mapping[str, str]:
        return moto_server.environment()

    def pool(self, name: str) -> Mapping[str, Any]:
        return {"template": IMAGE}

    def read(self) -> Inventory:
        found: dict[str, Counter[str]] = {}
        for instance in self.lab.instances(*ALIVE):
            tags = tags_of(instance)
            found.setdefault(tags["pool"], Counter())[tags["vm_name"]] += 1
        return found

    def disks(self, pool: str, vm: str) -> Sequence[int]:
        alive = {one["InstanceId"] for one in self.lab.instances(*ALIVE) if tags_of(one)["vm_name"] == vm}
        return [
            volume["Size"]
            for volume in self.lab.volumes()
            if any(attachment["InstanceId"] in alive for attachment in volume["Attachments"])
        ]

    def problems(self) -> Sequence[str]:
        """Return names with two instances, alive or ended, and volumes that are attached to nothing."""
        ever = self.lab.instances(*ALIVE, "shutting-down", "terminated")
        names = Counter(tags_of(instance)["vm_name"] for instance in ever)
        alive = {instance["InstanceId"] for instance in self.lab.instances(*ALIVE)}
        attached = {
            volume["VolumeId"]: {attachment["InstanceId"] for attachment in volume["Attachments"]}
            for volume in self.lab.volumes()
        }
        return [
            *(f"{count} instances were made for {name}" for name, count in names.items() if count > 1),
            *(f"volume {volume} is left over" for volume, instances in attached.items() if not instances & alive),
        ]


@contextmanager
def dummy(folder: Path, **options: Any) -> Iterator[DummyHypervisor]:
    with servers.running("valkey", folder / "dummy", DURABLE) as server:
        yield DummyHypervisor(server, **options)


@contextmanager
def vsphere(folder: Path) -> Iterator[VsphereHypervisor]:
    (folder / "vcenter").mkdir()
    with vcenter_simulator.running(folder / "vcenter") as server:
        yield VsphereHypervisor(server)


@contextmanager
def ec2(folder: Path) -> Iterator[Ec2Hypervisor]:
    with ExitStack() as stack, moto_server.running(folder) as server:
        yield Ec2Hypervisor(server, stack)


HYPERVISORS: Mapping[str, Callable[[Path], AbstractContextManager[Hypervisor]]] = {
    "dummy": dummy,
    "ec2": ec2,
    "vsphere": vsphere,
}


def as_entry(hypervisor: Hypervisor, name: str, size: int) -> dict[str, Any]:
    """Return the entry of a pool in `:pools:`."""
    return {"name": name, "size": size, "provider": hypervisor.name, **json.loads(json.dumps(hypervisor.pool(name)))}
