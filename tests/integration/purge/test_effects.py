"""What a purge cycle does to each queue, and what it leaves alone."""

import logging
from typing import Any

import pytest

from tests.support.cycles import audit, counters, cycle
from tests.support.promises import dead_letters
from tests.support.world import POOL, World, settings
from vmpooler_tasks.model.names import DeadLetterQueue, Queue
from vmpooler_tasks.model.purge import PurgedEntry, PurgeTarget
from vmpooler_tasks.store import keys
from vmpooler_tasks.store.purge import state as purge_state

pytestmark = pytest.mark.both_servers

HOUR, DAY = 3600, 86400
OTHER = "ubuntu-2004-x86_64"
WEEK = 168 * HOUR


def ttl(world: World, vm: bytes) -> int:
    return int(world.client.ttl(keys.vm(vm)))


def test_a_stale_pending_vm_gets_a_dead_letter_and_its_metadata_expires(world: World) -> None:
    vm = world.vm(Queue.PENDING, "pooler-a", 7201, request_id="req-1", pool_alias="centos-7")
    report = cycle(world)
    assert report.purged == {"pending": 1}
    assert world.members(Queue.PENDING) == set()
    assert world.members(Queue.COMPLETED) == set(), "a pending VM is not moved but taken out"
    assert WEEK - 60 < ttl(world, vm) <= WEEK
    [dead_letter] = dead_letters(world)
    assert {name: dead_letter[name] for name in dead_letter if name != "id"} == {
        "vm": "pooler-a",
        "pool": POOL,
        "queue_from": "pending",
        "error_class": "Purge",
        "error_message": "Stale pending VM (age: 7201s > max: 7200s)",
        "failed_at": "2024-01-15T10:30:00Z",
        "retry_count": 0,
        "request_id": "req-1",
        "pool_alias": "centos-7",
    }
    assert (
        world.client.zscore("vmpooler__dlq__pending", world.client.zrange("vmpooler__dlq__pending", 0, 0)[0])
        == world.now
    )


def test_metadata_of_a_purged_pending_vm_is_kept_for_data_ttl_hours(world: World) -> None:
    vm = world.vm(Queue.PENDING, "pooler-a", 7201)
    cycle(world, settings(data_ttl=2))
    assert 2 * HOUR - 60 < ttl(world, vm) <= 2 * HOUR


def test_without_dead_letters_a_stale_pending_vm_leaves_all_the_same(world: World) -> None:
    world.vm(Queue.PENDING, "pooler-a", 7201)
    assert cycle(world, settings(dlq_enabled=False)).purged == {"pending": 1}
    assert world.members(Queue.PENDING) == set()
    assert not world.client.exists("vmpooler__dlq__pending")
    assert "dead_letters:pending" not in counters(world)


def test_a_stale_ready_vm_moves_to_completed_and_keeps_its_metadata(world: World) -> None:
    vm = world.vm(Queue.READY, "pooler-a", DAY + 1)
    before = world.client.hgetall(keys.vm(vm))
    assert cycle(world).purged == {"ready": 1}
    assert world.members(Queue.READY) == set()
    assert world.members(Queue.COMPLETED) == {vm}
    assert world.client.hgetall(keys.vm(vm)) == before
    assert ttl(world, vm) == -1
    assert dead_letters(world, "ready") == []


def test_a_stale_completed_vm_is_an_orphan_in_the_same_cycle(world: World) -> None:
    vm = world.vm(Queue.COMPLETED, "pooler-a", DAY + 1)
    report = cycle(world)
    assert report.purged == {"completed": 1, "orphaned": 1}
    assert world.members(Queue.COMPLETED) == set()
    assert 0 < ttl(world, vm) <= HOUR


@pytest.mark.parametrize(
    ("queue", "limit"), [(Queue.PENDING, 7200), (Queue.READY, DAY), (Queue.COMPLETED, HOUR), (None, DAY)]
)
def test_the_limit_itself_is_not_stale(world: World, queue: Queue | None, limit: int) -> None:
    world.vm(queue, "pooler-at-the-limit", limit)
    world.vm(queue, "pooler-ahead", -3600)
    before = world.snapshot()
    assert cycle(world).total == 0
    assert {key: value for key, value in world.snapshot().items() if key in before} == before


