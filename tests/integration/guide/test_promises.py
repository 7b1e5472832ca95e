"""The operator guide's promises, each by name: its configuration, and its dead-letter queue.

Auto-purge and health checks are in the files beside this one; the guide's commands are executed in
tests/e2e/guide/test_commands.py, and its metrics ("Exposed Metrics") are checked in tests/unit/metrics/test_dotted.py.
"""

import json
from collections.abc import Mapping
from typing import Any

import pytest
import yaml

from tests.support import guide
from tests.support.promises import DAY, HOUR, LOG_LINES, MINUTE, WEEK, configured, dead_letters, fail, run_purge
from tests.support.world import NOW, POOL, World, settings
from vmpooler_tasks.config import HealthThresholds, Options, Settings
from vmpooler_tasks.model.names import DeadLetterQueue, Queue
from vmpooler_tasks.model.purge import PurgeTarget
from vmpooler_tasks.store.deadletters.trim import DeadLetterLimits
from vmpooler_tasks.store.vmpooler.config import publish_config
from vmpooler_tasks.tasks.celery.configuration import schedule

NINE_FIELDS: tuple[tuple[str, type], ...] = (
    ("vm", str),
    ("pool", str),
    ("queue_from", str),
    ("error_class", str),
    ("error_message", str),
    ("failed_at", str),
    ("retry_count", int),
    ("request_id", str),
    ("pool_alias", str),
)


# --- nothing in the guide is left out --------------------------------------------------------------------------------


def test_every_log_line_of_the_guide_is_promised_here() -> None:
    assert guide.log_lines(guide.TEXT) == LOG_LINES


def test_every_key_of_the_guide_is_promised_here() -> None:
    assert guide.redis_keys(guide.TEXT) == {
        "vmpooler__dlq__pending",
        "vmpooler__dlq__clone",
        "vmpooler__dlq__ready",
        "vmpooler__dlq__tasks",
        "vmpooler__health",
        "vmpooler__config",
        f"vmpooler__pending__{POOL}",
        "vmpooler__vm__{}",
    }


def test_every_option_of_the_guide_is_promised_here() -> None:
    named = {name for _, block in guide.configurations(guide.TEXT) for name in guide.options(block)}
    assert named == {name for name, _, _ in OPTIONS} | {"health_thresholds"}
    blocks = [guide.options(block) for _, block in guide.configurations(guide.TEXT)]
    (thresholds,) = (block["health_thresholds"] for block in blocks if "health_thresholds" in block)
    assert set(thresholds) == {name for name, _ in THRESHOLDS} == set(HealthThresholds.model_fields)


# --- configuration ---------------------------------------------------------------------------------------------------

# (name, value in the guide, default): the guide shows the features switched on, and as in VMPooler they are off
# unless that is asked for.
OPTIONS: tuple[tuple[str, float, float], ...] = (
    ("dlq_enabled", True, False),
    ("dlq_ttl", 168, 168),
    ("dlq_max_entries", 10_000, 10_000),
    ("purge_enabled", True, False),
    ("purge_interval", 3600, 3600),
    ("purge_dry_run", False, False),
    ("max_pending_age", 7200, 7200),
    ("max_ready_age", 86400, 86400),
    ("max_completed_age", 3600, 3600),
    ("max_orphaned_age", 86400, 86400),
    ("health_check_enabled", True, False),
    ("health_check_interval", 300, 300),
)
THRESHOLDS: tuple[tuple[str, float], ...] = (
    ("pending_queue_max", 100),
    ("ready_queue_max", 500),
    ("dlq_max_warning", 100),
    ("dlq_max_critical", 1000),
    ("stuck_vm_age_threshold", 7200),
    ("stuck_vm_max_warning", 10),
    ("stuck_vm_max_critical", 50),
)


def first_block_with(option: str) -> Mapping[str, Any]:
    return next(found for _, block in guide.configurations(guide.TEXT) if option in (found := guide.options(block)))


@pytest.mark.parametrize(("option", "shown", "default"), OPTIONS)
def test_an_option_has_the_guides_value_as_its_default(option: str, shown: float, default: float) -> None:
    assert first_block_with(option)[option] == shown
    assert getattr(Options(), option) == default


@pytest.mark.parametrize(("threshold", "shown"), THRESHOLDS)
def test_a_health_threshold_has_the_guides_value_as_its_default(threshold: str, shown: float) -> None:
    assert first_block_with("health_thresholds")["health_thresholds"][threshold] == shown
    assert getattr(HealthThresholds(), threshold) == shown


