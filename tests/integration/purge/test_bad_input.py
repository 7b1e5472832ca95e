"""Odd names, keys of the wrong type, a Redis that refuses: one bad entry stops nothing else."""

import json
import logging
from collections.abc import Callable

import pytest

from tests.support.cycles import audit, counters, cycle
from tests.support.promises import dead_letters
from tests.support.world import POOL, World, settings
from vmpooler_tasks.errors import StoreRefusedError
from vmpooler_tasks.model.names import DeadLetterQueue, Queue, readable
from vmpooler_tasks.model.purge import PurgeTarget
from vmpooler_tasks.store import keys
from vmpooler_tasks.store.deadletters import read as dlq
from vmpooler_tasks.store.purge import state as purge_state
from vmpooler_tasks.store.vmpooler import queues

pytestmark = pytest.mark.both_servers

HOUR, DAY = 3600, 86400
OTHER = "ubuntu-2004-x86_64"

ODD_NAMES = {
    "spaces": b"two  words ",
    "quotes": b'it\'s "quoted"',
    "newline": b"first\nsecond: [!] forged",
    "return": b"a\rb",
    "colon": b"a:1705314600:{}",
    "braces": b"{a} %s {0} %(b)d",
    "not utf-8": b"pooler-\xff\xfe",
    "null": b"a\x00b",
    "the prefix itself": b"vmpooler__vm__pooler-a",
    "long": b"x" * 300,
    "glob": b"*?[a-z]",
    "utf-8": "größe-☃".encode(),
    "escape": b"\x1b[31mred",
    "separator": "a\u2028b".encode(),
    "a number": b"1",
    "empty": b"",
}


@pytest.mark.parametrize("kind", ODD_NAMES)
def test_a_vm_of_any_name_is_purged_and_logged_on_one_line(
    world: World, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "vmpooler_tasks")
    vm = ODD_NAMES[kind]
    world.vm(Queue.PENDING, vm, 2 * DAY)
    world.vm(Queue.READY, vm + b"r", 2 * DAY)
    world.vm(Queue.COMPLETED, vm + b"c", HOUR + 1)
    world.vm(None, vm + b"o", 2 * DAY)
    report = cycle(world)
    assert report.purged == {"pending": 1, "ready": 1, "completed": 1, "orphaned": 1}
    assert report.errors == []
    assert world.members(Queue.PENDING) == set()
    assert world.members(Queue.COMPLETED) == {vm + b"r"}
    assert [dead_letter["vm"] for dead_letter in dead_letters(world)] == [readable(vm)]
    assert {entry.vm for entry in report.entries} == {readable(vm + end) for end in (b"", b"r", b"c", b"o")}
    assert json.dumps(report.as_json(), ensure_ascii=False).encode()
    for line in caplog.messages:
        assert len(line.splitlines()) == 1
        assert line.isprintable()
        assert line.startswith(("[*] [", "[!] ["))


@pytest.mark.parametrize("kind", ODD_NAMES)
def test_an_odd_name_without_a_time_is_remembered_and_logged_on_one_line(world: World, kind: str) -> None:
    vm = world.vm(Queue.PENDING, ODD_NAMES[kind], 0, clone="some\ntime")
    report = cycle(world)
    assert len(report.errors) == 1
    assert report.errors[0].isprintable()
    world.now += 7201
    assert cycle(world).purged == {"pending": 1}
    assert vm not in world.members(Queue.PENDING)


@pytest.mark.parametrize("pool", ["two words", "dlq", "läng:st", "{x}", "a\nb", "p__q"])
def test_a_pool_of_any_name_is_purged(world: World, pool: str, caplog: pytest.LogCaptureFixture) -> None:
    world.vm(Queue.PENDING, "pooler-a", 7201, pool=pool)
    assert cycle(world, settings(pools=(pool,))).purged == {"pending": 1}
    assert dead_letters(world)[0]["pool"] == pool
    assert counters(world)[f"purged:pending:{pool}"] == 1
    assert all(line.isprintable() for line in caplog.messages)