@pytest.mark.parametrize("queue", [Queue.RUNNING, Queue.DISCOVERED, Queue.MIGRATING])
def test_other_queues_are_never_touched(world: World, queue: Queue) -> None:
    vm = world.vm(queue, "pooler-a", 100 * DAY)
    assert cycle(world).total == 0
    assert world.members(queue) == {vm}
    assert ttl(world, vm) == -1


def test_ages_count_from_the_queues_own_timestamp(world: World) -> None:
    old = world.stamp(100 * DAY)
    world.vm(Queue.PENDING, "pooler-p", 60, ready=old, destroy=old, checkout=old)
    world.vm(Queue.READY, "pooler-r", 60, clone=old, destroy=old, checkout=old)
    world.vm(Queue.COMPLETED, "pooler-c", 60, clone=old, ready=old, checkout=old)
    assert cycle(world).total == 0


def test_times_of_every_form_and_zone_are_understood(world: World) -> None:
    then = {
        "west": "2024-01-15 01:00:00 -0700",
        "east": "2024-01-15 13:30:00 +0530",
        "utc": "2024-01-15 08:00:00 UTC",
        "iso": "2024-01-15T08:00:00Z",
        "fraction": "2024-01-15T08:00:00.123+00:00",
        "rfc": "Mon, 15 Jan 2024 08:00:00 GMT",
    }
    for name, text in then.items():
        world.vm(Queue.PENDING, name, 0, clone=text)
    assert cycle(world).purged == {"pending": len(then)}


def test_the_thresholds_are_the_configured_ones(world: World) -> None:
    world.vm(Queue.PENDING, "pooler-p", 11)
    world.vm(Queue.READY, "pooler-r", 21)
    world.vm(Queue.COMPLETED, "pooler-c", 31)
    world.vm(None, "pooler-o", 41)
    short = settings(max_pending_age=10, max_ready_age=20, max_completed_age=30, max_orphaned_age=40)
    assert cycle(world, short).purged == {"pending": 1, "ready": 1, "completed": 1, "orphaned": 1}


def test_every_configured_pool_is_purged_and_no_other(world: World) -> None:
    world.vm(Queue.PENDING, "pooler-a", 7201)
    world.vm(Queue.PENDING, "pooler-b", 7201, pool=OTHER)
    world.vm(Queue.PENDING, "pooler-c", 7201, pool="not-configured")
    assert cycle(world, settings(pools=(POOL, OTHER))).purged == {"pending": 2}
    assert world.members(Queue.PENDING, "not-configured") == {b"pooler-c"}


def test_without_configured_pools_vmpoolers_own_list_is_taken(world: World) -> None:
    world.client.sadd("vmpooler__pools", POOL)
    world.vm(Queue.PENDING, "pooler-a", 7201)
    world.vm(Queue.PENDING, "pooler-b", 7201, pool=OTHER)
    assert cycle(world, settings(pools=())).purged == {"pending": 1}
    assert world.members(Queue.PENDING, OTHER) == {b"pooler-b"}


def test_a_pool_without_a_queue_is_nothing_special(world: World) -> None:
    world.vm(Queue.PENDING, "pooler-a", 7201, pool=OTHER)
    report = cycle(world, settings(pools=("empty", OTHER)))
    assert report.purged == {"pending": 1}
    assert report.errors == []


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ({"queues": ("pending",)}, {"pending": 2}),
        ({"queues": ("orphaned",)}, {"orphaned": 1}),
        ({"pools": (POOL,)}, {"pending": 1, "ready": 1, "completed": 1}),
        ({"pools": (OTHER,), "queues": ("pending", "ready")}, {"pending": 1}),
        ({}, {"pending": 2, "ready": 1, "completed": 1, "orphaned": 2}),
    ],
)
def test_pools_and_queues_narrow_a_purge(world: World, order: dict[str, Any], expected: dict[str, int]) -> None:
    world.vm(Queue.PENDING, "pooler-a", 7201)
    world.vm(Queue.PENDING, "pooler-b", 7201, pool=OTHER)
    world.vm(Queue.READY, "pooler-c", DAY + 1)
    world.vm(Queue.COMPLETED, "pooler-d", DAY + 1)
    world.vm(None, "pooler-e", DAY + 1)
    assert cycle(world, settings(pools=(POOL, OTHER)), **order).purged == expected


