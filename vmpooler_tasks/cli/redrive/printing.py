"""Prints what a redrive would do, a run, and the list of runs."""

from collections.abc import Mapping
from typing import Any

from vmpooler_tasks.cli.shared.context import Context
from vmpooler_tasks.cli.shared.output import print_json, print_line, print_table, utc_time
from vmpooler_tasks.jobs.redrive import run as job
from vmpooler_tasks.jobs.redrive.preview import EXPECTED, Preview
from vmpooler_tasks.model.redrive import RedriveOutcome, RunState
from vmpooler_tasks.store.redrive.runs import Run, newest_first

MESSAGE_WIDTH = 100


def print_result(as_json: bool, data: dict[str, Any], text: str) -> None:
    """Print the data as JSON, or else the text."""
    if as_json:
        print_json(data)
    else:
        print_line(text)


def expected_counts(expected: Mapping[RedriveOutcome, int]) -> str:
    """Return `3 of 9 dead letters again, close 2 as obsolete, keep 4`, without the counts that are 0."""
    again, obsolete, kept = (
        expected.get(outcome, 0) for outcome in (RedriveOutcome.REDRIVEN, RedriveOutcome.OBSOLETE, RedriveOutcome.KEPT)
    )
    others = f", close {obsolete} as obsolete" * bool(obsolete) + f", keep {kept}" * bool(kept)
    of_all = f" of {again + obsolete + kept}" if others else ""
    return f"{again}{of_all} dead letters again{others}"


def print_preview(found: Preview, as_json: bool) -> None:
    """Print what a run would do with the selected dead letters."""
    if as_json:
        print_json(found.as_json())
        return
    if found.groups:
        numbers = ("COUNT", "RUN", "CLOSE", "KEEP")
        print_table(
            (*numbers, "QUEUE", "POOL", "ERROR"),
            [
                (
                    group.count,
                    *(group.expected[outcome] for outcome in EXPECTED),
                    group.queue,
                    group.pool or "-",
                    group.error[:MESSAGE_WIDTH],
                )
                for group in found.groups
            ],
            numbers=numbers,
            below=(("POOL",), ("ERROR",)),
        )
    for (outcome, reason), count in found.reasons.most_common():
        what = "closed as obsolete" if outcome is RedriveOutcome.OBSOLETE else "kept"
        print_line(f"{count} would be {what}: {reason}")
    print_line(f"Would run {expected_counts(found.expected)}.")
    if found.poisoned:
        print_line(f"! {found.poisoned} came back too often and are left out: name them by id", "yellow")


def print_run(run: Run, as_json: bool) -> None:
    """Print how far a run is, and what became of its dead letters."""
    if as_json:
        print_json(job.as_json(run))
        return
    counts = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in run.counts.items() if count) or "nothing"
    print_line(f"Run {run.id} is {run.state}: {run.position} of {run.total} dead letters; {counts}.")
    if run.state is RunState.STOPPED:
        print_line(
            f"! More than {run.max_failed_percent:g} % failed again: fix the cause, then start a new run.", "yellow"
        )
    if run.counts["obsolete"]:
        print_line("  obsolete: closed, since nobody needs it any more (its pool is full, its request was answered)")
    if run.counts["kept"]:
        print_line(
            "! kept: it cannot be run again, since no worker knows it as a task, its arguments were redacted,"
            " or VMPooler fills its pool itself",
            "yellow",
        )


def print_runs(context: Context, as_json: bool) -> None:
    """Print the runs of the last week, the newest first."""
    found = newest_first(context.db)
    if as_json:
        print_json([job.as_json(run) for run in found])
        return
    if not found:
        print_line("No runs in the last week.")
        return
    now = context.db.clock()
    counts = ("redriven", "obsolete", "kept", "gone", "failed_again")
    numbers = ("SELECTED", "REDRIVEN", "OBSOLETE", "KEPT", "GONE", "FAILED")
    print_table(
        ("ID", "TIME", "STATE", *numbers, "WHO", "WHY"),
        [
            (
                run.id,
                utc_time(run.started, now),
                run.state,
                run.total,
                *(run.counts[name] for name in counts),
                run.who,
                run.why or "",
            )
            for run in found
        ],
        numbers=numbers,
        below=(("WHO",), ("WHY",)),
    )
