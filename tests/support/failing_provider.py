"""Providers that fail in the way that the template of their pool names; `installed` installs them."""

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from vmpooler_tasks.errors import PermanentProviderError, ThrottledProviderError, TransientProviderError
from vmpooler_tasks.providers import Inventory, PoolSpec, ProviderContext, Readiness, VirtualMachine
from vmpooler_tasks.providers.dummy.provider import Dummy

NAME = "failing"
PARTLY_NAME = "partly_failing"


def _raise(error: BaseException) -> NoReturn:
    raise error


def _end_process() -> NoReturn:
    os._exit(1)


def _kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    time.sleep(60)


def _kill_worker() -> None:
    """Kill the whole worker: in the tests it has its own process group."""
    os.killpg(os.getpgid(0), signal.SIGKILL)


def _sleep_on(seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.1)


WAYS: dict[str, Callable[[], object]] = {
    "permanent": lambda: _raise(PermanentProviderError("template x does not exist")),
    "transient": lambda: _raise(TransientProviderError("the line broke")),
    "throttled": lambda: _raise(ThrottledProviderError("too many requests", 0.01)),
    "bug": lambda: _raise(AttributeError("'NoneType' object has no attribute 'clone'")),
    "foreign error": lambda: _raise(ConnectionResetError("reset by peer, password=hunter2")),
    "exit": lambda: sys.exit(3),
    "interrupt": lambda: _raise(KeyboardInterrupt()),
    "memory": lambda: _raise(MemoryError("no more")),
    "end of process": _end_process,
    "kill of process": lambda: _kill(os.getpid()),
    "kill of worker": _kill_worker,
    "hang": lambda: _sleep_on(60),
}


class Failing:
    """Create VMs without recording them: none is found again."""

    def __init__(self, context: ProviderContext) -> None:
        del context

    def list_vms(self, pool: PoolSpec) -> Inventory:
        return {}

    def find_vm(self, pool: PoolSpec, vm: str) -> VirtualMachine | None:
        return None

    def create_vm(self, pool: PoolSpec, vm: str) -> VirtualMachine:
        way = str(pool.template)
        if way in WAYS:
            WAYS[way]()
        return VirtualMachine(name=vm, hostname=vm, ip=None if way == "no address" else "10.0.0.1")

    def is_ready(self, pool: PoolSpec, vm: str) -> Readiness:
        return Readiness(ready=True)

    def destroy_vm(self, pool: PoolSpec, vm: str) -> bool:
        if pool.template == "destroy fails":
            raise PermanentProviderError("permission denied")
        return True

    def close(self) -> None:
        pass


class PartlyFailing(Dummy):
    """The dummy, except for pools whose template names a way to fail."""

    def create_vm(self, pool: PoolSpec, vm: str) -> VirtualMachine:
        if pool.template in WAYS:
            WAYS[pool.template]()
        return super().create_vm(pool, vm)


def installed(folder: Path) -> str:
    """Return a folder for PYTHONPATH in which these providers are an installed distribution."""
    info = folder / "failing_provider-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: failing-provider\nVersion: 1\n", encoding="utf-8")
    entries = {NAME: Failing, PARTLY_NAME: PartlyFailing}
    lines = [f"{name} = tests.support.failing_provider:{made.__name__}\n" for name, made in entries.items()]
    (info / "entry_points.txt").write_text(f"[vmpooler_tasks.providers]\n{''.join(lines)}", encoding="utf-8")
    return str(folder)
