"""Simulators of hypervisors for the benchmark, each with what the measurements need of it, and no more."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support import moto_server, vcenter_simulator
from tests.support.moto_server import IMAGE, LOGIN, REGION, MotoServer
from tests.support.vcenter_simulator import CLUSTER, FOLDER, TEMPLATE, Vcenter
from vmpooler_tasks.providers import PoolSpec
from vmpooler_tasks.providers.ec2.instances import INSTALLATION_TAG, POOL_TAG

INSTALLATION = "benchmark"
LARGE = "large"
"""The pool whose inventory is read."""


class Simulator(ABC):
    """A server of a hypervisor's API, and the options of its provider."""

    name: str
    title: str
    options: Mapping[str, Any]
    """Of the provider's section."""

    @abstractmethod
    def pool(self, name: str) -> dict[str, Any]:
        """Return the entry of a pool in `:pools:`, without its size."""

    @abstractmethod
    def calls(self) -> Counter[str]:
        """Return the API calls since `forget_calls` by their names."""

    @abstractmethod
    def forget_calls(self) -> None: ...

    @abstractmethod
    def fill(self, count: int) -> None:
        """Put so many VMs into the pool LARGE, past the provider."""

    @abstractmethod
    def empty(self) -> None:
        """Remove these VMs."""

    @abstractmethod
    def slow_down(self, seconds: float) -> None:
        """Let each VM that is made from now on take so long."""

    def spec(self, name: str) -> PoolSpec:
        entry = self.pool(name)
        known = {key: entry.pop(key) for key in ("name", "template", "clone_target") if key in entry}
        return PoolSpec(**known, options=entry)


class VsphereSimulator(Simulator):
    """A vCenter. A VM gets its address after the seconds."""

    name, title = "vsphere", "vSphere"

    def __init__(self, server: Vcenter) -> None:
        self._server, self.options = server, server.options

    def pool(self, name: str) -> dict[str, Any]:
        folder = "Pooled VMs/other" if name == LARGE else FOLDER
        return {"name": name, "template": TEMPLATE, "clone_target": CLUSTER, "folder": folder}

    def calls(self) -> Counter[str]:
        return Counter(self._server.calls())

    def forget_calls(self) -> None:
        self._server.forget_calls()

    def fill(self, count: int) -> None:
        self._server.add([f"b-{number}" for number in range(count)], folder=self.pool(LARGE)["folder"])

    def empty(self) -> None:
        self._server.empty(self.pool(LARGE)["folder"])

    def slow_down(self, seconds: float) -> None:
        self._server.configure(guest_seconds=seconds)


class Ec2Simulator(Simulator):
    """Moto. An instance is pending for the seconds."""

    name, title = "ec2", "EC2"

    def __init__(self, server: MotoServer) -> None:
        self._server = server
        login = {"ABS_AWS_ACCESS_KEY": LOGIN["AWS_ACCESS_KEY_ID"], "ABS_AWS_SECRET_KEY": LOGIN["AWS_SECRET_ACCESS_KEY"]}
        self.options = {"region": REGION, "endpoint_url": server.url, "readiness": "running", **login}

    def pool(self, name: str) -> dict[str, Any]:
        return {"name": name, "template": IMAGE}

    def calls(self) -> Counter[str]:
        return Counter(self._server.calls())

    def forget_calls(self) -> None:
        self._server.reset_calls()

    def fill(self, count: int) -> None:
        self._server.fill(count, **{POOL_TAG: LARGE, INSTALLATION_TAG: INSTALLATION})

    def empty(self) -> None:
        self._server.reset()

    def slow_down(self, seconds: float) -> None:
        self._server.set_pending(seconds)


@contextmanager
def vsphere(folder: Path) -> Iterator[Simulator]:
    with vcenter_simulator.running(folder) as server:
        yield VsphereSimulator(server)


@contextmanager
def ec2(folder: Path) -> Iterator[Simulator]:
    with moto_server.running(folder) as server:
        yield Ec2Simulator(server)


SIMULATORS = (vsphere, ec2)
