"""Metadata in no queue of any pool: it expires an hour after a cycle found it, once."""

import pytest

from tests.support.cycles import counters, cycle
from tests.support.world import POOL, World, settings
from vmpooler_tasks.model.names import Queue
from vmpooler_tasks.model.purge import PurgeTarget
from vmpooler_tasks.store import keys

HOUR, DAY = 3600, 86400


def ttl(world: World, vm: bytes) -> int:
    return int(world.client.ttl(keys.vm(vm)))


def expires_within_the_hour(world: World, vm: bytes) -> bool:
    return HOUR - 60 < ttl(world, vm) <= HOUR


def test_old_metadata_in_no_queue_expires_in_an_hour(world: World) -> None:
    vm = world.vm(None, "pooler-a", DAY + 1)
    young = world.vm(None, "pooler-b", DAY - 1)
    assert cycle(world).purged == {"orphaned": 1}
    assert expires_within_the_hour(world, vm)
    assert ttl(world, young) == -1
    assert counters(world)["purged:orphaned"] == 1


@pytest.mark.parametrize("seconds", [30, 7 * DAY])
def test_an_expiry_that_is_there_is_neither_extended_nor_cut_short(world: World, seconds: int) -> None:
    vm = world.vm(None, "pooler-a", 2 * DAY)
    world.client.expire(keys.vm(vm), seconds)
    assert cycle(world).total == 0
    assert seconds - 10 < ttl(world, vm) <= seconds


def test_the_expiry_is_set_once(world: World) -> None:
    vm = world.vm(None, "pooler-a", 2 * DAY)
    cycle(world)
    world.client.expire(keys.vm(vm), 100)
    world.now += HOUR
    assert cycle(world).total == 0
    assert ttl(world, vm) <= 100
    assert counters(world)["purged:orphaned"] == 1


@pytest.mark.parametrize("queue", list(Queue))
@pytest.mark.parametrize("pool", [POOL, "not-configured", "p__q", "läng:st"])
def test_metadata_in_any_queue_of_any_pool_is_no_orphan(world: World, queue: Queue, pool: str) -> None:
    vm = world.vm(queue, "pooler-a", 60, pool=pool, clone=world.stamp(30 * DAY))
    if queue is Queue.PENDING:
        world.client.hset(keys.vm(vm), "clone", world.stamp(DAY + 1))
    chosen = settings(max_pending_age=60 * DAY)
    assert cycle(world, chosen, queues=("orphaned",)).total == 0
    assert cycle(world, chosen).purged[PurgeTarget.ORPHANED] == 0
    assert ttl(world, vm) == -1


def test_an_orphan_without_a_time_ages_from_when_it_was_first_seen(world: World) -> None:
    vm = b"pooler-a"
    world.client.hset(keys.vm(vm), "pool", POOL)
    assert cycle(world).total == 0
    world.now += DAY
    assert cycle(world).total == 0
    world.now += 1
    assert cycle(world).purged == {"orphaned": 1}
    assert expires_within_the_hour(world, vm)
    cycle(world)
    assert world.client.zcard(keys.first_seen("orphaned")) == 0


def test_metadata_of_the_wrong_type_is_an_orphan_too(world: World) -> None:
    world.client.set("vmpooler__vm__pooler-a", "x")
    assert cycle(world).errors == [
        "Error checking orphaned metadata 'vmpooler__vm__pooler-a': its metadata is not a hash"
    ]
    world.now += DAY + 1
    assert cycle(world).purged == {"orphaned": 1}
    assert expires_within_the_hour(world, b"pooler-a")


def test_metadata_of_a_vm_purged_from_pending_keeps_its_data_ttl(world: World) -> None:
    vm = world.vm(Queue.PENDING, "pooler-a", 30 * DAY)
    assert cycle(world).purged == {"pending": 1}
    assert ttl(world, vm) > HOUR
    assert cycle(world).total == 0


def test_an_unconfigured_pools_queue_of_the_wrong_type_stops_nothing(world: World) -> None:
    world.client.set("vmpooler__running__gone", "no set")
    vm = world.vm(None, "pooler-a", 2 * DAY)
    assert cycle(world).purged == {"orphaned": 1}
    assert expires_within_the_hour(world, vm)


@pytest.mark.parametrize("queue", [Queue.PENDING, Queue.RUNNING, Queue.COMPLETED, Queue.MIGRATING])
def test_no_metadata_expires_while_a_queue_cannot_be_read(
    world: World, queue: Queue, caplog: pytest.LogCaptureFixture
) -> None:
    world.client.set(keys.queue(queue, POOL), "no set")
    vm = world.vm(None, "pooler-a", 2 * DAY)
    assert cycle(world, dry_run=True).found == {}
    report = cycle(world)
    assert report.purged == {}
    assert world.client.ttl(keys.vm(vm)) == -1
    assert len(report.errors) == 1
    assert f"vmpooler__{queue}__{POOL}" in report.errors[0]
    text = "[!] [purge] Skipped orphaned metadata: its VMs may be in a queue that cannot be read: "
    assert f"{text}vmpooler__{queue}__{POOL}" in caplog.messages
    world.client.delete(keys.queue(queue, POOL))
    assert cycle(world).purged == {"orphaned": 1}


def test_orphans_beyond_one_page_and_many_pools_are_all_found(world: World) -> None:
    pipe = world.client.pipeline(transaction=False)
    for index in range(1300):
        pipe.hset(f"vmpooler__vm__orphan-{index}", "clone", world.stamp(2 * DAY))
        pipe.hset(f"vmpooler__vm__queued-{index}", "clone", world.stamp(2 * DAY))
        pipe.sadd(f"vmpooler__running__pool-{index % 60}", f"queued-{index}")
    pipe.execute()
    assert cycle(world).purged == {"orphaned": 1300}
    assert counters(world)["purged:orphaned"] == 1300
    assert all(-1 < world.client.ttl(f"vmpooler__vm__orphan-{index}") <= HOUR for index in range(0, 1300, 100))
    assert all(world.client.ttl(f"vmpooler__vm__queued-{index}") == -1 for index in range(0, 1300, 100))
