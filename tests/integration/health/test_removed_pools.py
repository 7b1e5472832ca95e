"""Pools with VMs that left the configuration: health, `pools` and the start name them with their VMs."""

import logging

import pytest

from tests.support.pool_world import PoolWorld, pool
from tests.support.removed_pools import OTHER, leave, lives, lives_here
from tests.support.world import POOL
from vmpooler_tasks.cli.doctor.pools import find_removed_pools
from vmpooler_tasks.jobs.health import changes, check
from vmpooler_tasks.jobs.inspection import roster
from vmpooler_tasks.jobs.pools.overview import overview, read_details
from vmpooler_tasks.model.health.explanation import HealthReason, explain
from vmpooler_tasks.model.health.status import Status
from vmpooler_tasks.model.names import Queue
from vmpooler_tasks.model.pools.state import PoolStateName
from vmpooler_tasks.store import Database, fleet_keys, keys


@pytest.fixture
def world(db: Database) -> PoolWorld:
    world = PoolWorld(db, config={"task_limit": 0}, pools=[pool(), pool(OTHER)])
    lives_here(world)
    return world


def reasons(world: PoolWorld) -> list[HealthReason]:
    report = check.run(world.db, world.settings, world.clock, forced=True)
    assert report is not None
    return [reason for reason in report.assessment.reasons if reason.code == "removed_pool"]


def test_a_removed_pool_is_named_with_its_vms_everywhere(world: PoolWorld) -> None:
    world.running_vm("a-1", 0, OTHER)
    world.ready_vm("a-2", name=OTHER)
    assert reasons(world) == []
    leave(world)
    [reason] = reasons(world)
    assert (reason.pool, reason.severity, reason.measured) == (OTHER, Status.DEGRADED, 2)
    assert explain(reason)[0].startswith(
        "other is in no configuration and has 2 VMs (1 ready, 1 running: drained from "
    )
    _, rows = overview(world.db, world.settings, world.now)
    assert [(row.pool, row.state, row.ready, row.running) for row in rows if row.pool != POOL] == [
        (OTHER, PoolStateName.REMOVED, 1, 1)
    ]
    assert read_details(world.db, world.settings, OTHER, world.now).row.provider == "scripted"


def test_doctor_names_a_removed_pool_and_what_to_do(world: PoolWorld) -> None:
    world.running_vm("a-1", 0, OTHER)
    leave(world)
    [finding] = find_removed_pools(world.settings, world.db)
    assert finding.found.startswith("other is in no configuration, 1 running: drained from ")
    assert finding.remedy == "put it back, or keep it: vmpooler-tasks pools keep other"


def test_a_removal_is_a_fact_that_triggers_a_check(world: PoolWorld) -> None:
    world.running_vm("a-1", 0, OTHER)
    leave(world)
    reasons(world)
    seen = changes.read_watched(world.db, world.settings, world.now)
    assert "removed pools" not in changes.changed_facts(world.db, world.settings, seen)
    world.client.delete(keys.queue(Queue.RUNNING, OTHER))
    seen = changes.read_watched(world.db, world.settings, world.now)
    assert "removed pools" in changes.changed_facts(world.db, world.settings, seen)


def test_a_pool_without_any_record_is_named_by_its_queues(world: PoolWorld, caplog: pytest.LogCaptureFixture) -> None:
    world.vm(Queue.RUNNING, "a-1", 0, "forgotten")
    [reason] = reasons(world)
    assert (reason.pool, reason.error) == ("forgotten", "1 running: they are not drained: its provider is not known")
    with caplog.at_level(logging.WARNING):
        roster.log_removed(world.settings, roster.find_removed(world.db, world.settings))
    assert caplog.messages[-1] == (
        "[!] [forgotten] is in no configuration, 1 running: they are not drained: its provider is not known"
    )
    [finding] = find_removed_pools(world.settings, world.db)
    assert (
        finding.found == "forgotten is in no configuration, 1 running: they are not drained: its provider is not known"
    )


def test_a_pool_of_another_live_process_is_no_reason(world: PoolWorld) -> None:
    world.vm(Queue.RUNNING, "a-1", 0, "theirs")
    lives(world, "w@there", "other configuration", ["theirs"])
    assert reasons(world) == []
    assert roster.find_removed(world.db, world.settings) == []
    world.client.delete(fleet_keys.pool_list("other configuration"))
    assert reasons(world) == [], "its list is not known: it may have the pool"


def test_without_manage_pools_a_registered_pool_is_vmpoolers(world: PoolWorld) -> None:
    world.config = {"manage_pools": False}
    lives_here(world)
    world.vm(Queue.RUNNING, "a-1", 0, "vmpoolers")
    world.vm(Queue.RUNNING, "a-2", 0, "nobodys")
    world.client.sadd(keys.POOLS, "vmpoolers")
    [reason] = reasons(world)
    assert (reason.pool, reason.error) == ("nobodys", "1 running: they are not drained: manage_pools is off")
    assert [state.name for state in roster.find_removed(world.db, world.settings)] == ["nobodys"]
    [finding] = find_removed_pools(world.settings, world.db)
    assert finding.remedy == "put it back", "`pools keep` needs manage_pools"
