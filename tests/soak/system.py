"""The system under load: every process of Procfile, with its literal command line, on a server of its own."""

import json
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import httpx

from tests.support.deployment import procfile
from tests.support.ports import free_port
from tests.support.processes import Installation, Process, until
from tests.support.servers import TestServer
from vmpooler_tasks.local.ports import LOOPBACK
from vmpooler_tasks.model.names import Queue
from vmpooler_tasks.store import Database, broker_keys, keys
from vmpooler_tasks.tasks import registry

SIZES = {"amber": 12, "birch": 8, "cedar": 0}
"""Pool → size. Users take VMs of the first two, and request those of the last."""

REQUESTED_POOL = "cedar"
PREFIX = "soak-"

CONFIG: Mapping[str, Any] = {
    "config": {
        "manage_pools": True,
        "dlq_enabled": True,
        "purge_enabled": True,
        "purge_interval": 10,
        "health_check_enabled": True,
        "health_check_interval": 5,
        "health_thresholds": {"dlq_max_warning": 1_000_000, "dlq_max_critical": 2_000_000},
        "check_loop_delay_min": 1,
        "vm_checktime": 0.1,
        "timeout": 0.5,
        "lease_seconds": 10,
        "task_limit": 20,
        "ondemand_clone_limit": 10,
        "breaker_failures": 10_000,
        "prefix": PREFIX,
    },
    "providers": {
        "dummy": {
            "clone_seconds": [0.05, 0.5],
            "boot_seconds": [0, 1],
            "destroy_seconds": [0, 0.3],
            "failures": {"create": {"transient": 0.03, "permanent": 0.02}, "destroy": {"transient": 0.03}},
            "unreachable": 0.01,
            "wrong_hostname": 0.01,
        },
    },
    "pools": [{"name": name, "size": size, "template": "templates/one"} for name, size in SIZES.items()],
}

QUIET_SECONDS = 180.0
"""Until everything has come to rest at the end: VMs that never become ready fail after half a minute."""


class System:
    """Its processes run within the `with` block. `processes` by their names in Procfile."""

    def __init__(self, server: TestServer, folder: Path) -> None:
        self.server, self.db = server, Database(server.url)
        self.installation = Installation(server.url, folder, json.dumps(CONFIG))
        web_port = free_port()
        self.installation.environment |= {"WEB_PORT": str(web_port)}
        lines = {line.where.split()[1]: line.here() for line in procfile()}
        flower = next(word for word in lines["flower"] if word.startswith("--port="))
        self.web, self.flower = f"http://{LOOPBACK}:{web_port}", f"http://{LOOPBACK}:{flower.removeprefix('--port=')}"
        self._lines = lines
        self.processes: dict[str, Process] = {}

    def __enter__(self) -> Self:
        for name, words in self._lines.items():
            self.processes[name] = self.installation.start_literally(words, name)
        for address in (f"{self.web}/readyz", f"{self.flower}/healthcheck"):
            until(lambda address=address: _responds(address), f"{address} responds")  # type: ignore[misc]
        until(self.is_full, "the pools are full")
        return self

    def __exit__(self, *_: object) -> None:
        self.installation.__exit__()
        self.db.close()

    @property
    def pids(self) -> dict[str, int]:
        """Return the process ids by name, the server's too."""
        running = {**{name: one.process for name, one in self.processes.items()}, "server": self.server.process}
        return {name: process.pid for name, process in running.items() if process is not None}

    def log(self) -> str:
        """Return what all processes have logged."""
        return "\n".join(process.log for process in self.processes.values())

    def is_full(self) -> bool:
        return all(len(self.queue(Queue.READY, pool)) >= size for pool, size in SIZES.items())

    def queue(self, queue: Queue, pool: str) -> set[bytes]:
        return set(self.db.call("SMEMBERS", keys.queue(queue, pool)))

    def come_to_rest(self) -> None:
        """Stop beat once the users' VMs are gone and the pools are full, and wait until no message is left."""
        until(self._is_quiet, lambda: f"all is quiet: {self.sizes()}", QUIET_SECONDS, pause=0.5)
        self.processes["beat"].signal(signal.SIGTERM)
        until(lambda: not self._messages(), lambda: f"no message is left: {self._messages()}", QUIET_SECONDS, pause=0.2)

    def _is_quiet(self) -> bool:
        moving = (Queue.PENDING, Queue.COMPLETED, Queue.DISCOVERED, Queue.RUNNING)
        return self.is_full() and not any(self.queue(queue, pool) for queue in moving for pool in SIZES)

    def _messages(self) -> int:
        lists = [key for queue in registry.QUEUES for key in broker_keys.messages(queue)]
        return int(self.db.call("HLEN", "unacked")) + sum(int(self.db.call("LLEN", key)) for key in lists)

    def sizes(self) -> dict[str, int]:
        found = {f"{queue} {pool}": len(self.queue(queue, pool)) for queue in Queue for pool in SIZES}
        return {place: size for place, size in found.items() if size}


def _responds(address: str) -> bool:
    try:
        return httpx.get(address, timeout=5).is_success
    except httpx.HTTPError:
        return False
