"""Redis is emptied, or the inventory lacks VMs, while a real worker and a real beat manage a pool in use."""

import json
import time
from typing import Any

import pytest

from tests.support.api_client import ApiClient
from tests.support.api_server import ApiPool
from tests.support.inspections import wait_for_inspections
from tests.support.processes import Installation, Process, configuration, until
from vmpooler_tasks.jobs.inspection.strays import DISCOVERY_SECONDS
from vmpooler_tasks.model.names import Queue
from vmpooler_tasks.providers.dummy.inventory import PREFIX
from vmpooler_tasks.store import Database, keys

pytestmark = [pytest.mark.stage(name="lifecycle"), pytest.mark.timeout(600)]

POOL = "centos"
RUNNING = 34
INVENTORY = PREFIX + POOL
INTERVAL = 1


@pytest.fixture
def pool(installation: Installation, database: Database) -> Installation:
    """A pool whose 34 VMs users have, and no others."""
    options = {"check_loop_delay_min": INTERVAL, "task_limit": RUNNING, "health_check_interval": 3600}
    whole = json.loads(configuration(manage_pools=True, health_check_enabled=True, **options))
    whole[":providers"] = {"dummy": {}}
    whole[":pools"] = [{"name": POOL, "size": RUNNING, "template": "templates/centos"}]
    installation.environment["VMPOOLER_CONFIG"] = json.dumps(whole)
    worker(installation, "first")
    installation.beat()
    until(lambda: size(database, Queue.READY) == RUNNING, "the pool is full")
    api = ApiClient(database.client, [ApiPool(POOL)], clock=time.time)
    assert len(api.checkout({POOL: RUNNING}).vms) == RUNNING
    database.call("HSET", keys.POOL_SIZES, POOL, 0)
    until(lambda: len(inventory(database)) == RUNNING and not in_use_by_nobody(database), "others are destroyed")
    return installation


def worker(installation: Installation, name: str) -> Process:
    return installation.worker("-P", "threads", name=name, worker_concurrency=8)


def in_use_by_nobody(database: Database) -> int:
    return sum(size(database, queue) for queue in (Queue.PENDING, Queue.READY, Queue.COMPLETED))


def size(database: Database, queue: Queue) -> int:
    return int(database.call("SCARD", keys.queue(queue, POOL)))


def inventory(database: Database) -> set[bytes]:
    return set(database.call("HKEYS", INVENTORY))


def replace_all(database: Database, records: dict[bytes, bytes]) -> None:
    """Empty Redis, as FLUSHALL does, but for the inventory of the hypervisor, which the dummy keeps there."""
    pipe = database.client.pipeline(transaction=True)
    pipe.flushall()
    pipe.hset(INVENTORY, mapping=records)
    pipe.hset(keys.POOL_SIZES.decode(), POOL, 0)
    pipe.execute()


def engaged(database: Database) -> dict[str, Any] | None:
    record = database.call("HGET", keys.BRAKES, POOL)
    return None if record is None else json.loads(record)


def reasons(database: Database) -> dict[str, dict[str, Any]]:
    return {one["code"]: one for one in json.loads(database.call("HGET", keys.HEALTH, "reasons") or b"[]")}


def command(installation: Installation, *words: str) -> Any:
    return json.loads(installation.run("vmpooler-tasks", *words, "--json"))


def test_the_brake_holds_under_half_an_inventory_and_under_an_emptied_redis(
    pool: Installation, database: Database
) -> None:
    records = database.call("HGETALL", INVENTORY)
    assert len(records) == RUNNING
    running = database.call("SMEMBERS", keys.queue(Queue.RUNNING, POOL))
    lost = dict(list(records.items())[::2])
    database.call("HDEL", INVENTORY, *lost)
    until(lambda: engaged(database), "the brake is engaged")
    until(lambda: "brake" in reasons(database), "health shows the brake")
    wait_for_inspections(database, POOL, times=3)
    assert set(database.call("SMEMBERS", keys.queue(Queue.RUNNING, POOL))) == set(running)
    database.client.hset(INVENTORY, mapping=lost)
    until(lambda: engaged(database) is None, "the brake is released by itself")
    until(lambda: "brake" not in reasons(database), "health shows it")
    assert set(database.call("SMEMBERS", keys.queue(Queue.RUNNING, POOL))) == set(running)
    assert inventory(database) == set(records)

    # Redis is emptied under the same VMs.
    replace_all(database, records)
    until(lambda: engaged(database), "the brake is engaged again")
    until(lambda: "brake" in reasons(database), "health shows the brake")
    reason = reasons(database)["brake"]
    assert (reason["pool"], reason["measured"], reason["severity"]) == (POOL, RUNNING, "degraded")
    worker(pool, "second")
    wait_for_inspections(database, POOL, times=2, seconds=DISCOVERY_SECONDS)  # a stray becomes one by the clock
    assert inventory(database) == set(records)
    [row] = command(pool, "pools")
    assert (row["state"], row["brake"].startswith("34 in no queue, 0 missing")) == ("braked", True)

    [report] = command(pool, "pools", "confirm", POOL, "--why", "a test")
    assert report["changed"]
    until(lambda: not inventory(database), "the strays that were confirmed are destroyed")
    until(lambda: engaged(database) is None, "the brake is released")
    until(lambda: "brake" not in reasons(database), "health shows it")
    actions = [entry["action"] for entry in command(pool, "audit")]
    assert [one for one in actions if one != "purge"] == ["release_brake", "confirm", "engage_brake"]
