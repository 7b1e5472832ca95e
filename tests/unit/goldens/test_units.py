"""VMPooler's verdicts and readings of times, recorded one by one: ours are the same, or the difference has a name."""

from collections import Counter
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.support import goldens
from tests.support.goldens_times import living_in
from vmpooler_tasks.config import HealthThresholds
from vmpooler_tasks.model.health.assessment import Circumstances, CycleHistory, assess
from vmpooler_tasks.model.health.metrics import HealthMetrics, PoolMetrics, QueueMetrics, status_line
from vmpooler_tasks.model.names import DeadLetterQueue
from vmpooler_tasks.model.pools.permanent_errors import is_permanent
from vmpooler_tasks.model.timestamps import moment, parse_time

UNITS = goldens.units()

OFF = CycleHistory(enabled=False, interval_seconds=1, last_run=None, first_expected=0)
QUIET = Circumstances(now=0, purge=OFF, health=OFF, dlq_max_entries=10**9, empty_pool_grace=900)

GUESSED = frozenset(
    {
        "2024-01-15 10:30:00 GMT",
        "2024-01-15 10:30:00 EST",
        "2024-01-15 10:30:00 CET",
        "2024-01-15 10:30:00 America/New_York",
        "2024-01-15 10:30:00 AM",
        "2024-01-15 10:30:00 +00:00:30",
        "10:30:00",
        "12:30 am",
        "10",
        "31",
        "123",
        "0x10",
        "Jan",
        "15 Jan",
        "1/15",
        "15/01/2024",
        "24-01-15 10:30:00",
        "15 Jan 2024 10:30 PM",
        "Mon Jan 15 10:30:00 UTC 2024",
        "S40.05.22T23:55:21+09:00",
        "-0001-01-01 00:00:00 +0000",
        "x2024-01-15 10:30:00 +0000",
        '"2024-01-15 10:30:00 +0000"',
        "2024-01-15\n10:30:00 +0000",
    }
)
"""Rule.RUBYS_GUESSES (README 9): in none of the three forms."""

NO_SUCH_MOMENT = frozenset(
    {
        "2024-02-30 10:00:00 +0000",
        "2023-02-29 10:00:00 +0000",
        "2024-01-15 10:30:60 +0000",
    }
)
"""In the form of Time#to_s, but there is no such moment: Ruby goes on into the next month or minute."""

RARE_ISO_8601 = frozenset({"2024-01-15 24:00:00 +0000", "2016-12-31 23:59:60 +0000", "2024-015"})
"""ISO 8601 has these (midnight as 24:00, leap seconds, the day of the year), VMPooler writes none of them."""


@pytest.mark.parametrize("row", UNITS["health_status"])
def test_the_verdict_and_its_log_line_are_vmpoolers(row: dict[str, Any]) -> None:
    metrics = measured(row["metrics"])
    assessment = assess(metrics, HealthThresholds(**row["thresholds"]), QUIET)
    assert str(assessment.status) == row["result"]
    assert [status_line(assessment.status, metrics)] == [text for _, text in row["log"]]


def measured(recorded: dict[str, Any]) -> HealthMetrics:
    """The recorded numbers, which need not add up; a part that is missing there is empty here."""
    pools = {
        name: PoolMetrics(
            QueueMetrics(queues.get("pending", {}).get("size", 0)),
            QueueMetrics(queues.get("ready", {}).get("size", 0)),
            queues.get("completed", {}).get("size", 0),
        )
        for name, queues in recorded["queues"].items()
        if name != "dlq"  # there the sizes of the dead-letter queues stand, beside the pools
    }
    errors = recorded["errors"]
    pools["(all that is stuck)"] = PoolMetrics(QueueMetrics(stuck_count=errors["stuck_vm_count"]))
    return HealthMetrics(
        pools=pools,
        dead_letters={DeadLetterQueue.CLONE: errors["dlq_total_size"]},
        orphaned_metadata=errors["orphaned_metadata_count"],
    )


@pytest.mark.parametrize("tz", UNITS["time_parse"])
def test_a_time_is_read_as_ruby_reads_it_unless_ruby_guessed(tz: str) -> None:
    refused = set[str]()
    with living_in(tz):
        for row in UNITS["time_parse"][tz]:
            ours = parse_time(row["s"].encode())
            theirs = moment(row["epoch"]) if "epoch" in row and row["epoch"] >= MIN_EPOCH else None
            if ours is None and "epoch" in row:
                refused.add(row["s"])
            else:
                assert same_moment(ours, theirs), row["s"]
    assert refused == GUESSED | NO_SUCH_MOMENT | RARE_ISO_8601


MIN_EPOCH = -62_135_596_800
"""The first second of the year 1, the earliest that Python has."""


def same_moment(ours: datetime | None, theirs: datetime | None) -> bool:
    """To the microsecond."""
    if ours is None or theirs is None:
        return ours is theirs
    return abs(ours - theirs) < timedelta(microseconds=1)


@pytest.mark.parametrize("row", UNITS["permanent_error"])
def test_the_same_errors_are_permanent(row: dict[str, Any]) -> None:
    assert is_permanent(row["message"], row["class"]) is row["result"]


def test_every_recorded_unit_is_compared_or_named_as_not_here_yet() -> None:
    compared = {name: len(UNITS[name]) for name in ("health_status", "permanent_error")}
    compared |= {f"time_parse {tz}": len(rows) for tz, rows in UNITS["time_parse"].items()}
    assert compared == {"health_status": 200, "permanent_error": 194, "time_parse UTC": 63, "time_parse MST7": 63}
    assert Counter(row["result"] for row in UNITS["health_status"]) == {"unhealthy": 151, "degraded": 40, "healthy": 9}
    assert Counter(row["result"] for row in UNITS["permanent_error"]) == {True: 113, False: 81}
    assert sum(len(row["pushed"]) for row in UNITS["health_status"]) == 2792  # metrics: not here yet
    assert UNITS.keys() == {"format", "health_status", "now", "permanent_error", "time_parse", "time_parse_note"}
