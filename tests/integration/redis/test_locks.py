"""Locks and turns: of all processes one acts at a time."""

import os
import signal
import threading

import pytest

from tests.support.processes import until
from tests.support.servers import TestServer
from vmpooler_tasks.errors import LockLostError
from vmpooler_tasks.store import Database, keys
from vmpooler_tasks.store.redis.locks import LOCK_SECONDS, OwnedLock, held, take_turn

pytestmark = pytest.mark.both_servers

TURN = keys.NOTIFY_WATCH
LOCK = keys.check_lock("ubuntu")


def lock(db: Database, *, seconds: float = LOCK_SECONDS, owner: str | None = None) -> OwnedLock:
    return OwnedLock(db, LOCK, "the work", seconds=seconds, owner=owner)


def test_one_of_all_callers_has_a_turn_until_it_is_over(db: Database) -> None:
    assert take_turn(db, TURN, 60)
    assert not take_turn(db, TURN, 60)
    assert 0 < db.call("PTTL", TURN) <= 60_000
    db.call("DEL", TURN)
    assert take_turn(db, TURN, 60)


def test_a_key_that_somebody_left_ends_no_turns(db: Database) -> None:
    db.call("HSET", TURN, "of", "another type")
    assert take_turn(db, TURN, 60)
    assert not take_turn(db, TURN, 60)


@pytest.mark.parametrize("expiry", [(), ("PX", 3_600_000)])
def test_a_turn_that_is_longer_than_a_turn_can_be_is_over(db: Database, expiry: tuple[object, ...]) -> None:
    db.client.execute_command("SET", TURN, "1", *expiry)
    assert take_turn(db, TURN, 60)
    assert not take_turn(db, TURN, 60)


def test_a_full_server_gives_turns(db: Database) -> None:
    db.client.config_set("maxmemory", 1)
    try:
        assert take_turn(db, TURN, 60)
        assert not take_turn(db, TURN, 60)
    finally:
        db.client.config_set("maxmemory", 0)


def test_a_lock_has_one_owner_until_it_is_released(db: Database) -> None:
    one, other = lock(db, owner="host:1:a"), lock(db)
    assert one.acquire()
    assert not other.acquire()
    assert (other.holder(), 0 < db.call("PTTL", LOCK) <= LOCK_SECONDS * 1000) == ("host:1:a", True)
    one.release()
    assert other.acquire()
    one.release()
    assert other.holder() != "host:1:a", "an owner releases its own lock alone"


@pytest.mark.parametrize(
    "left",
    [
        pytest.param(("SET", LOCK, "host:1:a"), id="without an expiry"),
        pytest.param(("SET", LOCK, "host:1:a", "PX", 3_600_000), id="for an hour"),
        pytest.param(("RPUSH", LOCK, "host:1:a"), id="of another type"),
    ],
)
def test_what_no_live_owner_wrote_is_no_lock(db: Database, left: tuple[object, ...]) -> None:
    db.client.execute_command(*left)
    own = lock(db)
    assert own.acquire()
    assert 0 < db.call("PTTL", LOCK) <= LOCK_SECONDS * 1000
    own.release()
    assert not db.call("EXISTS", LOCK)


def test_a_lock_is_renewed_while_it_is_held(db: Database) -> None:
    with held(lock(db, seconds=4)) as is_held:
        assert is_held
        db.call("PEXPIRE", LOCK, 3000)
        until(lambda: db.call("PTTL", LOCK) > 3000, "the lock is renewed")
        assert not lock(db).acquire()
    assert not db.call("EXISTS", LOCK)


def test_an_owner_that_lost_its_lock_learns_of_it_and_does_not_take_it_back(db: Database) -> None:
    lost = lock(db, seconds=0.04)
    assert lost.acquire()
    db.call("SET", LOCK, "host:2:b", "PX", 60_000)

    def has_lost() -> bool:
        try:
            lost.renew()
        except LockLostError:
            return True
        return False

    until(has_lost, "the owner learns of it at its next renewal")
    assert has_lost()
    lost.release()
    assert db.call("GET", LOCK) == b"host:2:b"


def test_a_release_is_tried_again_while_redis_is_out_of_reach(db: Database, server: TestServer) -> None:
    impatient = Database(server.url, reply_timeout=0.5)
    own = lock(impatient)
    assert own.acquire()
    assert server.process is not None
    os.kill(server.process.pid, signal.SIGSTOP)
    released = threading.Thread(target=own.release)
    released.start()
    try:
        released.join(1.5)  # longer than its first attempt
        assert released.is_alive(), "it has given up"
    finally:
        os.kill(server.process.pid, signal.SIGCONT)
    released.join()
    assert not db.call("EXISTS", LOCK)