def everything_in(world: World, pool: str) -> None:
    world.vm(Queue.PENDING, f"{pool}-p", 7201, pool=pool)
    world.vm(Queue.READY, f"{pool}-r", DAY + 1, pool=pool)
    world.vm(Queue.COMPLETED, f"{pool}-c", HOUR + 1, pool=pool)


@pytest.mark.parametrize("queue", [Queue.PENDING, Queue.READY, Queue.COMPLETED])
def test_a_queue_of_the_wrong_type_stops_no_other_queue_and_no_other_pool(world: World, queue: Queue) -> None:
    everything_in(world, POOL)
    everything_in(world, OTHER)
    world.client.delete(keys.queue(queue, POOL))
    world.client.hset(keys.queue(queue, POOL).decode(), "a", "b")
    report = cycle(world, settings(pools=(POOL, OTHER)))
    expected = {Queue.PENDING: 2, Queue.READY: 2, Queue.COMPLETED: 2}
    expected[queue] -= 1
    if queue is Queue.COMPLETED:
        expected[Queue.READY] -= 1  # it has nowhere to go
    assert {name: report.purged[PurgeTarget(name)] for name in expected} == expected
    assert report.error_count == (2 if queue is Queue.COMPLETED else 1)
    assert any(error.startswith(f"Error checking {queue} queue of '{POOL}'") for error in report.errors)
    assert world.client.hgetall(keys.queue(queue, POOL).decode()) == {b"a": b"b"}
    if queue is Queue.COMPLETED:
        assert world.members(Queue.READY) == {f"{POOL}-r".encode()}, "refused before it left ready"


def test_dead_letters_that_cannot_be_written_keep_their_vms_where_they_are(world: World) -> None:
    everything_in(world, POOL)
    everything_in(world, OTHER)
    world.client.set("vmpooler__dlq__pending", "no sorted set")
    report = cycle(world, settings(pools=(POOL, OTHER)))
    assert report.purged == {"ready": 2, "completed": 2}
    assert world.members(Queue.PENDING) == {f"{POOL}-p".encode()}
    assert world.members(Queue.PENDING, OTHER) == {f"{OTHER}-p".encode()}
    assert world.client.ttl(keys.vm(f"{POOL}-p".encode())) == -1
    assert "dead_letters:pending" not in counters(world)
    assert [error.split(":")[0] for error in report.errors] == [
        f"Error checking pending queue of '{POOL}'",
        f"Error checking pending queue of '{OTHER}'",
        "Error checking dead letters 'pending'",
    ]
    world.client.delete("vmpooler__dlq__pending")
    assert cycle(world, settings(pools=(POOL, OTHER))).purged == {"pending": 2}
    assert len(dead_letters(world)) == 2


def test_an_untimed_vm_that_could_not_leave_is_still_remembered(world: World) -> None:
    world.vm(Queue.PENDING, "pooler-a", None)
    cycle(world)
    world.now += 7201
    world.client.set("vmpooler__dlq__pending", "no sorted set")
    assert cycle(world).total == 0
    world.client.delete("vmpooler__dlq__pending")
    assert cycle(world).purged == {"pending": 1}


@pytest.mark.parametrize("dry_run", [False, True])
def test_a_queue_key_that_is_not_utf_8_counts_as_a_queue(world: World, dry_run: bool) -> None:
    world.client.sadd(b"vmpooler__pending__\xff", "pooler-queued")
    world.vm(None, "pooler-queued", 2 * DAY)
    world.vm(None, "pooler-orphan", 2 * DAY)
    report = cycle(world, dry_run=dry_run)
    assert [(entry.queue, entry.vm) for entry in report.entries] == [("orphaned", "pooler-orphan")]
    assert report.errors == []


def test_a_registered_pool_whose_name_is_not_utf_8_is_returned_apart(world: World) -> None:
    world.client.sadd(keys.POOLS.decode(), b"bad-\xff", POOL, "l\u00e4ng:st")
    assert queues.registered_pools(world.db) == ([POOL, "l\u00e4ng:st"], [b"bad-\xff"])
    everything_in(world, POOL)
    assert cycle(world, settings(pools=())).purged == {"pending": 1, "ready": 1, "completed": 1}


