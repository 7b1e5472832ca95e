"""Redis that is away for a second and a half while pools are inspected.

The inspection that loses its connection cannot release its lock at that moment. All pools are inspected again a few
seconds later: the lock is released when Redis is back, or expires.
"""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.settings import times
from tests.support.deployment import procfile
from tests.support.processes import Installation, until
from tests.support.servers import TestServer
from vmpooler_tasks.store import Database, keys
from vmpooler_tasks.store.health.progress import inspections_of

pytestmark = [pytest.mark.stage(name="chaos"), pytest.mark.timeout(300 + 60 * times(3))]

POOLS = ("a", "b")

AWAY_SECONDS = 1.5

BLOCKED_SECONDS = 45.0
"""Workers connect again, a lock expires, beat sends the next tick: all of that takes less than half of this."""

CONFIG = {
    "config": {"manage_pools": True, "check_loop_delay_min": 1, "dlq_enabled": True},
    "providers": {"dummy": {"list_seconds": 1.5}},
    "pools": [{"name": pool, "size": 1, "template": "one"} for pool in POOLS],
}


@pytest.fixture
def database(durable: TestServer, tmp_path: Path) -> Iterator[Database]:
    """Return the database of two pools at work. Reading an inventory takes as long as Redis will be away."""
    with Installation(durable.url, tmp_path, json.dumps(CONFIG)) as own:
        for line in procfile():
            if line.role not in ("flower", "web"):
                own.start_literally(line.words, line.where.split()[1])
        db = Database(durable.url)
        until(lambda: all(db.call("SCARD", f"vmpooler__ready__{pool}") for pool in POOLS), "the pools are full")
        yield db
        db.close()


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
    back, started = db.read_time(), time.monotonic()
    until(lambda: all(last_inspection(db, one) > back for one in POOLS), "all are inspected again", BLOCKED_SECONDS)
    return time.monotonic() - started


def last_inspection(db: Database, pool: str) -> float:
    """Return when an inspection of the pool ended last, by the server's clock."""
    return float(db.call("HGET", keys.PROGRESS, inspections_of(pool)) or 0)
