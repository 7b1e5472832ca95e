"""A real worker and a real beat take over from VMPooler's manager, stand back beside it, and hand the pools back."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.support.api_client import ApiClient
from tests.support.api_server import ApiPool
from tests.support.manager_watch import forget_watch
from tests.support.processes import Installation, Process, configuration, until
from tests.support.vmpooler_manager import ManagedPool, VmpoolerManager
from vmpooler_tasks.model.names import Queue
from vmpooler_tasks.providers import PoolSpec, ProviderContext
from vmpooler_tasks.providers.dummy.provider import Dummy
from vmpooler_tasks.store import Database, keys

pytestmark = pytest.mark.slow(seconds=40)

SIZE = 3
POOLS = ("one", "two")


@pytest.fixture
def theirs(database: Database) -> Iterator[VmpoolerManager]:
    """VMPooler's manager, with the dummy's inventory that the workers have as well."""
    dummy = Dummy(ProviderContext(name="dummy", options={}, redis_url=database.address))
    yield VmpoolerManager(database.client, dummy, [ManagedPool(name, SIZE, "templates/one") for name in POOLS])
    dummy.close()


@contextmanager
def running(manager: VmpoolerManager) -> Iterator[None]:
    """Let the manager check its pools, and a user check VMs out, until the block ends."""
    end, failures = threading.Event(), list[Exception]()
    api = ApiClient(manager.client, [ApiPool(name, SIZE) for name in POOLS])

    def run() -> None:
        try:
            while not end.wait(0.3):
                api.checkout({POOLS[0]: 1})
                manager.round()
        except Exception as error:  # noqa: BLE001 - the test reports it
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()
        assert failures == []


def members(database: Database, queue: Queue) -> set[str]:
    return {vm.decode() for pool in POOLS for vm in database.call("SMEMBERS", keys.queue(queue, pool))}


def full(database: Database) -> None:
    until(lambda: len(members(database, Queue.READY)) == SIZE * len(POOLS), "the pools are full")


def nothing_is_lost(database: Database, manager: VmpoolerManager) -> None:
    """Every VM of the hypervisor is in one queue, and every ready one exists."""

    def judge() -> bool:
        machines = [vm for pool in POOLS for vm in manager.provider.list_vms(PoolSpec(name=pool))]
        places = [vm for queue in Queue if queue is not Queue.MIGRATING for vm in members(database, queue)]
        return sorted(machines) == sorted(places)

    until(judge, "the hypervisor and the queues agree")


def workers(installation: Installation, name: str) -> tuple[Process, Process]:
    return installation.worker("-P", "threads", name=name, worker_concurrency=8), installation.beat(name=f"beat-{name}")


def config(**options: Any) -> str:
    whole = json.loads(configuration(manage_pools=True, check_loop_delay_min=1, purge_interval=3600, **options))
    whole[":providers"] = {"dummy": {}}
    whole[":pools"] = [{"name": pool, "size": SIZE, "template": "templates/one"} for pool in POOLS]
    return json.dumps(whole)


def test_a_change_of_manager_and_back(installation: Installation, database: Database, theirs: VmpoolerManager) -> None:
    installation.environment["VMPOOLER_CONFIG"] = config(prefix="ours-")
    theirs.start()
    theirs.round()

    # Beside it the workers do nothing.
    with running(theirs):
        worker, beat = workers(installation, "beside")
        worker.says("[!] [pools] Another pool manager is at work on this Redis")
        shown = installation.run("vmpooler-tasks", "doctor", "--json", status=1)
        assert "another pool manager uses this Redis" in shown
        assert not [vm for queue in Queue for vm in members(database, queue) if vm.startswith("ours-")]
        assert not database.client.exists(keys.CONFIG)
        beat.stop()
        worker.stop()

    # It is killed in the middle of a clone, and they take over. The two minutes without a sighting are not waited for.
    ready = members(database, Queue.READY)
    database.client.incrby("vmpooler__tasks__clone", 2)
    forget_watch(database.client)
    worker, beat = workers(installation, "after")
    worker.says("[*] [pools] Watching for another pool manager for 2 seconds before the next clone")
    worker.says("[!] [pools] vmpooler__tasks__clone was 2, left behind by another pool manager: corrected to 0")
    full(database)
    assert ready <= members(database, Queue.READY), "no VM is drained"
    nothing_is_lost(database, theirs)

    # And back.
    beat.stop()
    worker.stop()
    theirs.start()
    with running(theirs):
        taken = len(members(database, Queue.RUNNING))
        until(lambda: len(members(database, Queue.RUNNING)) >= taken + 4, "users take VMs")
    for _ in range(3):
        theirs.round()
    full(database)
    nothing_is_lost(database, theirs)
    assert int(database.client.get("vmpooler__tasks__clone")) == 0
