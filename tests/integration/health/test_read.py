"""How what a health check left in Redis is read back."""

import json

import pytest
from pydantic import SecretStr

from tests.support.fleet import beat, let_pass, record_processes, worker
from tests.support.health_checks import recorded
from tests.support.promises import fail, run_health
from tests.support.world import World, settings
from vmpooler_tasks.jobs.health import check, read
from vmpooler_tasks.jobs.health.report import HealthReport
from vmpooler_tasks.model.fleet import ALIVE_SECONDS
from vmpooler_tasks.model.health.assessment import Assessment
from vmpooler_tasks.model.health.status import Status
from vmpooler_tasks.model.names import MAINTENANCE_QUEUE, DeadLetterQueue, Queue
from vmpooler_tasks.store import Database, keys

pytestmark = pytest.mark.both_servers


def test_the_recorded_status_is_read_back(world: World) -> None:
    world.vm(Queue.PENDING, "pooler-a", 60)
    for index in range(101):
        fail(world, f"pooler-{index}", DeadLetterQueue.CLONE)
    made = run_health(world)
    world.now += 900
    found = read.read_report(world.db, settings(), world.clock)
    assert found.assessment == made.assessment
    assert found.metrics == made.metrics
    assert found.last_check == made.last_check


def test_dead_letters_are_counted_when_the_status_is_read(world: World) -> None:
    """The recorded number would be as old as the check, and another number than that of the queue itself."""
    chosen = settings(dlq_max_entries=200)
    run_health(world, chosen)
    for index in range(190):
        fail(world, f"pooler-{index}", DeadLetterQueue.CLONE)
    found = read.read_report(world.db, chosen, world.clock)
    assert [(one.code, one.measured, one.queue) for one in found.assessment.reasons if one.code.startswith("dlq")] == [
        ("dlq_near_cap", 190, "clone"),
        ("dlq_size", 190, None),
    ]
    assert found.as_json()["dlq_total_size"] == 190
    assert found.metrics["queues"]["dlq"] == {"clone": {"size": 190}}
    run_health(world, chosen)
    world.client.delete("vmpooler__dlq__clone")
    found = read.read_report(world.db, chosen, world.clock)
    assert not [one for one in found.assessment.reasons if one.code.startswith("dlq")]
    assert (found.as_json()["dlq_total_size"], found.metrics["queues"].get("dlq")) == (0, None)
    assert recorded(world)["dlq_total_size"] == "190", "as the check counted them"


def test_a_missing_or_old_check_is_unhealthy_whatever_its_status(world: World) -> None:
    report = read.read_report(world.db, settings(), world.clock)
    assert (report.assessment.status, report.assessment.reasons[0].code, report.last_check) == (
        Status.UNHEALTHY,
        "stale",
        None,
    )
    run_health(world)
    world.now += 901
    report = read.read_report(world.db, settings(), world.clock)
    assert recorded(world)["status"] == "healthy"
    assert report.assessment.status is Status.UNHEALTHY
    assert [(reason.code, reason.measured, reason.threshold) for reason in report.assessment.reasons] == [
        ("stale", 901, 900)
    ]
    assert report.last_check == "2024-01-15T10:30:00Z"


@pytest.mark.parametrize(
    "fields",
    [
        {"status": "healthy"},
        {"status": "healthy", "last_check": "soon"},
        {"status": "healthy", "last_check": ""},
        {"last_check": "2024-01-15T10:30:00Z"},
        {"status": "excellent", "last_check": "2024-01-15T10:30:00Z"},
    ],
)
def test_an_incomplete_status_is_unreadable(world: World, fields: dict[str, str]) -> None:
    world.client.hset("vmpooler__health", mapping=fields)
    assert read.read_report(world.db, settings(), world.clock).assessment.status is Status.UNHEALTHY


CHECKED = {
    "status": "healthy",
    "last_check": "2024-01-15T10:30:00Z",
    "last_scheduled_check": "2024-01-15T10:30:00Z",
}

TIMES = ("last_check", "last_scheduled_check")

NO_REASON = '[{"code":"x","severity":"bad"}]'

ALL_WRONG = {"status": "fine", "metrics": "nojson", "reasons": NO_REASON}


@pytest.mark.parametrize(
    ("fields", "unreadable"),
    [
        ({"metrics": "nojson"}, 1),
        ({"metrics": "[]"}, 1),
        ({"metrics": '{"queues":{"p":5}}'}, 1),
        ({"reasons": "nojson"}, 1),
        ({"reasons": NO_REASON}, 1),
        ({"status": "fine"}, 1),
        (ALL_WRONG, 3),
    ],
)
def test_an_unreadable_status_is_unhealthy(world: World, fields: dict[str, str], unreadable: int) -> None:
    world.client.hset("vmpooler__health", mapping={**CHECKED, **fields})
    report = read.read_report(world.db, settings(), world.clock)
    assert report.assessment.status is Status.UNHEALTHY
    assert [(reason.code, reason.measured) for reason in report.assessment.reasons] == [("unreadable", unreadable)]
    shown = json.loads(json.dumps(report.as_json()))
    assert (shown["status"], shown["dlq_total_size"]) == ("unhealthy", 0)


