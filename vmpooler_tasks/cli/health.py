"""`vmpooler-tasks health`"""

import math
import sys
from collections.abc import Mapping
from itertools import chain
from typing import TYPE_CHECKING, Any, NoReturn

import click

from vmpooler_tasks.cli.shared import options
from vmpooler_tasks.cli.shared.context import Context, pass_context
from vmpooler_tasks.cli.shared.output import (
    STATUS_COLOURS,
    age,
    print_json,
    print_json_line,
    print_line,
    print_table,
    repeat,
    utc_time,
)
from vmpooler_tasks.jobs.health import check as job
from vmpooler_tasks.jobs.health import read
from vmpooler_tasks.metrics.push import MetricsPublisher
from vmpooler_tasks.model.health.explanation import explain
from vmpooler_tasks.store.health.record import read_history

if TYPE_CHECKING:  # the jobs are imported where they are used: `--help` needs no Redis client
    from vmpooler_tasks.jobs.health.report import HealthReport

WATCH_SECONDS = 2.0
DELIVERY_SECONDS = 1.0
"""The command waits at most this long for StatsD and Graphite."""

UNKNOWN = "-"
"""The table shows this for a number that is not recorded."""


@click.command(epilog="Example: vmpooler-tasks health --no-check --json")
@click.option("--watch", is_flag=True, help="Check, then show the recorded status as it changes, until Ctrl-C.")
@click.option("--history", type=options.DURATION, metavar="DURATION", help="Show the checks of the last 2h, 7d, …")
@click.option("--no-check", is_flag=True, help="Show the last recorded status, without a check.")
@options.as_json
@pass_context
def health(context: Context, watch: bool, history: float | None, no_check: bool, as_json: bool) -> None:
    """Check the queues now. Exit status: 0 healthy, 1 degraded, 2 unhealthy. `status` is the same command."""
    if history is not None:
        if watch or no_check:
            raise click.UsageError("--history shows past checks and cannot be combined with --watch or --no-check")
        _show_history(context, history, as_json)
        return
    report = _report(context, no_check)
    if watch:
        _watch(context, report, as_json)
    if as_json:
        print_json(report.as_json())
    else:
        _show(report, context.db.clock())
    sys.exit(report.assessment.status)


def _report(context: Context, no_check: bool) -> "HealthReport":
    if no_check:
        return read.read_report(context.db, context.settings, context.db.clock, context.broker)
    publisher = MetricsPublisher(context.settings)
    report = job.run(
        context.db,
        context.settings,
        context.db.clock,
        forced=True,
        is_scheduled=False,
        publish=publisher.publish,
        broker=context.broker,
    )
    publisher.close(DELIVERY_SECONDS)
    assert report is not None, "a forced check is never skipped"  # noqa: S101 - for the type checker
    return report


def _watch(context: Context, first: "HealthReport", as_json: bool) -> NoReturn:
    # No generator: that would end with the first error, and an outage has to be survived.
    reports = chain([first], iter(lambda: _report(context, no_check=True), None))

    def show() -> None:
        report = next(reports)
        if as_json:
            print_json_line(report.as_json())
            return
        now = context.db.clock()
        if sys.stdout.isatty():
            click.clear()
        _show(report, now)

    repeat(show, WATCH_SECONDS)


def _show(report: "HealthReport", now: float) -> None:
    shown = report.as_json()
    reasons = report.assessment.reasons
    problems = f": {len(reasons)} problem{'s' if len(reasons) > 1 else ''}" if reasons else ""
    when = shown["last_check"] or "never"
    print_line(f"{shown['status'].upper()}  (checked {when}){problems}", STATUS_COLOURS[shown["status"]])
    for reason in reasons:
        found, remedy = explain(reason, now)
        print_line(f"  {reason.severity}: {found}", STATUS_COLOURS[str(reason.severity)])
        print_line(f"    → {remedy}")
    queues = shown["metrics"].get("queues", {})
    pools = {name: pool for name, pool in queues.items() if "completed" in pool}
    if pools:
        print_table(
            ("POOL", "PENDING", "OLDEST", "STUCK", "READY", "OLDEST READY", "COMPLETED"),
            [_row(name, pool) for name, pool in pools.items()],
            numbers=("PENDING", "OLDEST", "STUCK", "READY", "OLDEST READY", "COMPLETED"),
        )
    print_line(
        f"Dead letters: {shown['dlq_total_size']}   Stuck VMs: {shown['stuck_vm_count']}"
        f"   Orphaned metadata: {shown['orphaned_metadata_count']}"
    )


def _row(name: str, pool: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        name,
        _number(pool, "pending", "size"),
        _age(pool, "pending"),
        _number(pool, "pending", "stuck_count"),
        _number(pool, "ready", "size"),
        _age(pool, "ready"),
        _number(pool, "completed", "size"),
    )


def _age(pool: Mapping[str, Any], queue: str) -> str:
    found = _measured(pool, queue, "oldest_age")
    return UNKNOWN if found is None else age(found)


def _number(pool: Mapping[str, Any], queue: str, name: str) -> str:
    found = _measured(pool, queue, name)
    return UNKNOWN if found is None else str(int(found))


def _measured(pool: Mapping[str, Any], queue: str, name: str) -> float | None:
    """Return a number of a pool; None where it is missing, as VMPooler writes these, too."""
    measured = pool.get(queue)
    found = measured.get(name) if isinstance(measured, dict) else None
    return found if isinstance(found, int) or (isinstance(found, float) and math.isfinite(found)) else None


def _show_history(context: Context, seconds: float, as_json: bool) -> None:
    now = context.db.clock()
    checks = read_history(context.db, now - seconds)
    if as_json:
        print_json([check.as_json() for check in checks])
        return
    if not checks:
        print_line(f"No checks in the last {age(seconds)}.")
        return
    print_table(
        ("TIME", "STATUS", "PENDING", "READY", "COMPLETED", "DLQ", "STUCK", "ORPHANED", "REASONS"),
        [
            (
                utc_time(check.at, now),
                str(check.status),
                sum(pool.pending for pool in check.pools.values()),
                sum(pool.ready for pool in check.pools.values()),
                sum(pool.completed for pool in check.pools.values()),
                check.dlq,
                check.stuck,
                check.orphaned,
                ", ".join(check.reasons),
            )
            for check in checks
        ],
        numbers=("PENDING", "READY", "COMPLETED", "DLQ", "STUCK", "ORPHANED"),
        below=(("REASONS",),),
    )
