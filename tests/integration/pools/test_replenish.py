"""A pool is kept at its size: missing clones are started, excess ready VMs are completed."""

import logging

import pytest

from tests.support.pool_world import PoolWorld, pool
from tests.support.world import POOL
from vmpooler_tasks.config.dns import DnsConfig
from vmpooler_tasks.errors import InvalidInputError, WrongTypeError
from vmpooler_tasks.jobs.inspection import inspect, replenish
from vmpooler_tasks.jobs.pools.context import Work
from vmpooler_tasks.model.names import Queue
from vmpooler_tasks.model.pools.lifecycle import Step
from vmpooler_tasks.store import keys
from vmpooler_tasks.store.keys import POOL_SLOTS
from vmpooler_tasks.store.pools import breakers
from vmpooler_tasks.store.pools.breakers import BreakerLimits, CallKind
from vmpooler_tasks.store.redis.locks import OwnedLock

OTHER = "ubuntu-2004-x86_64"


def test_an_empty_pool_gets_as_many_clones_as_its_size(world: PoolWorld) -> None:
    world.pools = [pool(size=3)]
    inspection = world.inspect()
    assert [work.step for work in inspection.work] == [Step.CLONE] * 3
    assert {work.vm for work in inspection.work} == world.names_in(Queue.PENDING)
    assert all(work == Work(Step.CLONE, work.vm, POOL) for work in inspection.work)
    assert world.slots() == 3


def test_pending_and_ready_vms_count_against_the_size(world: PoolWorld) -> None:
    world.pools = [pool(size=5)]
    world.pending_vm("pooler-a")
    world.ready_vm("pooler-b")
    world.ready_vm("pooler-c")
    world.running_vm("pooler-d")
    world.completed_vm("pooler-e")
    assert len(world.clones()) == 2
    assert world.clones() == [], "started clones are pending"


@pytest.mark.parametrize("ready", [2, 3])
def test_a_full_pool_gets_no_clone(world: PoolWorld, ready: int) -> None:
    for index in range(ready):
        world.ready_vm(f"pooler-{index}")
    assert world.clones() == []
    assert world.slots() == 0


def test_all_pools_together_have_no_more_clones_in_flight_than_task_limit(world: PoolWorld) -> None:
    world.pools, world.config = [pool(size=3), pool(OTHER, size=4)], {"task_limit": 5}
    assert (len(world.clones(POOL)), len(world.clones(OTHER))) == (3, 2)
    assert world.slots() == 5
    assert (world.clones(POOL), world.clones(OTHER)) == ([], [])
    world.clone(min(world.names_in(Queue.PENDING)))
    assert world.slots() == 4
    assert len(world.clones(OTHER)) == 1, "the slot that is free again is used"


def test_a_task_limit_of_0_starts_nothing(world: PoolWorld) -> None:
    world.config = {"task_limit": 0}
    assert world.clones() == []


