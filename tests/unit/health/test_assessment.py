"""What was measured, what that means, and what to do about it."""

from collections.abc import Mapping
from typing import Any

import pytest

from tests.support.fleet import worker
from vmpooler_tasks.config import HealthThresholds
from vmpooler_tasks.model.fleet import Fleet, SeenProcess
from vmpooler_tasks.model.guards.brake import Brake
from vmpooler_tasks.model.guards.removed import RemovedPoolState
from vmpooler_tasks.model.health.assessment import (
    Assessment,
    Circumstances,
    CycleHistory,
    DoubleQueued,
    PoolInUse,
    assess,
    is_stale,
    stale_reason,
    unreadable_assessment,
)
from vmpooler_tasks.model.health.explanation import HealthReason, explain
from vmpooler_tasks.model.health.fleet_reasons import FleetFacts, fleet_reasons
from vmpooler_tasks.model.health.metrics import HealthMetrics, PoolMetrics, QueueMetrics
from vmpooler_tasks.model.health.parsing import parse_reason
from vmpooler_tasks.model.health.reasons import REASONS, ReasonCode
from vmpooler_tasks.model.health.status import Status
from vmpooler_tasks.model.names import WORK_QUEUES, DeadLetterQueue, Queue
from vmpooler_tasks.model.pools.suspension import LastError, Suspension
from vmpooler_tasks.model.purge import SkippedQueue

NOW = 1_705_314_600.0
HOUR = 3600
HEALTHY, DEGRADED, UNHEALTHY = Status.HEALTHY, Status.DEGRADED, Status.UNHEALTHY
LIMITS = HealthThresholds()

OFF = CycleHistory(enabled=False, interval_seconds=HOUR, last_run=None, first_expected=0)


def purge(**changes: Any) -> CycleHistory:
    whole: dict[str, Any] = {
        "enabled": True,
        "interval_seconds": HOUR,
        "last_run": NOW,
        "first_expected": NOW - 9 * HOUR,
    }
    return CycleHistory(**{**whole, **changes})


def facts(**changes: Any) -> Circumstances:
    whole: dict[str, Any] = {
        "now": NOW,
        "purge": OFF,
        "health": OFF,
        "dlq_max_entries": 10_000,
        "empty_pool_grace": 900,
    }
    return Circumstances(**{**whole, **changes})


def pools(**named: PoolMetrics) -> Mapping[str, PoolMetrics]:
    return named


def metrics(*, dlq: int = 0, pending: int = 0, ready: int = 0, stuck: int = 0) -> HealthMetrics:
    pool = PoolMetrics(QueueMetrics(pending, stuck_count=stuck), QueueMetrics(ready))
    return HealthMetrics(pools=pools(p=pool), dead_letters={DeadLetterQueue.CLONE: dlq})


def assessment_of(measured: HealthMetrics, **changes: Any) -> Assessment:
    return assess(measured, LIMITS, facts(**changes))


def found(assessment: Assessment) -> list[tuple[str, Status]]:
    return [(reason.code, reason.severity) for reason in assessment.reasons]


def test_a_quiet_new_system_is_healthy() -> None:
    nothing = HealthMetrics(pools={}, dead_letters={})
    never_ran = CycleHistory(enabled=True, interval_seconds=HOUR, last_run=None, first_expected=NOW)
    assert assessment_of(nothing, purge=never_ran, health=never_ran) == Assessment(HEALTHY, ())


@pytest.mark.parametrize(
    ("code", "name", "warning", "critical"),
    [
        ("dlq_size", "dlq", 100, 1000),
        ("stuck_vms", "stuck", 10, 50),
        ("pending_queue", "pending", 100, 200),
        ("ready_queue", "ready", 500, 1000),
    ],
)
def test_a_value_equal_to_the_threshold_is_healthy_and_one_more_is_not(
    code: str, name: str, warning: int, critical: int
) -> None:
    for value, severity, threshold in (
        (warning, None, None),
        (warning + 1, DEGRADED, warning),
        (critical, DEGRADED, warning),
        (critical + 1, UNHEALTHY, critical),
    ):
        assessment = assessment_of(metrics(**{name: value}))
        assert found(assessment) == ([] if severity is None else [(code, severity)])
        assert assessment.status == (HEALTHY if severity is None else severity)
        if severity is not None:
            assert (assessment.reasons[0].measured, assessment.reasons[0].threshold) == (value, threshold)
            assert assessment.reasons[0].pool == ("p" if code.endswith("queue") else None)


