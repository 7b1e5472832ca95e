"""What was measured, what that means, and what to do about it."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from vmpooler_tasks.config import HealthThresholds
from vmpooler_tasks.model.health.reason_texts import explain
from vmpooler_tasks.model.health.status import (
    Assessment,
    Circumstances,
    CycleHistory,
    Metrics,
    PoolMetrics,
    QueueMetrics,
    Reason,
    Status,
    assess,
    is_stale,
    measure_queue,
    read_metrics,
    read_reason,
    read_reasons,
    stale_assessment,
    status_line,
    unreadable_assessment,
)
from vmpooler_tasks.model.names import DeadLetterQueue

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


def around(**changes: Any) -> Circumstances:
    whole: dict[str, Any] = {
        "now": NOW,
        "purge": OFF,
        "health": OFF,
        "dlq_max_entries": 10_000,
        "empty_pool_grace": 900,
        "empty_seconds": {},
    }
    return Circumstances(**{**whole, **changes})


def pools(**named: PoolMetrics) -> Mapping[str, PoolMetrics]:
    return named


def metrics(*, dlq: int = 0, pending: int = 0, ready: int = 0, stuck: int = 0) -> Metrics:
    pool = PoolMetrics(QueueMetrics(pending, stuck_count=stuck), QueueMetrics(ready))
    return Metrics(pools=pools(p=pool), dead_letters={DeadLetterQueue.CLONE: dlq})


def verdict_of(measured: Metrics, **changes: Any) -> Assessment:
    return assess(measured, LIMITS, around(**changes))


def found(verdict: Assessment) -> list[tuple[str, Status]]:
    return [(reason.code, reason.severity) for reason in verdict.reasons]


def test_a_quiet_new_system_is_healthy() -> None:
    nothing = Metrics(pools={}, dead_letters={})
    never_ran = CycleHistory(enabled=True, interval_seconds=HOUR, last_run=None, first_expected=NOW)
    assert verdict_of(nothing, purge=never_ran, health=never_ran) == Assessment(HEALTHY, ())


@pytest.mark.parametrize(
    ("code", "name", "warning", "critical"),
    [
        ("dlq_size", "dlq", 100, 1000),
        ("stuck_vms", "stuck", 10, 50),
        ("pending_queue", "pending", 100, 200),
        ("ready_queue", "ready", 500, 1000),
    ],
)
def test_a_threshold_itself_is_still_well_and_one_more_is_not(
    code: str, name: str, warning: int, critical: int
) -> None:
    for value, severity, threshold in (
        (warning, None, None),
        (warning + 1, DEGRADED, warning),
        (critical, DEGRADED, warning),
        (critical + 1, UNHEALTHY, critical),
    ):
        verdict = verdict_of(metrics(**{name: value}))
        assert found(verdict) == ([] if severity is None else [(code, severity)])
        assert verdict.status == (HEALTHY if severity is None else severity)
        if severity is not None:
            assert (verdict.reasons[0].measured, verdict.reasons[0].threshold) == (value, threshold)
            assert verdict.reasons[0].pool == ("p" if code.endswith("queue") else None)


def test_dead_letters_and_stuck_vms_count_together_and_queues_each_pool_alone() -> None:
    crowded = PoolMetrics(QueueMetrics(101, stuck_count=6), QueueMetrics(0))
    measured = Metrics(
        pools=pools(a=crowded, b=crowded),
        dead_letters={DeadLetterQueue.CLONE: 60, DeadLetterQueue.TASKS: 41},
    )
    reasons = verdict_of(measured).reasons
    assert [(reason.code, reason.pool, reason.measured) for reason in reasons] == [
        ("dlq_size", None, 101),
        ("pending_queue", "a", 101),
        ("pending_queue", "b", 101),
        ("stuck_vms", None, 12),
    ]


def test_the_worst_reason_decides_and_stands_first() -> None:
    verdict = verdict_of(metrics(dlq=101, ready=1001))
    assert verdict.status is UNHEALTHY
    assert found(verdict) == [("ready_queue", UNHEALTHY), ("dlq_size", DEGRADED)]


def test_a_pool_that_stays_empty_degrades_after_the_grace_and_not_before() -> None:
    assert verdict_of(metrics(), empty_seconds={"p": 899.9}).status is HEALTHY
    verdict = verdict_of(metrics(), empty_seconds={"p": 900, "q": 10})
    assert verdict.reasons == (Reason("empty_pool", DEGRADED, 900, 900, "p"),)


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
def test_a_cycle_is_overdue_from_its_due_time_or_from_when_it_was_first_expected(
    history: CycleHistory, overdue: float
) -> None:
    assert history.overdue_seconds(NOW) == overdue


@pytest.mark.parametrize("which", ["purge", "health"])
def test_a_cycle_two_intervals_overdue_degrades(which: str) -> None:
    code = f"{which}_overdue"
    assert found(verdict_of(metrics(), **{which: purge(last_run=NOW - 3 * HOUR)})) == []
    assert found(verdict_of(metrics(), **{which: purge(last_run=NOW - 3 * HOUR - 1)})) == [(code, DEGRADED)]
    never = {"last_run": None, "first_expected": NOW - 2 * HOUR - 1}
    assert found(verdict_of(metrics(), **{which: purge(**never)})) == [(code, DEGRADED)]
    assert found(verdict_of(metrics(), **{which: purge(**never, enabled=False)})) == []


def test_health_degrades_before_the_cap_is_reached() -> None:
    roomy = HealthThresholds(dlq_max_warning=99_999, dlq_max_critical=99_999)
    for size, expected in ((8999, []), (9000, [("dlq_near_cap", DEGRADED)]), (10_000, [("dlq_near_cap", DEGRADED)])):
        verdict = assess(metrics(dlq=size), roomy, around())
        assert found(verdict) == expected
        assert not expected or verdict.reasons[0].queue == "clone"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"unfinished_since": NOW - 60}, "purge_unfinished"),
        ({"failure": "Redis refused a command"}, "purge_failed"),
        ({"spared": [("p", "ready", 80.5)]}, "purge_aborted"),
    ],
)
def test_a_purge_in_trouble_degrades(changes: dict[str, Any], code: str) -> None:
    assert found(verdict_of(metrics(), purge=purge(**changes))) == [(code, DEGRADED)]


def test_keys_that_do_not_hold_what_they_should_degrade() -> None:
    assert found(verdict_of(metrics(), unreadable_keys=2)) == [("unreadable_keys", DEGRADED)]


def test_a_verdict_is_stale_when_missing_or_older_than_three_intervals() -> None:
    assert is_stale(None, NOW, 300)
    assert not is_stale(NOW - 900, NOW, 300)
    assert is_stale(NOW - 901, NOW, 300)
    assert stale_assessment(None, NOW, 300) == Assessment(UNHEALTHY, (Reason("stale", UNHEALTHY, 0, 900),))
    assert stale_assessment(NOW - 901.4, NOW, 300).reasons[0].measured == 901


def test_a_verdict_of_the_future_is_stale_since_it_would_never_grow_old() -> None:
    assert not is_stale(NOW + 300, NOW, 300)
    assert is_stale(NOW + 301, NOW, 300)
    (reason,) = stale_assessment(NOW + 301, NOW, 300).reasons
    assert (reason.code, reason.measured) == ("stale", -301)
    what, remedy = explain(reason)
    assert what == "the last check is dated 301 seconds in the future"
    assert "clocks" in remedy


def every_reason() -> list[Reason]:
    """At least one of each code that can come out of `assess`, a refused write, and a verdict that is read."""
    crowded = PoolMetrics(QueueMetrics(101, stuck_count=11), QueueMetrics(501))
    in_trouble = purge(last_run=None, unfinished_since=NOW - 60, failure="x", spared=[("a pool {x}", "ready", 80.5)])
    verdict = assess(
        Metrics(pools=pools(p=crowded), dead_letters={DeadLetterQueue.TASKS: 9500}),
        LIMITS,
        around(purge=in_trouble, health=purge(last_run=None), empty_seconds={"p {0}": 901}, unreadable_keys=1),
    )
    refused = Reason("not_recorded", UNHEALTHY, 1, 0)
    return [*verdict.reasons, *stale_assessment(None, NOW, 300).reasons, *unreadable_assessment(2).reasons, refused]


def test_every_reason_there_can_be_is_explained_with_what_to_do() -> None:
    codes = {reason.code for reason in every_reason()}
    assert codes == {
        "dlq_size",
        "dlq_near_cap",
        "stuck_vms",
        "pending_queue",
        "ready_queue",
        "empty_pool",
        "purge_overdue",
        "purge_unfinished",
        "purge_failed",
        "purge_aborted",
        "health_overdue",
        "unreadable_keys",
        "not_recorded",
        "stale",
        "unreadable",
    }
    for reason in every_reason():
        what, remedy = explain(reason)
        assert what
        assert remedy
        assert "None" not in what + remedy, reason


@pytest.mark.parametrize(
    ("reason", "what"),
    [
        (Reason("dlq_size", DEGRADED, 101, 100), "101 dead letters, more than 100"),
        (Reason("empty_pool", DEGRADED, 901, 900, "p"), "p has had no ready VM for 901 seconds"),
        (
            Reason("purge_aborted", DEGRADED, 80.5, 50, "p", "ready"),
            "the purge stopped: it would have removed 80.5 % of ready in p, more than 50 %",
        ),
        (Reason("dlq_near_cap", DEGRADED, 9000, 9000, queue="clone"), "9000 dead letters in clone, near the cap"),
    ],
)
def test_an_explanation_names_what_was_measured(reason: Reason, what: str) -> None:
    assert explain(reason)[0].startswith(what)


def test_a_reason_is_read_back_as_it_was_written() -> None:
    for reason in every_reason():
        assert read_reason(reason.as_json()) == reason
        assert list(reason.as_json())[:5] == ["code", "severity", "measured", "threshold", "pool"]
        assert reason.as_json()["severity"] in {"degraded", "unhealthy"}


def test_a_reason_that_this_version_does_not_know_is_told_all_the_same() -> None:
    what, remedy = explain(Reason("gremlins", DEGRADED, 3, 1.5, "a {pool}"))
    assert what == "gremlins: 3, threshold 1.5"
    assert "vmpooler__health" in remedy


WHOLE: dict[str, Any] = {"code": "x", "severity": "degraded", "measured": 3, "threshold": 1, "pool": None}


@pytest.mark.parametrize(
    "changed",
    [
        {"code": None},
        {"code": 5},
        {"severity": "bad"},
        {"severity": 2},
        {"severity": None},
        {"measured": "many"},
        {"measured": None},
        {"measured": 1e999},
        {"threshold": []},
        {"threshold": "nan"},
        {"pool": 5},
        {"queue": []},
        {"measured": 10**400},
    ],
)
def test_what_is_no_reason_is_refused(changed: dict[str, Any]) -> None:
    assert read_reason(WHOLE).code == "x"
    with pytest.raises(ValueError):
        read_reason({**WHOLE, **changed})


@pytest.mark.parametrize("name", ["code", "severity", "measured", "threshold"])
def test_a_reason_that_lacks_something_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="this is no reason"):
        read_reason({key: value for key, value in WHOLE.items() if key != name})


@pytest.mark.parametrize(
    "text", ["", "nojson", "{}", "5", "null", '"x"', "[5]", '["x"]', "[[]]", "[null]", "[NaN]", "[" * 100_000]
)
def test_what_is_no_list_of_reasons_is_refused(text: str) -> None:
    assert read_reasons(json.dumps([WHOLE])) == (Reason("x", DEGRADED, 3, 1),)
    with pytest.raises(ValueError):
        read_reasons(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nojson",
        "[]",
        "5",
        "null",
        '{"queues":[]}',
        '{"queues":{"p":5}}',
        '{"errors":5}',
        '{"errors":null}',
        '{"errors":{"stuck_vm_count":"3"}}',
        '{"errors":{"stuck_vm_count":NaN}}',
        '{"tasks":[]}',
        "[" * 100_000,
    ],
)
def test_metrics_that_are_nested_otherwise_are_refused(text: str) -> None:
    with pytest.raises(ValueError):
        read_metrics(text)


@pytest.mark.parametrize("text", ["{}", '{"queues":{"p":{"completed":{"size":1}}}}', '{"queues":{"dlq":{}}}'])
def test_metrics_of_which_parts_are_missing_are_read(text: str) -> None:
    assert read_metrics(text) == json.loads(text)


def test_metrics_are_nested_as_vmpooler_nests_them() -> None:
    pool = PoolMetrics(QueueMetrics(3, 100, 50, 1), QueueMetrics(2, 30, 20), 4)
    measured = Metrics(
        pools={"centos": pool, "dlq": pool},
        dead_letters={DeadLetterQueue.CLONE: 2, DeadLetterQueue.PENDING: 0},
        orphaned_metadata=5,
        active_clones=6,
        active_ondemand_clones=7,
        pending_ondemand_clones=8,
    )
    nested_pool = {
        "pending": {"size": 3, "oldest_age": 100, "avg_age": 50, "stuck_count": 1},
        "ready": {"size": 2, "oldest_age": 30, "avg_age": 20},
        "completed": {"size": 4},
    }
    assert measured.nested() == {
        "queues": {"centos": nested_pool, "dlq": {**nested_pool, "clone": {"size": 2}}},
        "tasks": {"clone": {"active": 6}, "ondemand": {"active": 7, "pending": 8}},
        "errors": {"dlq_total_size": 2, "stuck_vm_count": 2, "orphaned_metadata_count": 5},
    }


def test_a_queue_is_summed_up_over_the_ages_that_are_known() -> None:
    assert measure_queue(4, [7201, 7200, 0], stuck_after=7200) == QueueMetrics(4, 7201, 4800, 1)
    assert measure_queue(2, [10.0]) == QueueMetrics(2, 10, 10, 0)
    assert measure_queue(3, []) == QueueMetrics(3, 0, 0, 0)


def test_the_log_line_is_the_guides() -> None:
    first = PoolMetrics(QueueMetrics(40, stuck_count=3), QueueMetrics(200), 10)
    second = PoolMetrics(QueueMetrics(5), QueueMetrics(30), 2)
    measured = Metrics(pools=pools(a=first, b=second), dead_letters={DeadLetterQueue.CLONE: 25}, orphaned_metadata=5)
    assert status_line(HEALTHY, measured) == (
        "[*] [health] Status: HEALTHY | Queues: P=45 R=230 C=12 | DLQ=25 | Stuck=3 | Orphaned=5"
    )


def test_a_statuss_number_is_the_guides_metric() -> None:
    assert [(int(status), str(status)) for status in Status] == [(0, "healthy"), (1, "degraded"), (2, "unhealthy")]
