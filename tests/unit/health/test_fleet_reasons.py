"""What health says of missing processes, wrong clocks, different configurations and changed workers."""

from collections.abc import Iterable, Mapping

import pytest

from tests.support.fleet import beat, worker
from vmpooler_tasks.model.fleet import Fleet, Heartbeat, SeenProcess
from vmpooler_tasks.model.health.assessment import Assessment
from vmpooler_tasks.model.health.explanation import HealthReason, default_reason, explain
from vmpooler_tasks.model.health.fleet_reasons import FleetFacts, fleet_reasons
from vmpooler_tasks.model.health.overlay import overlaid
from vmpooler_tasks.model.health.reasons import ReasonCode
from vmpooler_tasks.model.health.status import Status
from vmpooler_tasks.model.names import MAINTENANCE_QUEUE, WORK_QUEUES

CLONE = "vmpooler.clone"


def found(
    *processes: Heartbeat, age: float = 1.0, lists: Mapping[str, Iterable[str]] | None = None, **changes: object
) -> list[HealthReason]:
    """`lists`: the pools of each configuration."""
    facts = {"needed_queues": WORK_QUEUES, "waiting": {}, "is_scheduled": True, "knows_pools": True, **changes}
    seen = [SeenProcess(process, age) for process in processes]
    fleet = Fleet(seen, pool_lists={name: frozenset(pools) for name, pools in (lists or {}).items()})
    return list(fleet_reasons(FleetFacts(fleet=fleet, **facts)))  # type: ignore[arg-type]


def test_a_whole_installation_has_no_reason() -> None:
    assert found(worker(), beat()) == []


def test_a_queue_without_a_worker_is_named_with_the_command_that_starts_one() -> None:
    others = worker("w@one", [queue for queue in WORK_QUEUES if queue != CLONE])
    (reason,) = found(others, beat(), waiting={CLONE: 78})
    assert (reason.code, reason.severity, reason.queue, reason.measured) == (
        "no_worker",
        Status.UNHEALTHY,
        CLONE,
        78,
    )
    what, remedy = explain(reason)
    assert what == "no live worker takes vmpooler.clone (waiting messages: 78)"
    assert remedy == "start a worker: `celery -A vmpooler_tasks worker -Q vmpooler.clone`"


def test_a_queue_that_is_not_needed_counts_once_messages_wait() -> None:
    one = worker("w@one", [MAINTENANCE_QUEUE])
    assert found(one, beat(), needed_queues=[MAINTENANCE_QUEUE]) == []
    (reason,) = found(one, beat(), needed_queues=[MAINTENANCE_QUEUE], waiting={CLONE: 1, MAINTENANCE_QUEUE: 5})
    assert reason.queue == CLONE


def test_the_process_that_is_missing_is_named() -> None:
    reasons = found(worker("w@gone"), beat("gone:7"), age=60)
    assert {explain(reason)[0].rpartition("The last one was ")[2] for reason in reasons} == {"w@gone", "gone:7"}
    assert {reason.code for reason in reasons} == {"no_worker", "no_beat"}


def test_nothing_scheduled_needs_no_beat() -> None:
    assert found(worker(), is_scheduled=False) == []


def test_without_any_pool_nothing_is_checked() -> None:
    (reason,) = found(worker(), beat(), knows_pools=False)
    assert (reason.code, reason.severity) == ("nothing_checked", Status.UNHEALTHY)


@pytest.mark.parametrize(
    ("offsets", "measured"),
    [((), None), ((3600.0,), None), ((1.0, 1.0), None), ((3600.0, 0.0), None), ((3600.0, 3599.0), 3600.0)],
)
def test_a_clock_is_wrong_after_two_heartbeats_in_a_row(offsets: tuple[float, ...], measured: float | None) -> None:
    reasons = found(worker("w@one", clock_offsets=offsets), worker("v@one", clock_offsets=offsets), beat())
    assert [reason.measured for reason in reasons] == ([] if measured is None else [measured])
    if reasons:
        what, remedy = explain(reasons[0])
        assert what == "the clock of one is 3600 seconds ahead of the clock of Redis"
        assert "NTP" in remedy


def test_a_process_with_another_configuration_is_named() -> None:
    old, new = worker("w@old", configuration="old"), [worker("w@one"), beat("one:1")]
    lists = {"old": ["a"], "c": ["a", "b"], "x": ["a", "b"]}
    (reason,) = found(old, *new, lists=lists)
    assert (reason.code, reason.host, reason.severity) == ("configurations_differ", "w@old", Status.DEGRADED)
    what, _ = explain(reason)
    assert what == "w@old runs with another configuration than most workers and beats: without the pools b"
    (reason,) = found(worker("w@odd", configuration="x"), *new, lists=lists)
    assert reason.error == "with other options, providers or settings of pools"


def test_a_worker_that_remote_control_changed_is_named() -> None:
    (reason,) = found(worker("w@one", changes=("cancel_consumer queue=a", "rate_limit task_name=t")), worker(), beat())
    assert (reason.code, reason.severity, reason.measured) == ("worker_changed", Status.DEGRADED, 2)
    what, _ = explain(reason)
    assert what == ("remote control has changed w@one since its start: cancel_consumer queue=a, rate_limit task_name=t")


def test_the_difference_is_exact_for_thousands_of_pools() -> None:
    many = [f"pool-{number}" for number in range(5_000)]
    processes = (worker("w@odd", configuration="x"), worker("w@one"), beat("one:1"))
    (reason,) = found(*processes, lists={"c": many, "x": [*many[:-1], "new"]})
    assert reason.error == "without the pools pool-4999, with the additional pools new"


def test_a_list_that_is_not_known_is_no_difference() -> None:
    (reason,) = found(worker("w@odd", configuration="x"), worker("w@one"), beat("one:1"), lists={"c": ["a"]})
    assert reason.error == "its list of pools is not known yet"


def test_readers_replace_the_reasons_that_they_see_themselves() -> None:
    recorded = [default_reason(ReasonCode.NO_BEAT, 0), default_reason(ReasonCode.PURGE_FAILED, 1)]
    healthy_again = overlaid(Assessment(Status.UNHEALTHY, tuple(recorded)), [])
    assert healthy_again == Assessment(Status.DEGRADED, tuple(recorded[1:]))
    missing = default_reason(ReasonCode.NO_WORKER, 3, queue=CLONE)
    worse = overlaid(healthy_again, [missing])
    assert worse == Assessment(Status.UNHEALTHY, (missing, recorded[1]))


def test_a_recorded_status_without_reasons_stays() -> None:
    assert overlaid(Assessment(Status.UNHEALTHY, ()), []).status is Status.UNHEALTHY