def test_a_large_pool_is_filled_in_steps(world: PoolWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    names = (f"pooler-{index}" for index in range(10_000))
    monkeypatch.setattr(replenish, "candidates", lambda _: names)
    world.pools, world.config = [pool(size=500)], {"task_limit": 1000}
    assert [len(world.clones()) for _ in range(4)] == [200, 200, 100, 0]
    assert world.slots() == 500


def test_a_name_has_the_prefix_and_is_at_most_fifteen_characters_without_it(world: PoolWorld) -> None:
    world.pools, world.config = [pool(size=50)], {"prefix": "a-long-prefix-", "task_limit": 100}
    names = [name.removeprefix("a-long-prefix-") for name in world.clones()]
    assert len(set(names)) == 50
    assert all(0 < len(name) <= 15 for name in names)
    assert all(f"a-long-prefix-{name}" in world.names_in(Queue.PENDING) for name in names)


def test_what_is_known_of_a_vm_is_written_with_its_name(world: PoolWorld) -> None:
    [vm, _] = world.clones()
    assert world.metadata(vm) == {
        "clone": "2024-01-15 10:30:00 +0000",
        "template": POOL,
        "pool": POOL,
        "domain": "example.com",
    }
    assert world.ttl(vm) == -1


def test_the_domain_of_a_pools_own_dns_is_taken_first(world: PoolWorld) -> None:
    world.pools = [pool(dns_plugin="inside")]
    world.dns = {"inside": DnsConfig(domain="inside.example")}
    assert world.metadata(world.clones()[0])["domain"] == "inside.example"


def test_without_a_domain_none_is_written(world: PoolWorld) -> None:
    world.config = {"domain": None}
    assert "domain" not in world.metadata(world.clones()[0])


@pytest.mark.parametrize("key", [keys.vm(b"pooler-one"), keys.work(b"pooler-one")])
def test_a_name_that_was_used_before_is_not_used(world: PoolWorld, monkeypatch: pytest.MonkeyPatch, key: bytes) -> None:
    names = [f"pooler-{name}" for name in ("one", "two", "three", "four", "five", "six", "seven")]
    monkeypatch.setattr(replenish, "candidates", lambda _: iter(names))
    world.client.hset(key, "clone", world.stamp(86400))
    before = world.client.hgetall(key)
    assert world.clones() == ["pooler-two", "pooler-three"]
    assert world.client.hgetall(key) == before


def test_if_every_name_is_taken_the_next_inspection_tries_others(
    world: PoolWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = (f"pooler-{index}" for index in range(100))
    monkeypatch.setattr(replenish, "candidates", lambda _: names)
    for index in range(7):
        world.client.hset(keys.vm(b"pooler-%d" % index), "clone", "x")
    assert world.clones() == []
    assert world.clones() == ["pooler-7", "pooler-8"]


def test_a_clone_is_planned_for_longer_than_a_lease_since_a_queue_may_be_long(world: PoolWorld) -> None:
    [vm, _] = world.clones()
    assert world.client.zscore(POOL_SLOTS.key, vm) == world.now + 5 * 60


def test_ready_vms_beyond_the_size_are_completed(world: PoolWorld) -> None:
    for index in range(5):
        world.ready_vm(f"pooler-{index}")
    world.inspect()
    assert len(world.names_in(Queue.READY)) == 2
    assert len(world.names_in(Queue.COMPLETED)) == 3
    assert len(world.due(Step.DESTROY)) == 3


def test_pending_vms_do_not_make_ready_ones_too_many(world: PoolWorld) -> None:
    for index in range(2):
        world.ready_vm(f"pooler-r{index}")
        world.pending_vm(f"pooler-p{index}")
    world.inspect()
    assert len(world.names_in(Queue.READY)) == 2
    assert len(world.names_in(Queue.PENDING)) == 2


def test_a_pool_of_size_0_gets_nothing_and_keeps_nothing_ready(world: PoolWorld) -> None:
    world.pools = [pool(size=0)]
    assert world.clones() == []
    world.ready_vm("pooler-a")
    assert world.clones() == []
    assert world.names_in(Queue.COMPLETED) == {"pooler-a"}
    assert not world.client.exists(keys.empty(POOL)), "it is as it should be"


def test_an_inspection_completes_a_thousand_excess_vms(world: PoolWorld) -> None:
    world.pools = [pool(size=1)]
    world.client.sadd(keys.queue(Queue.READY, POOL), *(f"pooler-{index}" for index in range(1201)))
    world.inspect()
    assert len(world.names_in(Queue.READY)) == 1
    assert len(world.names_in(Queue.COMPLETED)) == 1200


def test_a_size_set_through_the_api_counts_instead(world: PoolWorld) -> None:
    world.client.hset("vmpooler__config__poolsize", POOL, 4)
    assert len(world.clones()) == 4
    world.client.hset("vmpooler__config__poolsize", POOL, 0)
    assert world.clones() == []


@pytest.mark.parametrize("text", ["", "-1", "many", "3.5", " 4", "0x10", "²", "9" * 5000, "\udcff"])
def test_an_invalid_size_is_ignored(world: PoolWorld, text: str) -> None:
    world.client.hset("vmpooler__config__poolsize", POOL, text.encode(errors="surrogateescape"))
    assert len(world.clones()) == 2


def test_the_empty_flag_is_there_while_no_vm_is_ready(world: PoolWorld, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(3):
        world.inspect()
        assert world.client.get(keys.empty(POOL)) == b"true"
    assert caplog.messages.count(f"[!] [{POOL}] is empty") == 1, "it is logged once"
    world.ready_vm("pooler-a")
    world.inspect()
    assert not world.client.exists(keys.empty(POOL))
    world.check_out("pooler-a")
    world.inspect()
    assert world.client.exists(keys.empty(POOL))
    assert caplog.messages.count(f"[!] [{POOL}] is empty") == 2


def test_a_pool_of_size_0_is_not_reported_as_empty(world: PoolWorld, caplog: pytest.LogCaptureFixture) -> None:
    world.inspect()
    caplog.clear()
    world.client.hset("vmpooler__config__poolsize", POOL, 0)
    world.inspect()
    assert not world.client.exists(keys.empty(POOL))
    assert caplog.messages == []


def opened(world: PoolWorld, provider: str = "scripted") -> None:
    breakers.count_failure(world.db, provider, CallKind.INVENTORY, BreakerLimits(1, 30), now=world.now)


def test_a_suspended_provider_gets_no_clones(world: PoolWorld) -> None:
    opened(world)
    inspection = world.inspect()
    assert (inspection.work, inspection.error) == ([], None)
    assert world.provider.calls == [], "its inventory is not read either"
    world.now += 31
    assert len(world.clones()) == 2


def test_a_suspension_does_not_stop_what_needs_no_provider(world: PoolWorld) -> None:
    opened(world)
    for index in range(3):
        world.ready_vm(f"pooler-{index}")
    world.inspect()
    assert len(world.names_in(Queue.READY)) == 2
    world.client.sadd("vmpooler__poolreset", POOL)
    world.inspect()
    assert len(world.names_in(Queue.COMPLETED)) == 3
    assert world.client.exists(keys.empty(POOL)), "it is empty, whatever the reason"


def test_pools_of_another_provider_go_on(world: PoolWorld) -> None:
    world.pools = [pool(), pool(OTHER, provider="other")]
    world.providers = {"other": world.provider}
    opened(world, "scripted")
    assert world.clones(POOL) == []
    assert len(world.clones(OTHER)) == 2


def test_a_pool_that_is_not_configured_is_refused(world: PoolWorld) -> None:
    with pytest.raises(InvalidInputError, match="there is no pool 'nowhere'"):
        world.inspect("nowhere")


@pytest.mark.parametrize("queue", [Queue.PENDING, Queue.READY, Queue.COMPLETED])
def test_a_queue_of_the_wrong_type_does_not_stop_other_pools(world: PoolWorld, queue: Queue) -> None:
    world.pools = [pool(), pool(OTHER)]
    world.client.set(keys.queue(queue, POOL), "x")
    with pytest.raises(WrongTypeError, match=queue):
        world.inspect(POOL)
    assert len(world.clones(OTHER)) == 2
    assert world.slots() == 2


def test_of_two_inspections_of_one_pool_one_is_busy(world: PoolWorld) -> None:
    seen: list[inspect.Inspection] = []
    world.provider.before("list", lambda _: seen.append(world.inspect()))
    inspection = world.inspect()
    assert not inspection.busy
    assert [(one.busy, one.work) for one in seen] == [(True, [])]
    assert len(world.names_in(Queue.PENDING)) == 2


def test_the_lock_is_free_after_an_inspection_even_if_it_failed(world: PoolWorld) -> None:
    world.client.set(keys.queue(Queue.READY, POOL), "x")
    with pytest.raises(WrongTypeError):
        world.inspect()
    world.client.delete(keys.queue(Queue.READY, POOL))
    assert not world.inspect().busy


def test_inspections_of_two_pools_run_at_once(world: PoolWorld) -> None:
    lock = OwnedLock(world.db, keys.check_lock(OTHER), "an inspection")
    assert lock.acquire()
    assert not world.inspect(POOL).busy
    lock.release()


def test_orders_are_logged(world: PoolWorld, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "vmpooler_tasks")
    world.ready_vm("pooler-a")
    world.client.sadd("vmpooler__poolreset", POOL)
    world.inspect()
    assert f"[*] [{POOL}] reset: 1 pending and ready VMs moved to completed" in caplog.messages


def test_a_reset_completes_what_is_pending_and_ready_once(world: PoolWorld) -> None:
    world.pending_vm("pooler-p")
    world.ready_vm("pooler-r")
    world.running_vm("pooler-x")
    world.client.sadd("vmpooler__poolreset", POOL, OTHER)
    fresh = world.clones()
    assert world.names_in(Queue.COMPLETED) == {"pooler-p", "pooler-r"}
    assert world.names_in(Queue.RUNNING) == {"pooler-x"}
    assert world.client.smembers("vmpooler__poolreset") == {OTHER.encode()}
    assert len(fresh) == 2, "the same inspection replaces it"
    world.inspect()
    assert world.names_in(Queue.PENDING) == set(fresh)


def test_a_clone_under_way_is_not_wanted_any_more_after_a_reset(world: PoolWorld) -> None:
    [vm, _] = world.clones()

    def reset(_: str) -> None:
        world.client.sadd("vmpooler__poolreset", POOL)
        world.inspect()

    world.provider.before("create", reset)
    assert world.clone(vm) == "left_queue"
    assert world.queues_of(vm) == [Queue.COMPLETED]
    assert "clone_time" not in world.metadata(vm)
    assert vm not in world.client.zrange(POOL_SLOTS.key, 0, -1)


def test_a_template_set_through_the_api_drains_the_pool_once_and_is_cloned_from(world: PoolWorld) -> None:
    world.inspect()
    world.ready_vm("pooler-r")
    world.client.hset("vmpooler__config__template", POOL, "templates/two")
    [vm, *_] = world.clones()
    assert "pooler-r" in world.names_in(Queue.COMPLETED)
    world.clone(vm)
    assert world.provider.specs["create"].template == "templates/two"
    world.inspect()
    assert vm in world.names_in(Queue.READY)


def test_the_first_inspection_of_a_pool_drains_nothing(world: PoolWorld) -> None:
    world.ready_vm("pooler-r")
    world.client.hset("vmpooler__config__template", POOL, "templates/two")
    world.inspect()
    assert world.names_in(Queue.READY) == {"pooler-r"}


def test_a_clone_target_set_through_the_api_is_cloned_to(world: PoolWorld) -> None:
    world.config = {"clone_target": "cluster-1"}
    [one, two] = world.clones()
    world.clone(one)
    assert world.provider.specs["create"].clone_target == "cluster-1"
    world.client.hset("vmpooler__config__clone_target", POOL, "cluster-2")
    world.clone(two)
    assert world.provider.specs["create"].clone_target == "cluster-2"
