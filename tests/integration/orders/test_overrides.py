"""Overrides of templates, clone targets and sizes: what they drain, what not, and what the API shows of them."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.support.pool_world import PoolWorld, pool
from tests.support.world import POOL
from vmpooler_tasks.model.names import Queue
from vmpooler_tasks.store.orders import overrides

PREPARED, OVERRIDES = "vmpooler__template__prepared", "vmpooler__config__template"
UNDO_TEMPLATES, UNDO_SIZES = "vmpooler__pool__undo_template_override", "vmpooler__pool__undo_size_override"
FORMER = "vmpooler_tasks__templates"
ONE, TWO, THREE = "templates/one", "templates/two", "templates/three"
OTHER = "ubuntu-2004-x86_64"


def full_pool(world: PoolWorld) -> set[str]:
    """Two ready VMs, which the workers have inspected."""
    world.pools = [pool(template=ONE)]
    vms = {world.ready_vm("pooler-a"), world.ready_vm("pooler-b")}
    world.inspect()
    assert kept(world) == vms
    return vms


def kept(world: PoolWorld) -> set[str]:
    return world.names_in(Queue.READY)


def prepared(world: PoolWorld, name: str = POOL) -> str | None:
    found = world.client.hget(PREPARED, name)
    return None if found is None else found.decode()


def template_ready(world: PoolWorld) -> bool:
    return bool(world.start_api().config()[POOL]["template_ready"])


def refill(world: PoolWorld, stamp: str, *vms: str) -> None:
    """Empty the pool and make these VMs ready, as VMPooler's manager does."""
    for queue in (Queue.READY, Queue.PENDING):
        for vm in world.names_in(queue):
            world.client.smove(f"vmpooler__{queue}__{POOL}", f"vmpooler__completed__{POOL}", vm)
    for vm in vms:
        world.ready_vm(vm)
        world.client.hset("vmpooler__lastboot", POOL, stamp)


def test_the_first_sight_of_a_pool_records_its_template_and_drains_nothing(world: PoolWorld) -> None:
    assert not template_ready(world)
    full_pool(world)
    assert prepared(world) == ONE
    assert template_ready(world)


def test_an_override_at_the_first_sight_drains_nothing_and_is_ready(world: PoolWorld) -> None:
    world.start_api().set_templates({POOL: TWO})
    full_pool(world)
    assert (prepared(world), template_ready(world)) == (TWO, True)


def test_another_template_in_the_configuration_is_recorded_and_drains_nothing(world: PoolWorld) -> None:
    vms = full_pool(world)
    world.pools = [pool(template=TWO)]
    assert not template_ready(world)
    world.inspect()
    assert (prepared(world), template_ready(world), kept(world)) == (TWO, True, vms)


def test_an_override_of_a_pool_without_a_template_drains_it_and_so_does_its_undo(world: PoolWorld) -> None:
    world.pools = [pool(template=None)]
    world.ready_vm("pooler-a")
    world.inspect()
    assert (prepared(world), kept(world)) == ("", {"pooler-a"}), "recorded as VMPooler records it"
    world.start_api().set_templates({POOL: TWO})
    world.inspect()
    assert (prepared(world), kept(world)) == (TWO, set())
    world.ready_vm("pooler-b")
    world.inspect()
    assert kept(world) == {"pooler-b"}
    world.start_api().undo_template(POOL)
    world.inspect()
    assert (prepared(world), kept(world)) == ("", set())


def test_an_override_drains_before_it_is_recorded(world: PoolWorld) -> None:
    vms = full_pool(world)
    pending = world.pending_vm("pooler-p")
    world.start_api().set_templates({POOL: TWO})
    assert not template_ready(world)
    fresh = world.clones()
    assert world.names_in(Queue.COMPLETED) == vms | {pending}
    assert (prepared(world), template_ready(world)) == (TWO, True)
    world.clone(fresh[0])
    assert world.provider.specs["create"].template == TWO
    assert kept(world) == {fresh[0]}
    world.inspect()
    assert kept(world) == {fresh[0]}, "once"


def test_an_override_of_the_template_in_force_drains_nothing(world: PoolWorld) -> None:
    vms = full_pool(world)
    world.client.hset(OVERRIDES, POOL, ONE)
    world.inspect()
    assert kept(world) == vms
    world.client.hdel(OVERRIDES, POOL)
    world.client.sadd(UNDO_TEMPLATES, POOL)
    world.inspect()
    assert (kept(world), world.client.exists(UNDO_TEMPLATES)) == (vms, 0)


