"""What a health check leaves in Redis."""

import json

import pytest

from tests.support.cycles import cycle
from tests.support.health_checks import recorded
from tests.support.promises import fail, run_health
from tests.support.world import POOL, World, settings
from vmpooler_tasks.jobs.health import check
from vmpooler_tasks.jobs.health.report import HealthReport
from vmpooler_tasks.model.health.status import Status
from vmpooler_tasks.model.names import Queue
from vmpooler_tasks.store import keys
from vmpooler_tasks.store.redis.scripts import script_text
from vmpooler_tasks.store.vmpooler.config import publish_config

pytestmark = pytest.mark.both_servers

HOUR, DAY = 3600, 86400
FIELDS = {
    "status",
    "last_check",
    "last_scheduled_check",
    "metrics",
    "stuck_vm_count",
    "dlq_total_size",
    "orphaned_metadata_count",
    "reasons",
}


def test_the_fields_are_the_documented_ones_and_no_other(world: World) -> None:
    for index in range(11):
        world.vm(Queue.PENDING, f"pooler-{index}", 7201)
    world.vm(None, "pooler-orphan", 60)
    fail(world)
    run_health(world)
    found = recorded(world)
    assert set(found) == FIELDS
    assert found["status"] == "degraded"
    assert found["last_check"] == "2024-01-15T10:30:00Z"
    assert (found["stuck_vm_count"], found["dlq_total_size"], found["orphaned_metadata_count"]) == ("11", "1", "1")
    assert json.loads(found["reasons"]) == [
        {"code": "stuck_vms", "severity": "degraded", "measured": 11, "threshold": 10, "pool": None}
    ]
    metrics = json.loads(found["metrics"])
    assert set(metrics) == {"queues", "tasks", "errors"}
    assert metrics["queues"][POOL]["pending"]["size"] == 11
    assert metrics["errors"]["dlq_total_size"] == 1


def test_it_replaces_whatever_was_there(world: World) -> None:
    world.client.hset("vmpooler__health", mapping={"old": "field", "status": "unhealthy"})
    run_health(world)
    assert set(recorded(world)) == FIELDS
    world.client.set(
        "vmpooler__health",
        "no hash",
    )
    run_health(world)
    assert set(recorded(world)) == FIELDS


@pytest.mark.parametrize(("interval", "expiry"), [(60, HOUR), (300, HOUR), (1200, HOUR), (1201, 3603), (DAY, 3 * DAY)])
def test_it_expires_after_the_longer_of_an_hour_and_three_intervals(world: World, interval: int, expiry: int) -> None:
    run_health(world, settings(health_check_interval=interval))
    assert expiry - 10 < world.client.ttl("vmpooler__health") <= expiry


def test_status_history_and_state_are_written_in_one_script(world: World) -> None:
    """One atomic step: a reader never sees half of it."""
    world.client.config_resetstat()
    check_now(world)
    text = script_text("health/write")
    assert all(f"KEYS[{number}]" in text for number in (1, 2, 3, 4))
    stats = world.client.info("commandstats")
    assert "cmdstat_multi" not in stats
    assert stats["cmdstat_hset"]["calls"] == 3, "the status, the state and the facts, all from inside the script"


@pytest.mark.parametrize("fresh_server", [False, True])
def test_it_is_written_when_redis_is_out_of_memory(world: World, fresh_server: bool) -> None:
    world.vm(Queue.READY, "pooler-a", 60)
    if fresh_server:
        world.client.script_flush()
    world.client.config_set("maxmemory", "1")
    try:
        report = run_health(world)
    finally:
        world.client.config_set("maxmemory", "0")
    assert report.assessment.status is Status.HEALTHY
    assert recorded(world)["status"] == "healthy"


def test_a_redis_that_refuses_writes_is_unhealthy(world: World, caplog: pytest.LogCaptureFixture) -> None:
    check_now(world)
    world.client.config_set("replica-read-only", "yes")
    world.client.replicaof("127.0.0.1", "1")  # nobody listens there
    try:
        world.now += 60
        report = check_now(world)
    finally:
        world.client.replicaof("no", "one")
    assert report.assessment.status is Status.UNHEALTHY
    assert report.assessment.reasons[0].code == "not_recorded"
    assert any(line.startswith("[!] [health] Failed during health check: Redis refused") for line in caplog.messages)
    assert recorded(world)["last_check"] == "2024-01-15T10:30:00Z", "what was recorded before still stands"


def check_now(world: World) -> HealthReport:
    """Check without the heartbeats that `run_health` records."""
    report = check.run(world.db, settings(), world.clock)
    assert report is not None
    return report


def test_a_check_changes_nothing_but_its_own_keys(world: World) -> None:
    world.vm(Queue.PENDING, "pooler-a", 8000)
    world.vm(None, "pooler-o", 2 * DAY)
    fail(world)
    cycle(world, queues=("ready",))
    before = world.snapshot()
    check_now(world)
    own = {keys.HEALTH, keys.HEALTH_HISTORY, keys.HEALTH_STATE, keys.HEALTH_FACTS}
    assert {key: value for key, value in world.snapshot().items() if key not in own} == before


def test_the_effective_configuration_is_published_whole(world: World) -> None:
    world.client.hset("vmpooler__config", "gone", "x")
    publish_config(world.db, settings(dlq_ttl=5).published())
    found = {k.decode(): v.decode() for k, v in world.client.hgetall("vmpooler__config").items()}
    assert found["dlq_enabled"] == "true"
    assert found["purge_dry_run"] == "false"
    assert found["dlq_ttl"] == "5"
    assert "gone" not in found