def test_a_key_of_another_type_is_unhealthy(world: World) -> None:
    world.client.set("vmpooler__health", "no hash")
    report = read.read_report(world.db, settings(), world.clock)
    assert report.assessment.status is Status.UNHEALTHY
    assert [reason.code for reason in report.assessment.reasons] == ["unreadable"]
    assert report.last_check is None


def test_reasons_of_another_version_are_read(world: World) -> None:
    reason = {"code": "gremlins", "severity": "degraded", "measured": 3, "threshold": 1, "pool": None}
    world.client.hset("vmpooler__health", mapping={**CHECKED, "status": "degraded", "reasons": json.dumps([reason])})
    report = read.read_report(world.db, settings(), world.clock)
    assert report.assessment.status is Status.DEGRADED
    assert report.as_json()["reasons"] == [reason]


def test_a_check_from_the_future_is_stale(world: World) -> None:
    world.client.hset("vmpooler__health", mapping={**CHECKED, **dict.fromkeys(TIMES, "2999-01-01T00:00:00Z")})
    report = read.read_report(world.db, settings(), world.clock)
    assert [reason.code for reason in report.assessment.reasons] == ["stale"]
    assert report.assessment.status is Status.UNHEALTHY
    assert report.assessment.reasons[0].measured < 0


def test_the_status_that_vmpooler_wrote_is_read_and_stale(world: World) -> None:
    ruby = {"status": "degraded", "last_check": "2024-01-15 10:29:00 +0000", "metrics": '{"queues":{},"errors":{}}'}
    world.client.hset("vmpooler__health", mapping=ruby)
    report = read.read_report(world.db, settings(), world.clock)
    assert [(reason.code, reason.measured) for reason in report.assessment.reasons] == [("stale", 0)]
    assert report.as_json()["dlq_total_size"] == 0
    off = read.read_report(world.db, settings(health_check_enabled=False), world.clock)
    assert off.assessment == Assessment(Status.DEGRADED, ())


def by_hand(world: World) -> HealthReport:
    report = check.run(world.db, settings(), world.clock, forced=True, is_scheduled=False)
    assert report is not None
    return report


def test_a_check_by_hand_neither_renews_the_status_nor_prolongs_it(world: World) -> None:
    assert [reason.code for reason in by_hand(world).assessment.reasons] == ["stale"]
    run_health(world)
    assert by_hand(world).assessment.status is Status.HEALTHY
    world.client.expire("vmpooler__health", 100)
    world.now += 901
    for _ in range(2):
        report = by_hand(world)
        assert (report.last_check, report.last_scheduled_check) == ("2024-01-15T10:45:01Z", "2024-01-15T10:30:00Z")
        assert report.assessment.reasons[0].code == "stale"
        assert (recorded(world)["status"], world.client.ttl("vmpooler__health") <= 100) == ("unhealthy", True)
        assert read.read_report(world.db, settings(), world.clock).assessment == report.assessment
    run_health(world)
    assert read.read_report(world.db, settings(), world.clock).assessment.status is Status.DEGRADED  # health_overdue
    assert world.client.ttl("vmpooler__health") > 3000


def test_readers_see_missing_processes_before_the_next_check(world: World) -> None:
    run_health(world)
    let_pass(world.db, worker(), ALIVE_SECONDS + 1)
    found = read.read_report(world.db, settings(), world.clock).assessment
    assert (found.status, [reason.code for reason in found.reasons]) == (Status.UNHEALTHY, ["no_worker"])
    let_pass(world.db, beat(), ALIVE_SECONDS + 1)
    assert {reason.code for reason in by_hand(world).assessment.reasons} == {"no_worker", "no_beat"}
    record_processes(world.db)
    assert recorded(world)["status"] == "unhealthy"
    assert read.read_report(world.db, settings(), world.clock).assessment == Assessment(Status.HEALTHY, ())


def test_a_database_without_any_pool_is_unhealthy(world: World) -> None:
    report = check.run(world.db, settings(pools=()), world.clock)
    assert report is not None
    assert [reason.code for reason in report.assessment.reasons] == ["nothing_checked"]
    world.client.sadd(keys.POOLS, "registered")
    assert read.read_report(world.db, settings(pools=()), world.clock).assessment.status is Status.HEALTHY


def test_messages_of_another_broker_are_read_there(world: World) -> None:
    apart = settings().model_copy(update={"broker_url": SecretStr("redis://127.0.0.1:1/0")})
    only = worker(queues=[MAINTENANCE_QUEUE])
    run_health(world)
    record_processes(world.db, only)
    world.client.lpush("vmpooler.clone", "message")

    def codes(broker: Database | None) -> list[tuple[str, str | None]]:
        found = read.read_report(world.db, apart, world.clock, broker).assessment
        return [(reason.code, reason.queue) for reason in found.reasons]

    assert codes(world.db) == [("no_worker", "vmpooler.clone")]
    assert codes(None) == []
    assert codes(Database("redis://127.0.0.1:1/0")) == [], "a broker that does not reply"