def test_dead_letters_and_stuck_vms_count_together_queues_by_pool() -> None:
    crowded = PoolMetrics(QueueMetrics(101, stuck_count=6), QueueMetrics(0))
    measured = HealthMetrics(
        pools=pools(a=crowded, b=crowded),
        dead_letters={DeadLetterQueue.CLONE: 60, DeadLetterQueue.TASKS: 41},
    )
    reasons = assessment_of(measured).reasons
    assert [(reason.code, reason.pool, reason.measured) for reason in reasons] == [
        ("dlq_size", None, 101),
        ("pending_queue", "a", 101),
        ("pending_queue", "b", 101),
        ("stuck_vms", None, 12),
    ]


def test_the_worst_reason_decides_and_stands_first() -> None:
    assessment = assessment_of(metrics(dlq=101, ready=1001))
    assert assessment.status is UNHEALTHY
    assert found(assessment) == [("ready_queue", UNHEALTHY), ("dlq_size", DEGRADED)]


FULL = PoolInUse()


def test_an_empty_pool_degrades_after_the_grace() -> None:
    assert assessment_of(metrics(), pools_in_use={"p": PoolInUse(899.9), "q": FULL}).status is HEALTHY
    assessment = assessment_of(metrics(), pools_in_use={"p": PoolInUse(900), "q": PoolInUse(10), "r": FULL})
    assert assessment.reasons == (HealthReason("empty_pool", DEGRADED, 900, 900, "p"),)


def test_an_empty_pool_that_is_suspended_degrades_at_once() -> None:
    suspended = {"p": PoolInUse(2, is_suspended=True), "q": FULL, "r": PoolInUse(None, is_suspended=True)}
    assessment = assessment_of(metrics(), pools_in_use=suspended)
    assert assessment.reasons == (HealthReason("empty_pool", DEGRADED, 2, 900, "p"),)


def test_without_a_ready_vm_in_any_pool_it_is_unhealthy_after_a_minute() -> None:
    assert assessment_of(metrics(), pools_in_use={"p": PoolInUse(500), "q": PoolInUse(59.9)}).status is HEALTHY
    assessment = assessment_of(metrics(), pools_in_use={"p": PoolInUse(500), "q": PoolInUse(60)})
    assert assessment.reasons == (HealthReason("all_pools_empty", UNHEALTHY, 60, 60),)
    assert explain(assessment.reasons[0])[0] == "no pool has had a ready VM for 60 seconds: users get no VM"


def test_without_a_ready_vm_in_any_pool_and_all_of_them_suspended_it_is_unhealthy_at_once() -> None:
    one, other = PoolInUse(1, is_suspended=True), PoolInUse(1)
    assert found(assessment_of(metrics(), pools_in_use={"p": one, "q": one}))[0] == ("all_pools_empty", UNHEALTHY)
    assert assessment_of(metrics(), pools_in_use={"p": one, "q": other}).status is DEGRADED
    assert assessment_of(metrics(), pools_in_use={}).status is HEALTHY, "no pool shall have a ready VM"


def test_a_suspended_provider_is_unhealthy_and_names_its_last_error_and_the_next_attempt() -> None:
    error = LastError("no route to host", NOW - 12)
    for since, text in (
        (error, "Last error 12 s ago: no route to host. Next attempt in 39 s"),
        (None, "The last error is not known. Next attempt in 39 s"),
    ):
        [reason] = assessment_of(
            metrics(), suspended_providers=[Suspension("vsphere", 8, NOW + 39, since)], breaker_failures=5
        ).reasons
        assert (reason.code, reason.severity, reason.provider) == ("breaker_open", UNHEALTHY, "vsphere")
        assert explain(reason, NOW)[0] == f"provider vsphere is suspended after 8 failures in a row. {text}"
    assert reason.as_json()["next_attempt_at"] == "2024-01-15T10:30:39Z"


def test_a_suspended_pool_degrades_and_names_its_last_error() -> None:
    broken = Suspension("p", 3, NOW - 1, LastError("template x does not exist.", NOW - 7200))
    [reason] = assessment_of(metrics(), suspended_pools=[broken], breaker_failures=3).reasons
    assert (reason.code, reason.severity, reason.pool) == ("pool_broken", DEGRADED, "p")
    text = "p is suspended: 3 clones or checks in a row failed. Last error"
    assert explain(reason, NOW)[0] == f"{text} 2 h ago: template x does not exist. Next attempt now"
    assert explain(reason)[0] == (
        f"{text} at 2024-01-15T08:30:00Z: template x does not exist. Next attempt at 2024-01-15T10:29:59Z"
    )


