"""Which workers are alive, as they record it."""

import pytest

from vmpooler_tasks.store import Database, keys
from vmpooler_tasks.store.fleet import workers
from vmpooler_tasks.store.fleet.workers import WORKER_ALIVE_SECONDS, Worker

pytestmark = pytest.mark.both_servers

NOW = 1_700_000_000.0
ONE = Worker("one@host", ("vmpooler.check", "vmpooler.clone"))
TWO = Worker("two@host", ("vmpooler.maintenance",))


def test_a_worker_with_a_recent_record_is_alive(db: Database) -> None:
    workers.record_worker(db, TWO, NOW)
    workers.record_worker(db, ONE, NOW + 20)
    assert workers.live_workers(db, NOW + WORKER_ALIVE_SECONDS) == [ONE, TWO]
    assert workers.live_workers(db, NOW + WORKER_ALIVE_SECONDS + 1) == [ONE]


def test_old_records_are_removed(db: Database) -> None:
    workers.record_worker(db, TWO, NOW)
    workers.record_worker(db, ONE, NOW + WORKER_ALIVE_SECONDS + 1)
    assert db.call("ZCARD", keys.WORKERS) == 1


def test_a_stopped_worker_is_forgotten(db: Database) -> None:
    workers.record_worker(db, ONE, NOW)
    workers.forget_worker(db, ONE)
    assert workers.live_workers(db, NOW) == []


def test_new_queues_replace_the_former_ones(db: Database) -> None:
    fewer = Worker(ONE.name, ONE.queues[:1])
    workers.record_worker(db, ONE, NOW)
    workers.record_worker(db, fewer, NOW + 1, before=ONE)
    assert db.call("ZCARD", keys.WORKERS) == 1
    workers.record_worker(db, ONE, NOW + 2)  # killed, and started again
    assert workers.live_workers(db, NOW + 3) == [ONE]


def test_other_members_are_left_out(db: Database) -> None:
    workers.record_worker(db, ONE, NOW)
    db.call("ZADD", keys.WORKERS, NOW, "no json", NOW, '{"worker": 1}', NOW, '["worker"]', NOW, b"\xff")
    assert workers.live_workers(db, NOW) == [ONE]
