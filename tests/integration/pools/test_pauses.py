"""An operator pauses a pool: the record, its entry in the audit, and what a draining pool loses."""

from typing import Any

import pytest

from tests.support.world import POOL, World
from vmpooler_tasks.model.names import Queue
from vmpooler_tasks.model.pools.pause import Pause, PauseState
from vmpooler_tasks.store import Database, keys
from vmpooler_tasks.store.fleet import audit
from vmpooler_tasks.store.health import snapshot
from vmpooler_tasks.store.pools import pauses

pytestmark = pytest.mark.both_servers

SINCE = 1_700_000_000.0


def a_pause(state: PauseState = PauseState.PAUSED, **other: Any) -> Pause:
    return Pause(**{"state": state, "since": SINCE, "who": "olga@host", "why": "new disks", **other})


def trail(action: str) -> dict[str, str]:
    return {"action": action, "who": "olga@host", "pool": POOL, "why": "new disks"}


def actions(db: Database) -> list[str]:
    return [entry.fields["action"] for entry in audit.read_newest(db, 10)][::-1]


def test_a_pause_is_recorded_with_its_entry_in_the_audit(db: Database) -> None:
    assert pauses.pause(db, POOL, a_pause(), trail("pause")) is None
    assert pauses.read_paused(db) == {POOL: a_pause()}
    [entry] = audit.read_newest(db, 10)
    assert entry.fields == trail("pause")


def test_a_second_pause_changes_nothing(db: Database) -> None:
    pauses.pause(db, POOL, a_pause(), trail("pause"))
    assert pauses.pause(db, POOL, a_pause(who="rita", since=SINCE + 60), trail("pause")) == a_pause()
    assert pauses.read_paused(db) == {POOL: a_pause()}
    assert actions(db) == ["pause"]


def test_a_paused_pool_can_be_drained_and_a_draining_one_paused(db: Database) -> None:
    draining = a_pause(PauseState.DRAINING)
    pauses.pause(db, POOL, a_pause(), trail("pause"))
    assert pauses.pause(db, POOL, draining, trail("drain")) == a_pause()
    assert pauses.pause(db, POOL, a_pause(), trail("pause")) == draining
    assert actions(db) == ["pause", "drain", "pause"]


def test_resume_ends_a_pause_once(db: Database) -> None:
    pauses.pause(db, POOL, a_pause(PauseState.DRAINING), trail("drain"))
    assert pauses.resume(db, POOL, trail("resume")) == a_pause(PauseState.DRAINING)
    assert pauses.resume(db, POOL, trail("resume")) is None
    assert pauses.read_paused(db) == {}
    assert actions(db) == ["drain", "resume"]


@pytest.mark.parametrize("record", [b"", b"\xff", b"[]", b"7", b'{"state": "asleep"}', b"[" * 100_000])
def test_a_record_that_cannot_be_read_counts_as_paused(db: Database, record: bytes) -> None:
    db.call("HSET", keys.PAUSED, POOL, record)
    [found] = pauses.read_paused(db).values()
    assert (found.state, found.who) == (PauseState.PAUSED, "unknown")
    assert pauses.pause(db, POOL, a_pause(), trail("pause")) is not None or record == b""
    assert pauses.resume(db, POOL, trail("resume")) is not None or record == b""


def test_the_snapshot_of_a_pool_has_its_pause(db: Database) -> None:
    pauses.pause(db, POOL, a_pause(), trail("pause"))
    found, refused = snapshot.read_pools(db, [POOL, "other"])
    assert (found[POOL].pause, found["other"].pause, refused) == (a_pause(), None, set())


def test_only_a_draining_pool_loses_vms(world: World) -> None:
    for index in range(1201):
        world.client.sadd(keys.queue(Queue.READY, POOL), f"pooler-{index}")
    assert pauses.drain(world.db, POOL, Queue.READY) == []
    pauses.pause(world.db, POOL, a_pause(), trail("pause"))
    assert pauses.drain(world.db, POOL, Queue.READY) == []
    pauses.pause(world.db, POOL, a_pause(PauseState.DRAINING), trail("drain"))
    assert len(set(pauses.drain(world.db, POOL, Queue.READY))) == 1201
    assert world.client.scard(keys.queue(Queue.COMPLETED, POOL)) == 1201
    assert not world.client.exists(keys.queue(Queue.READY, POOL))


def test_a_pause_in_words() -> None:
    assert a_pause().text("p") == "pool 'p' is paused by olga@host since 2023-11-14T22:13:20Z: new disks"
    draining = a_pause(PauseState.DRAINING, why="")
    assert draining.text("p") == "pool 'p' is being drained by olga@host since 2023-11-14T22:13:20Z"
