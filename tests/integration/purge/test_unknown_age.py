"""Entries whose timestamp is missing, unreadable or in the future age from when a cycle first saw them."""

import pytest

from tests.support.cycles import cycle
from tests.support.promises import dead_letters
from tests.support.world import POOL, World, settings
from vmpooler_tasks.model.names import Queue
from vmpooler_tasks.model.purge import PurgeTarget
from vmpooler_tasks.store import keys

HOUR, DAY = 3600, 86400
LIMITS = {Queue.PENDING: 2 * HOUR, Queue.READY: DAY, Queue.COMPLETED: HOUR}
FIELD = {Queue.PENDING: "clone", Queue.READY: "ready", Queue.COMPLETED: "destroy"}
UNUSABLE = {
    "missing": None,
    "empty": "",
    "words": "soon",
    "number": "12",
    "epoch": "1705314600",
    "no such day": "2024-02-31 10:00",
    "next week": "2024-01-22 10:30:00 +0000",
    "year 9999": "9999-12-31 23:59:59 +0000",
}


def entry(world: World, queue: Queue, name: str, stamp: str | None) -> bytes:
    """A VM in this queue with this text as its timestamp."""
    vm = name.encode()
    world.client.sadd(keys.queue(queue, POOL), vm)
    world.client.hset(keys.vm(vm), mapping={"pool": POOL} | ({} if stamp is None else {FIELD[queue]: stamp}))
    return vm


@pytest.mark.parametrize("queue", LIMITS)
@pytest.mark.parametrize("kind", UNUSABLE)
def test_it_stays_at_first_and_is_purged_after_the_maximum_age(world: World, queue: Queue, kind: str) -> None:
    vm = entry(world, queue, "pooler-a", UNUSABLE[kind])
    assert cycle(world).purged[PurgeTarget(queue.value)] == 0
    world.now += LIMITS[queue]
    assert cycle(world).purged[PurgeTarget(queue.value)] == 0, "the limit itself is not stale"
    world.now += 1
    report = cycle(world)
    assert report.purged[PurgeTarget(queue.value)] == 1
    assert vm not in world.members(queue)
    assert report.entries[0].age_seconds == LIMITS[queue] + 1


def test_it_is_reported_as_an_error_unless_it_is_missing(world: World, caplog: pytest.LogCaptureFixture) -> None:
    entry(world, Queue.PENDING, "pooler-a", None)
    entry(world, Queue.PENDING, "pooler-b", "soon")
    entry(world, Queue.READY, "pooler-c", "9999-12-31 23:59:59 +0000")
    report = cycle(world)
    assert sorted(report.errors) == [
        "Error checking pending VM 'pooler-b': no time information in \"soon\"",
        "Error checking ready VM 'pooler-c': \"9999-12-31 23:59:59 +0000\" is more than a day ahead",
    ]
    assert "[!] [purge] " + min(report.errors) in caplog.messages


@pytest.mark.parametrize("kind", ["string", "list", "set"])
def test_metadata_of_the_wrong_type_ages_as_well(world: World, kind: str) -> None:
    key = "vmpooler__vm__pooler-a"
    {
        "string": lambda: world.client.set(key, "x"),
        "list": lambda: world.client.lpush(key, "x"),
        "set": lambda: world.client.sadd(key, "x"),
    }[kind]()
    world.client.sadd(keys.queue(Queue.PENDING, POOL), "pooler-a")
    world.vm(Queue.PENDING, "pooler-stale", 7201)
    first = cycle(world)
    assert first.purged == {"pending": 1}, "it stops nothing else"
    assert first.errors == ["Error checking pending VM 'pooler-a': its metadata is not a hash"]
    world.now += 7201
    assert cycle(world).purged == {"pending": 1}
    assert world.members(Queue.PENDING) == set()
    assert [dead_letter["vm"] for dead_letter in dead_letters(world)] == ["pooler-stale", "pooler-a"]