def test_an_engaged_brake_degrades_and_names_its_pool_and_counts() -> None:
    held = Brake(pool="p", since=NOW, strays=34, missing=2, known=40, limit=10)
    [reason] = assessment_of(metrics(), brakes=[held]).reasons
    assert (reason.code, reason.severity, reason.pool) == ("brake", DEGRADED, "p")
    assert (reason.measured, reason.threshold) == (36, 10)
    what, remedy = explain(reason)
    assert what == (
        "the brake of p is engaged: 36 VMs are unknown or missing, more than 10. "
        "VMs: 34 in no queue, 2 missing from the inventory, 40 known"
    )
    assert "`vmpooler-tasks pools confirm p`" in remedy


def test_a_brake_of_a_pool_that_redis_does_not_know_allows_none() -> None:
    held = Brake(pool="p", since=NOW, strays=1, known=40, limit=10, is_new=True)
    [reason] = assessment_of(metrics(), brakes=[held]).reasons
    assert (reason.measured, reason.threshold) == (1, 0)
    assert "No record says that the pool was managed before" in explain(reason)[0]


@pytest.mark.parametrize(
    ("history", "overdue"),
    [
        (purge(last_run=NOW), -HOUR),
        (purge(last_run=NOW - HOUR), 0),
        (purge(last_run=NOW - 3 * HOUR), 2 * HOUR),
        (purge(last_run=None, first_expected=NOW - 5), 5),
        (purge(last_run=NOW - 100 * HOUR, first_expected=NOW - 10), 10),
    ],
)
def test_a_cycle_is_overdue_from_its_due_time_or_its_first_expected_run(history: CycleHistory, overdue: float) -> None:
    assert history.overdue_seconds(NOW) == overdue


@pytest.mark.parametrize("which", ["purge", "health"])
def test_a_cycle_two_intervals_overdue_degrades(which: str) -> None:
    code = f"{which}_overdue"
    assert found(assessment_of(metrics(), **{which: purge(last_run=NOW - 3 * HOUR)})) == []
    assert found(assessment_of(metrics(), **{which: purge(last_run=NOW - 3 * HOUR - 1)})) == [(code, DEGRADED)]
    never = {"last_run": None, "first_expected": NOW - 2 * HOUR - 1}
    assert found(assessment_of(metrics(), **{which: purge(**never)})) == [(code, DEGRADED)]
    assert found(assessment_of(metrics(), **{which: purge(**never, enabled=False)})) == []


def test_health_degrades_before_the_cap_is_reached() -> None:
    roomy = HealthThresholds(dlq_max_warning=99_999, dlq_max_critical=99_999)
    for size, expected in ((8999, []), (9000, [("dlq_near_cap", DEGRADED)]), (10_000, [("dlq_near_cap", DEGRADED)])):
        assessment = assess(metrics(dlq=size), roomy, facts())
        assert found(assessment) == expected
        assert not expected or assessment.reasons[0].queue == "clone"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"unfinished_since": NOW - 60}, "purge_unfinished"),
        ({"failure": "Redis refused a command"}, "purge_failed"),
        ({"skipped_queues": [SkippedQueue("p", "ready", 80.5)]}, "purge_aborted"),
    ],
)
def test_a_purge_in_trouble_degrades(changes: dict[str, Any], code: str) -> None:
    assert found(assessment_of(metrics(), purge=purge(**changes))) == [(code, DEGRADED)]


def test_unreadable_keys_degrade() -> None:
    assert found(assessment_of(metrics(), unreadable_keys=["a", "b"])) == [("unreadable_keys", DEGRADED)]


def test_a_status_is_stale_when_missing_or_older_than_three_intervals() -> None:
    assert is_stale(None, NOW, 300)
    assert not is_stale(NOW - 900, NOW, 300)
    assert is_stale(NOW - 901, NOW, 300)
    assert stale_reason(None, NOW, 300) == HealthReason("stale", UNHEALTHY, 0, 900)
    assert stale_reason(NOW - 901.4, NOW, 300).measured == 901


def test_a_status_from_the_future_is_stale() -> None:
    assert not is_stale(NOW + 300, NOW, 300)
    assert is_stale(NOW + 301, NOW, 300)
    reason = stale_reason(NOW + 301, NOW, 300)
    assert (reason.code, reason.measured) == ("stale", -301)
    what, remedy = explain(reason)
    assert what == "the last check is dated 301 seconds in the future"
    assert "clocks" in remedy


