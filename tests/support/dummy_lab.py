"""Dummies on a real server, whose clock is the tests'."""

from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import Any

from vmpooler_tasks.errors import VmNotFoundError
from vmpooler_tasks.providers import PoolSpec, ProviderContext
from vmpooler_tasks.providers.dummy.provider import Dummy
from vmpooler_tasks.store import Database

POOL = PoolSpec(name="centos-7-x86_64", template="templates/centos-7")

NOW = 1_705_314_600.0

SOME = [f"vm-{number}" for number in range(200)]


@dataclass
class Lab:
    """A server, and dummies on it that share a clock; a sleep moves it and is noted."""

    url: str
    db: Database
    stack: ExitStack
    now: float = NOW
    slept: list[float] = field(default_factory=list)

    def dummy(self, **options: Any) -> Dummy:
        context = ProviderContext(name="dummy", options=options, redis_url=self.url)
        own = Dummy(context, sleep=self.sleep, clock=lambda: self.now)
        self.stack.callback(own.close)
        return own

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def commands(self, call: Callable[[], Any]) -> dict[str, int]:
        """Command → how often the server ran it for this call."""
        self.db.call("CONFIG", "RESETSTAT")
        call()
        stats = self.db.client.info("commandstats")
        return {
            name.removeprefix("cmdstat_"): counted["calls"]
            for name, counted in stats.items()
            if not name.startswith("cmdstat_config")
        }


CALLS: dict[str, Callable[[Dummy, str], Any]] = {
    "create": lambda own, vm: own.create_vm(POOL, vm),
    "destroy": lambda own, vm: own.destroy_vm(POOL, vm),
    "ready": lambda own, vm: own.is_ready(POOL, vm),
    "list": lambda own, vm: own.list_vms(PoolSpec(name=vm)),
    "find": lambda own, vm: own.find_vm(POOL, vm),
    "disk": lambda own, vm: _without_vm(lambda: own.create_disk(POOL, vm, "disk", 8)),
    "snapshot": lambda own, vm: _without_vm(lambda: own.create_snapshot(POOL, vm, "before")),
    "revert": lambda own, vm: _without_vm(lambda: own.revert_snapshot(POOL, vm, "before")),
}


def _without_vm(call: Callable[[], None]) -> None:
    """Make the call; the VM need not exist, nor its snapshot."""
    with suppress(VmNotFoundError):
        call()