def test_a_second_cycle_finds_nothing_left_to_do(world: World) -> None:
    world.vm(Queue.PENDING, "pooler-a", 7201)
    world.vm(Queue.READY, "pooler-b", DAY + 1)
    world.vm(None, "pooler-c", DAY + 1)
    assert cycle(world).total == 3
    assert cycle(world).total == 0
    assert len(dead_letters(world)) == 1


def test_counters_equal_the_effects(world: World) -> None:
    for index in range(5):
        world.vm(Queue.PENDING, f"pooler-p{index}", 7201)
    for index in range(3):
        world.vm(Queue.READY, f"pooler-r{index}", DAY + 1)
    world.vm(Queue.COMPLETED, "pooler-c", HOUR + 1)
    world.vm(None, "pooler-o", DAY + 1)
    cycle(world)
    assert counters(world) == {
        f"purged:pending:{POOL}": 5,
        f"purged:ready:{POOL}": 3,
        f"purged:completed:{POOL}": 1,
        "purged:orphaned": 1,
        "dead_letters:pending": 5,
        "purge_cycles": 1,
    }
    cycle(world)
    assert counters(world)[f"purged:pending:{POOL}"] == 5
    assert counters(world)["purge_cycles"] == 2


def test_the_audit_says_who_purged_how_many_and_why(world: World) -> None:
    world.vm(Queue.PENDING, "pooler-a", 7201)
    world.vm(Queue.READY, "pooler-b", DAY + 1)
    cycle(world, who="anna", why="ticket 7", force=True)
    cycle(world, who="beat", pools=(POOL,), queues=("ready",))
    assert audit(world) == [
        {
            "action": "purge",
            "who": "anna",
            "why": "ticket 7",
            "count": "2",
            "counts": "pending=1,ready=1",
            "forced": "true",
        },
        {"action": "purge", "who": "beat", "count": "0", "pools": POOL, "queues": "ready"},
    ]


def test_every_purged_entry_is_reported_and_logged(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "vmpooler_tasks")
    world.vm(Queue.COMPLETED, "pooler-c", 2 * HOUR)
    world.vm(None, "pooler-o", 2 * DAY)
    report = cycle(world)
    assert report.entries == [
        PurgedEntry(PurgeTarget.COMPLETED, POOL, "pooler-c", 2 * HOUR, HOUR),
        PurgedEntry(PurgeTarget.ORPHANED, "", "pooler-o", 2 * DAY, DAY),
    ]
    assert report.as_json()["entries"][1] == {
        "queue": "orphaned",
        "pool": "",
        "vm": "pooler-o",
        "age_seconds": 2 * DAY,
        "max_age_seconds": DAY,
    }
    assert f"[!] [purge] Removed stale completed VM 'pooler-c' from '{POOL}' (age: 7200s)" in caplog.messages
    assert "[!] [purge] Set expiration on orphaned metadata for 'pooler-o' (age: 172800s)" in caplog.messages
    line = next(record for record in caplog.records if "pooler-c" in record.getMessage())
    assert (line.vm, line.pool, line.queue) == ("pooler-c", POOL, "completed")  # type: ignore[attr-defined]


def test_unrelated_keys_are_left_as_they_are(world: World) -> None:
    client = world.client
    client.set("celery-task-meta-1", "x")
    client.lpush("vmpooler.maintenance", "message")
    client.hset("vmpooler__active__" + POOL, "pooler-a", world.stamp(100 * DAY))
    client.hset("vmpooler__odrequest__1", "status", "ready")
    client.sadd("vmpooler__1__alias__" + POOL, "pooler-q")
    client.set("vmpooler__tasks__clone", 3)
    client.hset("vmpooler__pool__" + POOL, "alias", "x")
    client.sadd("vmpoolerXpendingX" + POOL, "pooler-z")
    client.hset("vmpooler__vmware__1", "clone", world.stamp(100 * DAY))
    client.zadd("vmpooler__dlq__clone", {"v:1:{}": world.now})
    before = world.snapshot()
    world.vm(Queue.PENDING, "pooler-a", 7201)
    assert cycle(world).purged == {"pending": 1}
    after = world.snapshot()
    assert {key: after.get(key) for key in before} == before


