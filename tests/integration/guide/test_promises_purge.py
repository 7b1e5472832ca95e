"""The operator guide's promises, each by name: auto-purge, and scenario 4."""

import logging
import re

import pytest

from tests.support import guide
from tests.support.promises import (
    BOTH_POOLS,
    COMPLETED,
    DAY,
    MOVED_READY,
    PURGED_PENDING,
    STARTING,
    UBUNTU,
    WOULD_PURGE,
    configured,
    dead_letters,
    run_purge,
)
from tests.support.world import POOL, World, settings
from vmpooler_tasks.jobs.purge.report import PurgeReport
from vmpooler_tasks.model.names import Queue
from vmpooler_tasks.model.purge import PurgeTarget


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, "vmpooler_tasks")
    return caplog


def test_a_pending_vm_older_than_two_hours_is_purged_into_the_dead_letters(world: World) -> None:
    world.vm(Queue.PENDING, "pooler-at-the-limit", 7200)
    world.vm(Queue.PENDING, "pooler-stale", 7201)
    assert run_purge(world).purged == {"pending": 1}
    assert world.members(Queue.PENDING) == {b"pooler-at-the-limit"}
    assert [dead_letter["vm"] for dead_letter in dead_letters(world)] == ["pooler-stale"]


def test_a_ready_vm_older_than_a_day_is_moved_to_completed(world: World) -> None:
    world.vm(Queue.READY, "pooler-at-the-limit", 86400)
    world.vm(Queue.READY, "pooler-stale", 86401)
    assert run_purge(world).purged == {"ready": 1}
    assert world.members(Queue.READY) == {b"pooler-at-the-limit"}
    assert world.members(Queue.COMPLETED) == {b"pooler-stale"}


def test_a_vm_in_completed_for_more_than_an_hour_is_removed(world: World) -> None:
    world.vm(Queue.COMPLETED, "pooler-at-the-limit", 3600)
    world.vm(Queue.COMPLETED, "pooler-stale", 3601)
    assert run_purge(world).purged[PurgeTarget.COMPLETED] == 1
    assert world.members(Queue.COMPLETED) == {b"pooler-at-the-limit"}


def test_metadata_older_than_a_day_without_a_queue_entry_expires(world: World) -> None:
    world.vm(None, "pooler-at-the-limit", 86400)
    world.vm(None, "pooler-orphaned", 86401)
    world.vm(Queue.RUNNING, "pooler-running", 30 * DAY)
    assert run_purge(world).purged == {"orphaned": 1}
    assert world.client.ttl("vmpooler__vm__pooler-at-the-limit") == -1
    assert world.client.ttl("vmpooler__vm__pooler-running") == -1
    assert 3500 < world.client.ttl("vmpooler__vm__pooler-orphaned") <= 3600


@pytest.mark.parametrize(
    ("option", "queue", "counted_as"),
    [
        ("max_pending_age", Queue.PENDING, "pending"),
        ("max_ready_age", Queue.READY, "ready"),
        ("max_completed_age", Queue.COMPLETED, "completed"),
        ("max_orphaned_age", None, "orphaned"),
    ],
)
def test_an_age_threshold_can_be_configured(world: World, option: str, queue: Queue | None, counted_as: str) -> None:
    world.client.sadd("vmpooler__pools", POOL)
    world.vm(queue, "pooler-at-the-limit", 600)
    world.vm(queue, "pooler-stale", 601)
    assert (
        run_purge(world, configured(f":config: {{purge_enabled: true, {option}: 600}}")).purged[PurgeTarget(counted_as)]
        == 1
    )


