"""A pool that left the configuration, lost its VMs, and has left DNS records of them."""

import json

import pytest

from tests.support.dns_zone import Zone
from tests.support.pool_world import PoolWorld, pool
from tests.support.removed_pools import OTHER, leave, let_be_removed_for, lives_here, removed
from vmpooler_tasks.config.dns import DnsConfig
from vmpooler_tasks.jobs.inspection import roster
from vmpooler_tasks.jobs.inspection.roster import RESTART_SECONDS
from vmpooler_tasks.jobs.pools.control import Operator, PoolControl
from vmpooler_tasks.model.names import Queue
from vmpooler_tasks.store import keys
from vmpooler_tasks.store.guards.brakes import read_brakes

GRACE = 3600.0


@pytest.fixture(autouse=True)
def zone(world: PoolWorld) -> Zone:
    world.config = {"task_limit": 0}
    world.dns = {"inside": DnsConfig(domain="x.example.com", dns_class="rfc2136")}
    world.pools = [pool(), pool(OTHER, dns_plugin="inside")]
    world.dns_plugins["inside"] = Zone()
    lives_here(world)
    own = world.dns_plugins["inside"]
    assert isinstance(own, Zone)
    return own


def lost_vms(world: PoolWorld, zone: Zone, *vms: str) -> None:
    """Note records of VMs that are in no queue, nor in the provider."""
    for vm in vms:
        zone.own[f"{vm}.x.example.com"] = "10.0.0.1"
        record = {"plugin": "inside", "name": f"{vm}.x.example.com", "address": "10.0.0.1"}
        world.client.hset(keys.dns_records(OTHER), vm, json.dumps(record))


def rounds(world: PoolWorld, count: int = 5) -> None:
    """Let the pool be inspected so often while it counts as removed, and do all the work."""
    for _ in range(count):
        if OTHER in roster.update(world.context):
            world.deliver_all(world.inspect(OTHER).work)
        world.now += 20


def test_its_stale_records_are_deleted_after_the_grace_and_it_is_forgotten(world: PoolWorld, zone: Zone) -> None:
    leave(world)
    lost_vms(world, zone, "a", "b")
    rounds(world)
    assert (removed(world), len(zone.own)) == ({OTHER}, 2)
    let_be_removed_for(world, OTHER, GRACE)
    rounds(world)
    assert (zone.own, world.client.exists(keys.dns_records(OTHER))) == ({}, 0)
    assert removed(world) == set()


def test_a_vm_that_still_exists_keeps_its_record_and_does_not_hold_the_pool(world: PoolWorld, zone: Zone) -> None:
    leave(world, seconds=GRACE)
    lost_vms(world, zone, "gone", "there")
    world.provider.has("there", pool=OTHER)
    rounds(world)
    assert set(zone.own) == {"there.x.example.com"}
    assert world.client.hkeys(keys.dns_records(OTHER)) == [b"there"]
    assert removed(world) == set()


def test_many_stale_records_engage_the_brake(world: PoolWorld, zone: Zone) -> None:
    leave(world, seconds=GRACE)
    lost_vms(world, zone, *(f"vm-{number}" for number in range(20)))
    rounds(world)
    assert read_brakes(world.db)[OTHER].is_engaged
    assert (len(zone.own), removed(world)) == (20, {OTHER})
    PoolControl(world.db, world.settings, world.clock, Operator(who="olga")).confirm(OTHER)
    rounds(world, 15)
    assert (zone.own, removed(world), read_brakes(world.db)) == ({}, set(), {})


def test_an_order_to_keep_it_ends_with_its_last_vm(world: PoolWorld, zone: Zone) -> None:
    vm = world.ready_vm("last", name=OTHER)
    leave(world, seconds=RESTART_SECONDS)
    lost_vms(world, zone, "a")
    PoolControl(world.db, world.settings, world.clock, Operator(who="olga", why="wait")).keep(OTHER)
    rounds(world, 1)
    assert world.client.hexists(keys.KEPT_POOLS, OTHER)
    world.client.srem(keys.queue(Queue.READY, OTHER), vm)
    world.provider.machines.pop(vm)
    world.provider.pool_of.pop(vm)
    let_be_removed_for(world, OTHER, GRACE)
    rounds(world)
    assert not world.client.hexists(keys.KEPT_POOLS, OTHER)
    assert (zone.own, removed(world)) == ({}, set())


def test_without_dns_its_notes_do_not_hold_it(world: PoolWorld, zone: Zone) -> None:
    leave(world, seconds=GRACE)
    lost_vms(world, zone, "a")
    world.dns = {}
    lives_here(world)
    rounds(world)
    assert removed(world) == set()