@pytest.mark.parametrize("block", [block for _, block in guide.configurations(guide.TEXT)])
def test_a_configuration_block_of_the_guide_loads_as_it_stands(block: str) -> None:
    loaded = configured(block).config
    wanted = guide.options(block)
    assert wanted
    assert loaded == Options(**wanted)
    assert loaded.model_dump(include=set(wanted)) == wanted


@pytest.mark.parametrize(("option", "shown", "_default"), OPTIONS)
def test_an_option_is_published_to_vmpooler__config(world: World, option: str, shown: float, _default: float) -> None:
    publish_config(world.db, configured(yaml.safe_dump({":config": {option: shown}})).published())
    assert world.client.hget("vmpooler__config", option) == json.dumps(shown).encode()


@pytest.mark.parametrize(
    ("advice", "options"),
    [
        ("Enable DLQ with shorter TTL (24-48 hours)", {"dlq_enabled": True, "dlq_ttl": 24}),
        ("Enable DLQ with shorter TTL (24-48 hours)", {"dlq_enabled": True, "dlq_ttl": 48}),
        ("Enable purge with dry-run mode initially", {"purge_enabled": True, "purge_dry_run": True}),
        (
            "Use aggressive purge thresholds (30min pending, 6hr ready)",
            {"max_pending_age": 30 * MINUTE, "max_ready_age": 6 * HOUR},
        ),
        ("Enable health checks with 1-minute interval", {"health_check_enabled": True, "health_check_interval": 60}),
        ("Enable DLQ with 7-day TTL", {"dlq_enabled": True, "dlq_ttl": 7 * 24}),
        (
            "Use conservative purge thresholds (2hr pending, 24hr ready)",
            {"max_pending_age": 2 * HOUR, "max_ready_age": 24 * HOUR},
        ),
        ("Enable health checks with 5-minute interval", {"health_check_enabled": True, "health_check_interval": 300}),
    ],
)
def test_a_best_practice_can_be_configured(advice: str, options: dict[str, Any]) -> None:
    assert f"- {advice}" in guide.TEXT.splitlines()
    assert configured(yaml.safe_dump({":config": options})).config.model_dump(include=set(options)) == options


@pytest.mark.parametrize(
    ("phase", "options", "ticks"),
    [
        ("Phase 1: Enable DLQ", {"dlq_enabled": True}, {}),
        ("Phase 2: Enable Health Checks", {"health_check_enabled": True}, {"health": 300}),
        (
            "Phase 3: Enable Purge (Dry-Run)",
            {"purge_enabled": True, "purge_dry_run": True, "health_check_enabled": True},
            {"health": 300, "purge": 3600},
        ),
        (
            "Phase 4: Enable Purge (Live)",
            {"purge_enabled": True, "health_check_enabled": True, "purge_interval": 900, "health_check_interval": 60},
            {"health": 60, "purge": 900},
        ),
    ],
)
def test_a_phase_of_the_migration_runs_what_it_switches_on_at_the_interval_given(
    phase: str, options: dict[str, Any], ticks: dict[str, float]
) -> None:
    assert phase in guide.TEXT
    entries = schedule(Settings(config=Options(**options)))
    assert {name: entry["schedule"] for name, entry in entries.items()} == ticks


# --- 1. dead-letter queue --------------------------------------------------------------------------------------------


def guides_entry() -> dict[str, Any]:
    (example,) = (fence.text for fence in guide.fences(guide.TEXT) if fence.language == "json")
    entry: dict[str, Any] = json.loads(example)
    return entry


def test_the_guides_entry_is_stored_as_it_stands_with_an_id_behind_it(world: World) -> None:
    fail(world)
    (stored,) = dead_letters(world)
    assert list(stored.items())[:9] == list(guides_entry().items())
    assert list(stored)[9:] == ["id"]


def test_the_guides_entry_has_the_nine_fields_in_their_order() -> None:
    assert list(guides_entry()) == [name for name, _ in NINE_FIELDS]


@pytest.mark.parametrize(("field", "kind"), NINE_FIELDS)
def test_a_field_of_a_purged_vms_entry_has_its_type(world: World, field: str, kind: type) -> None:
    world.vm(Queue.PENDING, "pooler-sad-dog", 7250, request_id="req-abc123", pool_alias="centos-7")
    run_purge(world)
    (stored,) = dead_letters(world)
    assert list(stored)[:9] == [name for name, _ in NINE_FIELDS]
    assert type(stored[field]) is kind is type(guides_entry()[field])