def test_a_template_that_is_no_text_drains_once(world: PoolWorld) -> None:
    full_pool(world)
    world.client.hset(OVERRIDES, POOL, b"templates/\xff")
    world.inspect()
    world.ready_vm("pooler-new")
    world.inspect()
    assert "pooler-new" in kept(world)


@pytest.mark.parametrize("template", [ONE, None])
def test_an_undo_drains_and_applies_the_configured_template(world: PoolWorld, template: str | None) -> None:
    world.pools = [pool(template=template)]
    api = world.start_api()
    world.inspect()
    api.set_templates({POOL: TWO})
    world.inspect()
    vm = world.ready_vm("pooler-two")
    assert api.undo_template(POOL).status == 201
    world.inspect()
    assert vm in world.names_in(Queue.COMPLETED)
    assert (prepared(world), world.client.exists(UNDO_TEMPLATES)) == (template or "", 0)
    world.ready_vm("pooler-one")
    world.inspect()
    assert "pooler-one" in kept(world)


def test_an_undo_is_carried_out_by_whoever_applied_the_override(world: PoolWorld) -> None:
    """VMPooler's manager applied it, and nobody managed the pools when it was undone."""
    world.client.hset(PREPARED, POOL, TWO)
    world.client.sadd(UNDO_TEMPLATES, POOL)
    vm = world.ready_vm("pooler-two")
    world.inspect()
    assert vm in world.names_in(Queue.COMPLETED)
    assert prepared(world) == ONE


@pytest.mark.parametrize("command", ["HDEL", "SADD", "HSET"])
def test_an_inspection_before_any_command_of_an_undo_and_a_new_override_loses_neither(
    world: PoolWorld, command: str
) -> None:
    api = world.start_api()
    full_pool(world)
    api.set_templates({POOL: TWO})
    world.inspect()
    old = world.ready_vm("pooler-two")
    api.before_command = lambda sent: world.inspect() if sent[0] == command else None
    api.undo_template(POOL)
    api.set_templates({POOL: THREE})
    api.before_command = None
    world.inspect()
    assert old in world.names_in(Queue.COMPLETED)
    assert api.config()[POOL] == {"size": 2, "template": THREE, "template_ready": True}
    assert not world.client.exists(UNDO_TEMPLATES)
    assert world.client.hget(OVERRIDES, POOL) == THREE.encode()


def test_an_override_that_vanishes_before_its_undo_is_ordered_drains(world: PoolWorld) -> None:
    api = world.start_api()
    full_pool(world)
    api.set_templates({POOL: TWO})
    world.inspect()
    old = world.ready_vm("pooler-two")
    api.before_command = lambda sent: world.inspect() if sent[0] == "SADD" else None
    api.undo_template(POOL)
    assert old in world.names_in(Queue.COMPLETED)
    fresh = world.ready_vm("pooler-one")
    world.inspect()
    assert fresh in kept(world), "the order that comes after it drains no second time"
    assert not world.client.exists(UNDO_TEMPLATES)