def test_two_thousand_vms_on_many_pages_are_each_purged_once(world: World) -> None:
    pipe = world.client.pipeline(transaction=False)
    old, fresh = world.stamp(7201), world.stamp(60)
    stale = {f"pooler-{index}" for index in range(2000) if index % 2}
    for index in range(2000):
        vm = f"pooler-{index}"
        pipe.sadd(keys.queue(Queue.PENDING, POOL), vm)
        pipe.hset(f"vmpooler__vm__{vm}", mapping={"clone": old if vm in stale else fresh})
    pipe.execute()
    report = cycle(world)
    assert report.purged == {"pending": 1000}
    assert sorted(entry.vm for entry in report.entries) == sorted(stale)
    assert sorted(dead_letter["vm"] for dead_letter in dead_letters(world)) == sorted(stale)
    assert len({dead_letter["id"] for dead_letter in dead_letters(world)}) == 1000
    assert world.client.scard(keys.queue(Queue.PENDING, POOL)) == 1000
    assert counters(world)[f"purged:pending:{POOL}"] == 1000


def test_the_cap_drops_the_oldest_counts_them_and_says_so(world: World, caplog: pytest.LogCaptureFixture) -> None:
    old = [f"v{index}:1:{{}}" for index in range(3)]
    world.client.zadd("vmpooler__dlq__pending", {member: world.now - 100 + index for index, member in enumerate(old)})
    for index in range(4):
        world.vm(Queue.PENDING, f"pooler-{index}", 7201)
    cycle(world, settings(dlq_max_entries=5))
    left = world.client.zrange("vmpooler__dlq__pending", 0, -1)
    assert len(left) == 5
    assert left[0] == old[2].encode(), "the two oldest are gone"
    assert counters(world)["dead_letters_dropped:pending"] == 2
    assert "[!] [dlq] Dropped the 2 oldest of 'pending': more than dlq_max_entries (5)" in caplog.messages


def test_each_dead_letter_leaves_at_its_own_age_and_is_counted(world: World) -> None:
    ttl_seconds = 168 * HOUR
    for queue in DeadLetterQueue:
        members = {f"old:{queue}:1:{{}}": world.now - ttl_seconds - 1, f"at:{queue}:1:{{}}": world.now - ttl_seconds}
        world.client.zadd(f"vmpooler__dlq__{queue}", members)
    cycle(world)
    for queue in DeadLetterQueue:
        assert world.client.zrange(f"vmpooler__dlq__{queue}", 0, -1) == [f"at:{queue}:1:{{}}".encode()]
        assert counters(world)[f"dead_letters_expired:{queue}"] == 1
        assert f"dead_letters_dropped:{queue}" not in counters(world), "age is no loss"


def test_thousands_of_expired_dead_letters_leave_in_bounded_steps(world: World) -> None:
    world.client.zadd("vmpooler__dlq__tasks", {f"v{index}:1:{{}}": index for index in range(2500)})
    cycle(world)
    assert world.client.zcard("vmpooler__dlq__tasks") == 0
    assert counters(world)["dead_letters_expired:tasks"] == 2500


def test_dead_letters_are_not_trimmed_where_dead_letters_are_off(world: World) -> None:
    world.client.zadd("vmpooler__dlq__tasks", {"v:1:{}": 1})
    cycle(world, settings(dlq_enabled=False))
    assert world.client.zcard("vmpooler__dlq__tasks") == 1


def test_how_the_cycle_went_is_recorded(world: World) -> None:
    cycle(world)
    state = purge_state.read(world.db)
    assert state.started == world.now
    assert state.finished is not None
    assert state.finished >= world.now
    assert (state.running, state.failure, state.skipped_queues, state.unfinished_since) == (False, None, [], None)
