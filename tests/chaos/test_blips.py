"""Redis that is away for a second and a half while pools are inspected.

The inspection that loses its connection cannot release its lock at that moment. All pools are inspected again a few
seconds later: the lock is released when Redis is back, or expires soon.
"""

import json
import time

import pytest

from tests.chaos.settings import times
from tests.support.deployment import start_workers_and_beat
from tests.support.inspections import wait_for_inspections
from tests.support.processes import Installation, until
from tests.support.servers import TestServer
from vmpooler_tasks.jobs.inspection.inspect import MAX_REST_SECONDS
from vmpooler_tasks.store import Database, keys
from vmpooler_tasks.store.redis.locks import LOCK_SECONDS

pytestmark = [pytest.mark.stage(name="chaos"), pytest.mark.timeout(300 + 60 * times(3))]

POOLS = ("a", "b")

AWAY_SECONDS = 1.5

BLOCKED_SECONDS = max(LOCK_SECONDS, MAX_REST_SECONDS)
"""A lock whose holder lost its connection, and the rest of a pool after a slow inspection, end within this time."""

CONFIG = {
    "config": {"manage_pools": True, "check_loop_delay_min": 1, "dlq_enabled": True},
    "providers": {"dummy": {"list_seconds": 1.5}},
    "pools": [{"name": pool, "size": 1, "template": "one"} for pool in POOLS],
}


@pytest.fixture(autouse=True)
def _two_pools_at_work(installation: Installation, database: Database) -> None:
    """Fill the pools. Reading an inventory takes as long as Redis will be away."""
    installation.environment["VMPOOLER_CONFIG"] = json.dumps(CONFIG)
    start_workers_and_beat(installation)
    until(lambda: all(database.call("SCARD", f"vmpooler__ready__{pool}") for pool in POOLS), "the pools are full")


def test_a_blip_of_redis_stops_the_inspections_for_seconds(durable: TestServer, database: Database) -> None:
    for blip in range(times(3)):
        seconds = inspected_after(durable, database, POOLS[blip % len(POOLS)])
        print(f"blip {blip + 1}: inspected again after {seconds:.1f} s", flush=True)


def inspected_after(server: TestServer, db: Database, pool: str) -> float:
    """Take Redis away during an inspection of the pool. Return the seconds until each pool was inspected again."""
    until(lambda: db.call("EXISTS", keys.check_lock(pool)), f"{pool} is inspected")
    server.kill()
    time.sleep(AWAY_SECONDS)
    server.start()
    started = time.monotonic()
    assert all(db.call("PTTL", keys.check_lock(one)) <= BLOCKED_SECONDS * 1000 for one in POOLS)
    wait_for_inspections(db, *POOLS)
    return time.monotonic() - started