def test_an_override_set_while_another_is_applied_is_applied_next(
    world: PoolWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    full_pool(world)
    api = world.start_api()
    api.set_templates({POOL: TWO})
    from_two = []

    def meanwhile(*arguments: Any) -> bool:
        monkeypatch.undo()
        api.undo_template(POOL)
        api.set_templates({POOL: THREE})
        from_two.append(world.ready_vm("pooler-two"))
        return overrides.record_template(*arguments)

    monkeypatch.setattr(overrides, "record_template", meanwhile)
    world.inspect()
    assert not template_ready(world)
    world.inspect()
    assert set(from_two) <= world.names_in(Queue.COMPLETED)
    assert (prepared(world), template_ready(world)) == (THREE, True)


def test_the_undo_of_a_size_deletes_no_size_that_was_set_since(world: PoolWorld) -> None:
    api = world.start_api()
    api.set_pool_sizes({POOL: 5})
    world.inspect()
    api.undo_pool_size(POOL)
    api.set_pool_sizes({POOL: 3})
    world.inspect()
    assert world.client.hget("vmpooler__config__poolsize", POOL) == b"3"
    assert not world.client.exists(UNDO_SIZES)
    assert api.config()[POOL]["size"] == 3


def test_the_templates_of_an_earlier_version_win_once(world: PoolWorld) -> None:
    vms = full_pool(world)
    world.client.hset(PREPARED, mapping={POOL: THREE, "left": ONE})
    world.client.hset(FORMER, mapping={POOL: ONE, OTHER: TWO})
    world.inspect()
    assert {name: prepared(world, name) for name in (POOL, OTHER, "left")} == {POOL: ONE, OTHER: TWO, "left": ONE}
    assert not world.client.exists(FORMER)
    assert kept(world) == vms


def test_many_workers_adopt_the_templates_of_an_earlier_version_at_once(world: PoolWorld) -> None:
    pools = [f"pool-{number}" for number in range(8)]
    world.pools = [pool(name, size=1) for name in pools]
    for name in pools:
        world.ready_vm(f"pooler-{name}", name=name)
    world.client.hset(FORMER, mapping=dict.fromkeys(pools, TWO))
    world.client.hset(OVERRIDES, mapping=dict.fromkeys(pools, TWO))
    with ThreadPoolExecutor(8) as workers:
        list(workers.map(world.inspect, pools))
    assert {name: prepared(world, name) for name in pools} == dict.fromkeys(pools, TWO)
    assert all(world.names_in(Queue.READY, name) for name in pools)
    assert not world.client.exists(FORMER)


@pytest.mark.parametrize("configured", [None, "cluster-0"])
def test_a_clone_target_set_through_the_api_drains_once(world: PoolWorld, configured: str | None) -> None:
    world.pools = [pool(clone_target=configured)]
    vms = {world.ready_vm("pooler-a"), world.pending_vm("pooler-p")}
    world.inspect()
    world.start_api().set_clone_targets({POOL: "cluster-1"})
    fresh = world.clones()
    assert world.names_in(Queue.COMPLETED) == vms
    world.clone(fresh[0])
    assert world.provider.specs["create"].clone_target == "cluster-1"
    world.inspect()
    assert kept(world) == {fresh[0]}


def test_the_clone_target_in_force_set_through_the_api_drains_nothing(world: PoolWorld) -> None:
    world.config = {"clone_target": "cluster-1"}
    vms = full_pool(world)
    world.start_api().set_clone_targets({POOL: "cluster-1"})
    world.inspect()
    assert kept(world) == vms


def test_the_first_sight_of_a_clone_target_drains_nothing(world: PoolWorld) -> None:
    world.start_api().set_clone_targets({POOL: "cluster-1"})
    full_pool(world)


def test_another_clone_target_in_the_configuration_drains_nothing(world: PoolWorld) -> None:
    vms = full_pool(world)
    world.pools = [pool(clone_target="cluster-1")]
    world.inspect()
    assert kept(world) == vms
    world.start_api().set_clone_targets({POOL: "cluster-2"})
    world.inspect()
    assert vms <= world.names_in(Queue.COMPLETED)


def test_what_the_other_manager_applied_drains_nothing_at_the_return(world: PoolWorld) -> None:
    api = world.start_api()
    full_pool(world)
    api.set_templates({POOL: TWO})
    api.set_clone_targets({POOL: "cluster-1"})
    refill(world, world.stamp(0), "pooler-c", "pooler-d")
    world.client.hset(PREPARED, POOL, TWO)
    world.inspect()
    assert kept(world) == {"pooler-c", "pooler-d"}
    api.set_clone_targets({POOL: "cluster-2"})
    world.inspect()
    assert world.names_in(Queue.COMPLETED) >= {"pooler-c", "pooler-d"}, "the next one drains as usual"


def test_what_these_workers_applied_drains_nothing_in_the_other_manager(world: PoolWorld) -> None:
    """VMPooler drains where the override differs from the prepared template."""
    full_pool(world)
    world.start_api().set_templates({POOL: TWO})
    world.inspect()
    assert world.client.hget(PREPARED, POOL) == world.client.hget(OVERRIDES, POOL)


def test_a_clone_target_set_while_no_manager_ran_drains(world: PoolWorld) -> None:
    world.pools = [pool(size=1)]
    [vm] = world.clones()
    world.inspect()
    world.clone(vm)
    world.now += 3600
    world.start_api().set_clone_targets({POOL: "cluster-1"})
    world.inspect()
    assert vm in world.names_in(Queue.COMPLETED), "the last VM is one of these workers"


def test_a_reset_ordered_while_one_is_carried_out_is_not_lost(
    world: PoolWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    full_pool(world)
    api = world.start_api()
    api.reset_pools(POOL)

    def meanwhile(db: Any, name: str) -> None:
        monkeypatch.undo()
        world.ready_vm("pooler-new")
        api.reset_pools(name)
        overrides.remove_reset(db, name)

    monkeypatch.setattr(overrides, "remove_reset", meanwhile)
    world.inspect()
    assert kept(world) == set()
    assert not world.client.exists("vmpooler__poolreset")