def test_a_wrong_typed_list_of_pools_stops_nothing(world: World) -> None:
    world.client.set("vmpooler__pools", "no set")
    everything_in(world, POOL)
    world.vm(None, "pooler-o", 2 * DAY)
    report = cycle(world)
    assert report.purged == {"pending": 1, "ready": 1, "completed": 1, "orphaned": 1}
    assert len(report.errors) == 1
    assert report.errors[0].startswith("Error checking the list of pools")
    assert cycle(world, settings(pools=())).total == 0


def refuse_writes(world: World) -> Callable[[], None]:
    world.client.config_set("maxmemory", "1")
    return lambda: world.client.config_set("maxmemory", "0")


def turn_read_only(world: World) -> Callable[[], None]:
    world.client.config_set("replica-read-only", "yes")
    world.client.replicaof("127.0.0.1", "1")  # nobody listens there
    return lambda: world.client.replicaof("no", "one")


@pytest.mark.parametrize("refuse", [refuse_writes, turn_read_only])
def test_refused_writes_fail_the_cycle_and_the_next_one_works(
    world: World, refuse: Callable[[World], Callable[[], None]], caplog: pytest.LogCaptureFixture
) -> None:
    everything_in(world, POOL)
    mend = refuse(world)
    try:
        with pytest.raises(StoreRefusedError, match="Redis refused a command"):
            cycle(world)
        assert world.members(Queue.PENDING) == {f"{POOL}-p".encode()}
        assert any(line.startswith("[!] [purge] Failed during purge cycle: Redis refused") for line in caplog.messages)
    finally:
        mend()
    assert dead_letters(world) == []
    assert cycle(world).purged == {"pending": 1, "ready": 1, "completed": 1}
    assert purge_state.read(world.db).failure is None


def test_out_of_memory_in_mid_cycle_is_recorded_all_the_same(world: World) -> None:
    """Redis fills up once the cycle has begun: what was done stays done, the rest stays, and the end is recorded."""
    everything_in(world, POOL)
    send = world.db.send

    def filling_up(script: str, *rest: object) -> object:
        if script == "purge/purge_ready":
            world.client.config_set("maxmemory", "1")
        return send(script, *rest)  # type: ignore[arg-type]

    world.db.send = filling_up  # type: ignore[method-assign, assignment]
    try:
        with pytest.raises(StoreRefusedError):
            cycle(world)
        assert "Redis refused a command" in (purge_state.read(world.db).failure or "")
        assert audit(world)[-1]["failure"].startswith("Redis refused a command")
        assert audit(world)[-1]["counts"] == "pending=1"
        assert counters(world)["purge_failures"] == 1
    finally:
        world.client.config_set("maxmemory", "0")
        world.db.send = send  # type: ignore[method-assign]
    assert cycle(world).purged == {"ready": 1, "completed": 1}


def test_old_and_new_dead_letters_live_in_one_queue(world: World) -> None:
    old = f'pooler-old:{int(world.now) - 60}:{{"vm":"pooler-old","pool":"{POOL}"}}'
    world.client.zadd("vmpooler__dlq__pending", {old: world.now - 60})
    world.vm(Queue.PENDING, "pooler-new", 7201)
    cycle(world)
    found = list(dlq.newest_first(world.db, [DeadLetterQueue.PENDING]))
    assert [dead_letter.text("vm") for dead_letter in found] == ["pooler-new", "pooler-old"]


def test_a_registered_pool_whose_name_is_not_utf_8_is_reported(world: World) -> None:
    world.client.sadd("vmpooler__pools", b"p\xff", POOL)
    world.vm(Queue.PENDING, "pooler-a", 7201)
    report = cycle(world, settings(pools=()))
    assert report.errors == ["Error checking the list of pools: 'p\\xff' is not UTF-8"]
    assert report.purged == {"pending": 1}


def test_a_pool_that_is_named_twice_is_looked_at_once(world: World) -> None:
    world.vm(Queue.PENDING, "pooler-a", 7201)
    assert cycle(world, dry_run=True, pools=(POOL, POOL)).found == {"pending": 1}