def every_reason() -> list[HealthReason]:
    """At least one of each code that can come out of `assess`, a refused write, and a status that is read."""
    crowded = PoolMetrics(QueueMetrics(101, stuck_count=11), QueueMetrics(501))
    in_trouble = purge(
        last_run=None,
        unfinished_since=NOW - 60,
        failure="x",
        skipped_queues=[SkippedQueue("a pool {x}", "ready", 80.5)],
    )
    assessment = assess(
        HealthMetrics(pools=pools(p=crowded), dead_letters={DeadLetterQueue.TASKS: 9500}),
        LIMITS,
        facts(
            purge=in_trouble,
            health=purge(last_run=None),
            pools_in_use={"p {0}": PoolInUse(901)},
            unreadable_keys=["k"],
            double_queued=[
                DoubleQueued(pool="p {0}", queues=["vmpooler__ready__p", "vmpooler__running__p"], vms=["v"])
            ],
            wrong_keys={"k": "a list, not a hash"},
            set_aside_keys={"k": "a list, not a hash"},
            removed_pools=[RemovedPoolState(name="old", vms={Queue.RUNNING: 2}, removed=None, provider="")],
        ),
    )
    refused = HealthReason("not_recorded", UNHEALTHY, 1, 0)
    reasons = [*assessment.reasons, stale_reason(None, NOW, 300), *unreadable_assessment(2).reasons, refused]
    return [*reasons, *fleet_reasons(in_disorder())]


def in_disorder() -> FleetFacts:
    """An installation of which every reason about processes is true."""
    odd = worker("w@odd", ["vmpooler.check"], configuration="d", clock_offsets=(3600.0, 3599.0))
    behind = worker("w@behind", ["vmpooler.check"], clock_offsets=(-5.0, -5.0))
    changed = worker("w@changed", ["vmpooler.check"], changes=("pool_shrink n=1",))
    processes = [SeenProcess(one, 1.0) for one in (odd, behind, changed)]
    return FleetFacts(
        fleet=Fleet(processes), needed_queues=WORK_QUEUES, waiting={}, is_scheduled=True, knows_pools=False
    )


STALLED = {
    ReasonCode.INSPECTION_STALLED,
    ReasonCode.CLONES_STALLED,
    ReasonCode.REQUESTS_STALLED,
    ReasonCode.ORDERS_WAITING,
}
"""tests/integration/health/test_work.py has these."""


def test_every_reason_is_explained_with_what_to_do() -> None:
    pools = {ReasonCode.BREAKER_OPEN, ReasonCode.POOL_BROKEN, ReasonCode.RECYCLED_REPEATEDLY, ReasonCode.BRAKE}
    pools |= {ReasonCode.FOREIGN_VM, ReasonCode.DNS_FAILING}
    pool_management = {*pools, ReasonCode.OTHER_MANAGER, *STALLED}
    assert {reason.code for reason in every_reason()} == set(ReasonCode) - pool_management - {ReasonCode.NO_REDIS}
    assert set(REASONS) == set(ReasonCode)
    for reason in every_reason():
        what, remedy = explain(reason)
        assert what
        assert remedy
        assert "None" not in what + remedy, reason


@pytest.mark.parametrize(
    ("reason", "what"),
    [
        (HealthReason("dlq_size", DEGRADED, 101, 100), "101 dead letters, more than 100"),
        (HealthReason("empty_pool", DEGRADED, 901, 900, "p"), "p has had no ready VM for 901 seconds"),
        (
            HealthReason("purge_aborted", DEGRADED, 80.5, 50, "p", "ready"),
            "the purge stopped: it would have removed 80.5 % of ready in p, more than 50 %",
        ),
        (HealthReason("dlq_near_cap", DEGRADED, 9000, 9000, queue="clone"), "9000 dead letters in clone, near the cap"),
    ],
)
def test_an_explanation_names_what_was_measured(reason: HealthReason, what: str) -> None:
    assert explain(reason)[0].startswith(what)


def test_a_reason_is_read_back_as_it_was_written() -> None:
    for reason in every_reason():
        assert parse_reason(reason.as_json()) == reason
        assert list(reason.as_json())[:5] == ["code", "severity", "measured", "threshold", "pool"]
        assert reason.as_json()["severity"] in {"degraded", "unhealthy"}


def test_a_reason_of_another_version_is_explained() -> None:
    what, remedy = explain(HealthReason("gremlins", DEGRADED, 3, 1.5, "a {pool}"))
    assert what == "gremlins: 3, threshold 1.5"
    assert "vmpooler__health" in remedy