def a_cycle_of_twelve(world: World) -> PurgeReport:
    """The two VMs that the guide's log names, and ten more."""
    world.vm(Queue.PENDING, "pooler-sad-dog", 7250)
    world.vm(Queue.READY, "pooler-angry-cat", 90000, UBUNTU)
    for index in range(5):
        world.vm(Queue.COMPLETED, f"pooler-completed-{index}", 4000 + index, UBUNTU)
    for index in range(3):
        world.vm(Queue.PENDING, f"pooler-pending-{index}", 8000 + index, UBUNTU)
    for index in range(2):
        world.vm(None, f"pooler-orphaned-{index}", 3 * DAY)
    return run_purge(world, settings(pools=BOTH_POOLS))


def test_a_purge_cycle_says_that_it_starts(world: World, log: pytest.LogCaptureFixture) -> None:
    run_purge(world)
    assert log.messages[0] == STARTING


def test_a_purge_cycle_names_the_pending_vm_that_it_purged(world: World, log: pytest.LogCaptureFixture) -> None:
    a_cycle_of_twelve(world)
    assert PURGED_PENDING in log.messages


def test_a_purge_cycle_names_the_ready_vm_that_it_moved(world: World, log: pytest.LogCaptureFixture) -> None:
    a_cycle_of_twelve(world)
    assert MOVED_READY in log.messages


def test_a_purge_cycle_says_how_long_it_took_and_how_many_it_purged(
    world: World, log: pytest.LogCaptureFixture
) -> None:
    assert a_cycle_of_twelve(world).total == 12
    pattern = re.escape(COMPLETED).replace(re.escape("2.34"), r"\d+\.\d\d")
    assert re.fullmatch(pattern, log.messages[-1])


def test_a_purge_cycle_says_one_line_for_each_entry(world: World, log: pytest.LogCaptureFixture) -> None:
    a_cycle_of_twelve(world)
    entries = [line for line in log.messages if line.startswith("[!] [purge] ")]
    assert len(entries) == len(set(entries)) == 12
    assert len(log.messages) == 14


def test_a_dry_run_names_what_it_would_purge_and_changes_nothing(world: World, log: pytest.LogCaptureFixture) -> None:
    testing = next(block for _, block in guide.configurations(guide.TEXT) if "max_pending_age: 600 " in block)
    world.vm(Queue.PENDING, "pooler-happy-elephant", 3650)
    world.client.sadd("vmpooler__pools", POOL)  # the block configures no pool, so VMPooler's own are taken
    before = world.snapshot_of_vmpooler()
    report = run_purge(world, configured(testing))
    assert WOULD_PURGE in log.messages
    assert (report.found, report.purged) == ({"pending": 1}, {})
    assert world.snapshot_of_vmpooler() == before


def test_changed_limits_are_tried_in_a_dry_run_and_then_take_effect(
    world: World, log: pytest.LogCaptureFixture
) -> None:
    """Scenario 4."""
    scenario = "Scenario 4: Testing Configuration Changes"
    trial, live = (guide.options(block) for section, block in guide.configurations(guide.TEXT) if section == scenario)
    world.vm(Queue.PENDING, "pooler-lively-heron", 3601)
    world.vm(Queue.PENDING, "pooler-happy-elephant", 3600)
    before = world.snapshot_of_vmpooler()

    run_purge(world, settings(**trial))
    seen = [line for line in log.messages if re.search("purge.*dry-run", line)]
    assert seen[:-1] == [
        "[*] [purge][dry-run] Would purge stale pending VM 'pooler-lively-heron' (age: 3601s, max: 3600s)"
    ]
    assert world.snapshot_of_vmpooler() == before

    run_purge(world, settings(**{**trial, **live}))
    assert world.members(Queue.PENDING) == {b"pooler-happy-elephant"}


def test_with_purge_enabled_false_a_cycle_does_nothing_and_says_so(world: World, log: pytest.LogCaptureFixture) -> None:
    world.vm(Queue.PENDING, "pooler-sad-dog", 7250)
    before = world.snapshot_of_vmpooler()
    run_purge(world, settings(purge_enabled=False))
    assert log.messages == ["[*] [purge] Skipped purge cycle: purge is switched off (purge_enabled: false)"]
    assert world.snapshot_of_vmpooler() == before