def test_one_that_left_and_came_back_starts_again(world: World) -> None:
    entry(world, Queue.PENDING, "pooler-a", None)
    cycle(world)
    world.client.srem(keys.queue(Queue.PENDING, POOL), "pooler-a")
    world.now += HOUR
    cycle(world)
    assert world.client.zcard(keys.first_seen(Queue.PENDING, POOL)) == 0, "what is not there is forgotten"
    entry(world, Queue.PENDING, "pooler-a", None)
    world.now += 2 * HOUR
    assert cycle(world).total == 0
    world.now += 2 * HOUR + 1
    assert cycle(world).purged == {"pending": 1}


def test_one_that_gets_a_timestamp_ages_from_that(world: World) -> None:
    vm = entry(world, Queue.PENDING, "pooler-a", None)
    cycle(world)
    world.now += 2 * HOUR + 1
    world.client.hset(keys.vm(vm), "clone", world.stamp(60))
    assert cycle(world).total == 0
    assert world.client.zcard(keys.first_seen(Queue.PENDING, POOL)) == 0


def test_one_that_was_purged_is_forgotten(world: World) -> None:
    entry(world, Queue.PENDING, "pooler-a", None)
    cycle(world)
    world.now += 2 * HOUR + 1
    cycle(world)
    assert world.client.keys("vmpooler_tasks__first_seen__pending__*") == []


def test_a_purged_one_that_comes_back_gets_a_dead_letter_of_its_own(world: World) -> None:
    for _ in range(2):
        entry(world, Queue.PENDING, "pooler-a", None)
        cycle(world)
        world.now += 2 * HOUR + 1
        assert cycle(world).purged == {"pending": 1}
    assert len({dead_letter["id"] for dead_letter in dead_letters(world)}) == 2


def test_pools_do_not_share_their_memory(world: World) -> None:
    both = settings(pools=(POOL, "other"))
    entry(world, Queue.PENDING, "pooler-a", None)
    cycle(world, both)
    world.now += HOUR
    world.client.smove(keys.queue(Queue.PENDING, POOL), keys.queue(Queue.PENDING, "other"), "pooler-a")
    cycle(world, both)
    world.now += HOUR + 1
    assert cycle(world, both).total == 0, "in this pool it is known for an hour only"


def test_a_completed_vm_does_not_age_from_its_checkout_as_in_vmpooler(world: World) -> None:
    old = world.stamp(30 * DAY)
    vm = world.vm(Queue.COMPLETED, "pooler-a", None)
    world.client.hset(keys.vm(vm), mapping={"clone": old, "ready": old, "checkout": old})
    assert cycle(world).purged[PurgeTarget.COMPLETED] == 0
    world.now += HOUR + 1
    assert cycle(world).purged[PurgeTarget.COMPLETED] == 1


def test_a_vm_that_a_cycle_moves_to_completed_is_remembered_there_at_once(world: World) -> None:
    vm = world.vm(Queue.READY, "pooler-a", DAY + 1)
    cycle(world)
    world.now += HOUR + 1
    assert cycle(world).purged[PurgeTarget.COMPLETED] == 1
    assert vm not in world.members(Queue.COMPLETED)


def test_a_dry_run_remembers_nothing(world: World) -> None:
    entry(world, Queue.PENDING, "pooler-a", None)
    cycle(world, dry_run=True)
    world.now += 2 * HOUR + 1
    assert cycle(world, dry_run=True).total == 0
    assert cycle(world).total == 0, "this cycle is the first that sees it"
    world.now += 2 * HOUR + 1
    assert cycle(world, dry_run=True).found == {"pending": 1}, "a dry run knows what a cycle remembers"


def test_thousands_are_remembered_and_forgotten(world: World) -> None:
    names = [f"pooler-{index}" for index in range(1500)]
    world.client.sadd(keys.queue(Queue.PENDING, POOL), *names)
    cycle(world)
    assert world.client.zcard(keys.first_seen(Queue.PENDING, POOL)) == 1500
    world.client.srem(keys.queue(Queue.PENDING, POOL), *names[:1200])
    cycle(world)
    assert world.client.zcard(keys.first_seen(Queue.PENDING, POOL)) == 300
    world.now += 7201
    assert cycle(world).purged == {"pending": 300}
