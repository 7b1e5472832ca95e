"""Orders of VMPooler's API for VMs in use, carried out by real workers that are killed in the middle of them."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import servers
from tests.support.api_client import ApiClient
from tests.support.api_server import ApiPool
from tests.support.commands import CommandLine
from tests.support.processes import Installation, Process, until
from vmpooler_tasks.model.names import DeadLetterQueue, Queue
from vmpooler_tasks.providers.dummy.inventory import PARTS_PREFIX
from vmpooler_tasks.store import Database, keys

pytestmark = [pytest.mark.stage(name="lifecycle"), pytest.mark.timeout(600)]

POOL = "centos-7-x86_64"
SLOW_SECONDS = 3


def configuration() -> str:
    options = {"manage_pools": True, "dlq_enabled": True, "lease_seconds": 2, "check_loop_delay_min": 1}
    dummy = {"provider_class": "dummy", "disk_seconds": SLOW_SECONDS, "revert_seconds": SLOW_SECONDS}
    pools = [{"name": POOL, "size": 1, "template": "t", "provider": "dummy"}]
    return json.dumps({":config": options, ":providers": {"dummy": dummy}, ":pools": pools})


class Bench:
    """A worker, a beat, an API server and one VM that a user has."""

    def __init__(self, installation: Installation) -> None:
        self.installation = installation
        self.db = Database(installation.environment["REDIS_URL"])
        self.api = ApiClient(self.db.client, [ApiPool(POOL, 1, "t")])
        self.run = CommandLine(installation.folder, installation.environment)
        self.names = iter(f"worker-{number}" for number in range(100))
        self.worker = self.start_worker()
        installation.beat()
        self.vm = self.check_out()

    def start_worker(self, pool: str = "threads") -> Process:
        return self.installation.worker("-P", pool, name=next(self.names), worker_concurrency=4)

    def check_out(self) -> str:
        ready = keys.queue(Queue.READY, POOL)
        until(lambda: self.db.call("SCARD", ready), lambda: f"a VM is ready: {self.worker.log[-2000:]}")
        [vm] = self.api.checkout({POOL: 1}).vms
        return str(vm)

    def parts(self, kind: str) -> dict[str, float]:
        """Name → value of what the hypervisor has of this kind: `disk`, `snapshot`, `reverts`."""
        found = self.db.client.hgetall(f"{PARTS_PREFIX}{POOL}:{self.vm}")
        parts = {tuple(name.decode().split(":", 1)): float(value) for name, value in found.items()}
        return {name: value for (part, name), value in parts.items() if part == kind}

    def metadata(self, name: str) -> str | None:
        raw = self.db.client.hget(keys.vm(self.vm.encode()), name)
        return None if raw is None else raw.decode()

    def dead_letters(self) -> list[dict[str, Any]]:
        return [json.loads(raw) for raw in self.db.call("ZRANGE", keys.dead_letters(DeadLetterQueue.TASKS), 0, -1)]

    def replace_worker(self, pool: str = "threads") -> None:
        """Kill the worker as a power failure does, and start another."""
        self.worker.kill()
        self.worker = self.start_worker(pool)

    def kill_children(self) -> None:
        """Kill the processes of a prefork worker that carry out its tasks."""
        assert self.worker.process is not None
        main = self.worker.process.pid
        for child in Path(f"/proc/{main}/task/{main}/children").read_text(encoding="ascii").split():
            os.kill(int(child), signal.SIGKILL)

    def redrive(self, *arguments: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.run("dlq", "redrive", *arguments, "--yes", "--json").out)
        return found

    def lost_revert(self, count: int) -> dict[str, Any]:
        """Return the dead letter of a revert whose worker was lost; so many reverts were started."""
        [lost] = until(self.dead_letters, lambda: f"the revert is a dead letter: {self.says()}")
        assert (lost["error_class"], lost["checkout"]) == ("InterruptedOrderError", self.metadata("checkout"))
        assert sum(self.parts("reverts").values()) == count
        return dict(lost)

    def says(self) -> str:
        return self.worker.log[-3000:]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with (
        servers.running("valkey", tmp_path / "server") as server,
        Installation(server.url, tmp_path, configuration()) as installation,
    ):
        own = Bench(installation)
        yield own
        own.db.close()


def test_orders_survive_their_workers_and_a_revert_is_never_repeated(bench: Bench) -> None:
    name = bench.api.snapshot(bench.vm).body[bench.vm]["snapshot"]
    until(lambda: bench.metadata(f"snapshot:{name}"), lambda: f"the snapshot is noted: {bench.says()}")

    assert bench.api.add_disk(bench.vm, 8).status == 202
    until(lambda: not bench.db.call("SCARD", keys.DISK_ORDERS), lambda: f"a worker has the disk: {bench.says()}")
    bench.replace_worker("prefork")
    until(lambda: bench.metadata("disk"), lambda: f"the disk is noted: {bench.says()}")
    assert bench.metadata("disk") == "+8gb"
    assert list(bench.parts("disk").values()) == [8]

    assert bench.api.revert(bench.vm, name).status == 202
    until(lambda: bench.parts("reverts"), lambda: f"the revert has started: {bench.says()}")
    bench.kill_children()
    first = bench.lost_revert(1)
    assert bench.redrive("--all")["kept"] == 1
    assert "add --confirm" in bench.run("dlq", "redrive", first["id"], "--yes").err

    assert bench.redrive(first["id"], "--confirm")["redriven"] == 1
    until(lambda: bench.parts("reverts") == {name: 2}, lambda: f"the revert has started: {bench.says()}")
    bench.replace_worker()
    second = bench.lost_revert(2)
    assert (second["redrive_of"], second["redrives"]) == (first["id"], 1)

    assert bench.redrive(second["id"], "--confirm")["redriven"] == 1
    bench.worker.says("reverted to snapshot")
    for _ in range(2):
        bench.installation.call("vmpooler_tasks.revert_snapshot", vm=bench.vm, pool=POOL, snapshot=name)
    bench.installation.call("vmpooler_tasks.create_disk", vm=bench.vm, pool=POOL, size="8")
    until(lambda: not sum(bench.db.call("LLEN", queue) for queue in ("vmpooler.clone", "vmpooler.maintenance")), "idle")
    assert bench.parts("reverts") == {name: 3}
    assert len(bench.parts("disk")) == 1
    assert bench.dead_letters() == []
    assert not bench.db.client.keys("vmpooler_tasks__vm_order*")