def test_a_purged_vms_entry_says_what_failed_where_and_when(world: World) -> None:
    world.vm(Queue.PENDING, "pooler-sad-dog", 7250, request_id="req-abc123", pool_alias="centos-7")
    run_purge(world)
    (stored,) = dead_letters(world)
    assert stored | {"id": ""} == {
        "vm": "pooler-sad-dog",
        "pool": POOL,
        "queue_from": "pending",
        "error_class": "Purge",
        "error_message": "Stale pending VM (age: 7250s > max: 7200s)",
        "failed_at": "2024-01-15T10:30:00Z",
        "retry_count": 0,
        "request_id": "req-abc123",
        "pool_alias": "centos-7",
        "id": "",
    }


def test_an_entry_of_a_vm_without_a_request_leaves_request_id_and_pool_alias_out(world: World) -> None:
    world.vm(Queue.PENDING, "pooler-sad-dog", 7250)
    run_purge(world)
    assert list(dead_letters(world)[0]) == [*(name for name, _ in NINE_FIELDS[:7]), "id"]


def test_an_entrys_score_is_the_epoch_of_its_failed_at(world: World) -> None:
    fail(world)
    ((member, score),) = world.client.zrange("vmpooler__dlq__pending", 0, -1, withscores=True)
    assert score == NOW
    assert json.loads(member)["failed_at"] == "2024-01-15T10:30:00Z"


def test_failed_at_is_utc_with_z_in_whole_seconds(world: World) -> None:
    world.now = NOW + 0.75
    fail(world)
    assert dead_letters(world)[0]["failed_at"] == "2024-01-15T10:30:00Z"
    assert world.client.zrange("vmpooler__dlq__pending", 0, -1, withscores=True)[0][1] == NOW


@pytest.mark.parametrize("queue", ["pending", "clone", "ready", "tasks"])
def test_a_failure_of_each_kind_is_kept_under_the_key_of_its_own(world: World, queue: str) -> None:
    fail(world, queue=DeadLetterQueue(queue))
    found = [key for key in world.client.keys("vmpooler__dlq__*") if world.client.type(key) == b"zset"]
    assert found == [f"vmpooler__dlq__{queue}".encode()]
    assert dead_letters(world, queue)[0]["queue_from"] == queue


def test_an_entry_expires_after_dlq_ttl_which_is_seven_days(world: World) -> None:
    fail(world, "pooler-first")
    world.now += 1
    fail(world, "pooler-second")
    world.now = NOW + 7 * DAY
    run_purge(world)
    assert [dead_letter["vm"] for dead_letter in dead_letters(world)] == ["pooler-first", "pooler-second"]
    world.now += 1
    run_purge(world)
    assert [dead_letter["vm"] for dead_letter in dead_letters(world)] == ["pooler-second"]


def test_dlq_ttl_is_in_hours(world: World) -> None:
    fail(world)
    world.now += 24 * HOUR + 1
    run_purge(world, settings(dlq_ttl=25))
    assert len(dead_letters(world)) == 1
    run_purge(world, settings(dlq_ttl=24))
    assert dead_letters(world) == []


def test_a_dlq_key_without_new_entries_leaves_by_itself_after_dlq_ttl(world: World) -> None:
    fail(world)
    assert 168 * HOUR - 60 <= world.client.ttl("vmpooler__dlq__pending") <= 168 * HOUR


def test_dlq_max_entries_holds_for_each_queue_and_the_oldest_leave(world: World) -> None:
    limits = DeadLetterLimits(ttl_seconds=WEEK.ttl_seconds, max_entries=3)
    for vm in ("pooler-1", "pooler-2", "pooler-3", "pooler-4"):
        fail(world, vm, DeadLetterQueue.CLONE, limits)
        world.now += 1
    for vm in ("pooler-1", "pooler-2", "pooler-3"):
        fail(world, vm, DeadLetterQueue.READY, limits)
    assert [dead_letter["vm"] for dead_letter in dead_letters(world, "clone")] == ["pooler-2", "pooler-3", "pooler-4"]
    assert len(dead_letters(world, "ready")) == 3


def test_with_dlq_enabled_false_a_purged_vm_leaves_no_entry(world: World) -> None:
    world.vm(Queue.PENDING, "pooler-sad-dog", 7250)
    assert run_purge(world, settings(dlq_enabled=False)).purged[PurgeTarget.PENDING] == 1
    assert world.client.keys("vmpooler__dlq__*") == []


def test_a_full_dead_letter_queue_takes_no_more_than_five_megabytes(world: World) -> None:
    """Performance Considerations: +1-5MB. A tenth of a queue is filled and weighed."""
    for index in range(1000):
        fail(world, f"pooler-happy-elephant-{index}")
    assert world.client.zcard("vmpooler__dlq__pending") == 1000
    assert 10 * world.client.memory_usage("vmpooler__dlq__pending", samples=0) <= 5 * 1024 * 1024
