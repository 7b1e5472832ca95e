"""`vmpooler-tasks dlq redrive`"""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from vmpooler_tasks.cli.shared import options
from vmpooler_tasks.cli.shared.context import Context, pass_context, who_am_i
from vmpooler_tasks.cli.shared.lazy import LazyModule
from vmpooler_tasks.cli.shared.output import print_json, print_line, print_table, utc_time
from vmpooler_tasks.cli.shared.program import PROGRAM
from vmpooler_tasks.clock import system_clock
from vmpooler_tasks.errors import InvalidInputError, VmpoolerTasksError
from vmpooler_tasks.jobs.redrive import run as job
from vmpooler_tasks.jobs.redrive.eligibility import forecast
from vmpooler_tasks.model.redrive import DEFAULT_MAX_FAILED, DEFAULT_RATE, POISON_AFTER, Outcome, RunState
from vmpooler_tasks.store.redrive.runs import newest_first
from vmpooler_tasks.tasks.registry import CLONE_QUEUE, OWN

if TYPE_CHECKING:
    from vmpooler_tasks.tasks import enqueue as client
else:
    client = LazyModule("vmpooler_tasks.tasks.enqueue")  # Celery is slow to import

if TYPE_CHECKING:  # the jobs are imported where they are used: `--help` needs no Redis client
    from vmpooler_tasks.jobs.redrive.run import Selection
    from vmpooler_tasks.store.redrive.runs import Run

MESSAGE_WIDTH = 100


@click.command(epilog="Example: vmpooler-tasks dlq redrive --queue clone --since 2h --why 'template is back'")
@click.argument("ids", nargs=-1, metavar="[ID]…")
@options.letter_filters
@click.option("--all", "every", is_flag=True, help=f"Every dead letter but those that came back {POISON_AFTER} times.")
@click.option("--dry-run", is_flag=True, help="Say what would be run again, by queue, pool and error; do nothing.")
@click.option(
    "--rate",
    type=click.FloatRange(min=0),
    default=DEFAULT_RATE,
    show_default=True,
    metavar="N",
    help="Letters a second; 0 for as many as go.",
)
@click.option("--limit", type=click.IntRange(min=1), help="The oldest so many.")
@click.option(
    "--max-failed",
    type=click.FloatRange(0, 100),
    default=DEFAULT_MAX_FAILED,
    show_default=True,
    metavar="PERCENT",
    help="Stop when more than this share has failed again.",
)
@click.option("--enqueue", is_flag=True, help="Let a worker do it, and return at once.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--resume", metavar="RUN", help="Go on with a run that was interrupted.")
@click.option("--cancel", metavar="RUN", help="End a run.")
@click.option("--status", metavar="RUN", help="How a run stands.")
@click.option("--runs", is_flag=True, help="The runs of the last week.")
@options.why
@options.as_json
@pass_context
def redrive(
    context: Context,
    /,
    ids: tuple[str, ...],
    every: bool,
    dry_run: bool,
    rate: float,
    limit: int | None,
    max_failed: float,
    enqueue: bool,
    yes: bool,
    resume: str | None,
    cancel: str | None,
    status: str | None,
    runs: bool,
    why: str | None,
    as_json: bool,
    **filters: Any,
) -> None:
    """Run dead letters again, by id or filter.

    What nobody wants any more (a request that was answered, a pool that is full) is closed instead. A run can be
    interrupted, and resumed by anybody; the audit keeps who ordered it, and why.
    """
    _refuse_mixture(ids or every or any(filters.values()), resume, cancel, status, runs)
    with _usage_errors():
        if runs:
            _show_runs(context, as_json)
        elif cancel:
            ended = job.cancel(context.db, cancel)
            _say(as_json, {"cancelled": ended}, f"Run {cancel} is cancelled." if ended else "It had ended before.")
        elif status:
            _show_run(job.known(context.db, status), as_json)
        elif resume:
            _drive(context, job.known(context.db, resume).id, enqueue, as_json)
        else:
            wanted = options.filter_from(filters, ids)
            if wanted.selects_all() and not every:
                alone = "--queue alone is not enough: " if filters["queues"] else ""
                raise click.UsageError(f"{alone}name ids or filters{' as well' * bool(alone)}, or say --all")
            selection = job.select(context.db, wanted, limit)
            _refuse_missing(ids, selection, limit)
            is_preview = dry_run or not selection.letters
            if is_preview or not yes:
                expected = forecast(context.db, context.settings, OWN, selection.letters)
                if is_preview:
                    _preview(selection, expected, as_json)
                    return
                click.confirm(f"Run {_what_becomes(expected)}?", abort=True, err=True)
            run = job.start(
                context.db,
                selection,
                who=who_am_i(),
                why=why,
                rate=rate,
                max_failed_percent=max_failed,
                now=system_clock(),
            )
            _drive(context, run, enqueue, as_json)


@contextmanager
def _usage_errors() -> Iterator[None]:
    try:
        yield
    except InvalidInputError as error:
        raise click.UsageError(str(error.args[0])) from error


def _refuse_mixture(*purposes: object) -> None:
    if sum(map(bool, purposes)) > 1:
        raise click.UsageError("a selection, --resume, --cancel, --status and --runs exclude each other")


def _refuse_missing(ids: tuple[str, ...], selection: "Selection", limit: int | None) -> None:
    missing = sorted(set(ids) - {letter.id for letter in selection.letters})
    if missing and limit is None:
        raise click.ClickException(f"no dead letter with id {', '.join(missing)}")


def _say(as_json: bool, data: dict[str, Any], text: str) -> None:
    if as_json:
        print_json(data)
    else:
        print_line(text)


def _what_becomes(expected: Mapping[Outcome, int]) -> str:
    """`3 of 9 dead letters again, close 2 as obsolete, keep 4`; only what there is."""
    again, obsolete, kept = (expected.get(what, 0) for what in (Outcome.REDRIVEN, Outcome.OBSOLETE, Outcome.KEPT))
    others = f", close {obsolete} as obsolete" * bool(obsolete) + f", keep {kept}" * bool(kept)
    of_all = f" of {again + obsolete + kept}" if others else ""
    return f"{again}{of_all} dead letters again{others}"


def _preview(selection: "Selection", expected: Mapping[Outcome, int], as_json: bool) -> None:
    if as_json:
        print_json(selection.as_json(expected))
        return
    if groups := selection.groups():
        print_table(
            ("COUNT", "QUEUE", "POOL", "ERROR"),
            [(count, queue, pool or "-", error[:MESSAGE_WIDTH]) for (queue, pool, error), count in groups],
            numbers=("COUNT",),
        )
    print_line(f"Would run {_what_becomes(expected)}.")
    if selection.poisoned:
        print_line(f"! {selection.poisoned} came back too often and are left out: name them by id", "yellow")


def _drive(context: Context, run: str, enqueue: bool, as_json: bool) -> None:
    has_told = False
    if enqueue:
        task = client.enqueue_redrive(context.settings, run)
        _say(as_json, {"run": run, "task_id": task}, f"Run {run} is enqueued as task {task}.")
        return
    last = job.known(context.db, run)
    progress = not as_json and sys.stderr.isatty()
    try:
        with client.redrive_broker(context.settings) as broker:
            position = last.position
            for last in job.go_on(context.db, context.settings, broker, system_clock, run):
                if last.state is RunState.RUNNING and last.position == position and not has_told:
                    has_told = True
                    sys.stderr.write("\r" * progress + _why_it_waits(context, last) + "\n")
                position = last.position
                if progress:
                    sys.stderr.write(f"\r{last.position} of {last.total} … ")
    except (KeyboardInterrupt, VmpoolerTasksError):
        sys.stderr.write(f"\nInterrupted; go on with `{PROGRAM} dlq redrive --resume {run}`\n")
        raise
    if progress:
        sys.stderr.write("\r\033[K")
    _show_run(last, as_json)


def _why_it_waits(context: Context, run: "Run") -> str:
    why = "no slot for a clone is free (task_limit, ondemand_clone_limit)"
    try:
        if CLONE_QUEUE not in client.queues_taken(context.settings):
            why += f", and no worker takes {CLONE_QUEUE}: start one"
    except VmpoolerTasksError:
        pass  # the run itself will tell
    return f"Waits at letter {run.position + 1} of {run.total}: {why}. Ctrl-C interrupts it."


def _show_run(run: "Run", as_json: bool) -> None:
    if as_json:
        print_json(job.as_json(run))
        return
    counts = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in run.counts.items() if count) or "nothing"
    print_line(f"Run {run.id} is {run.state}: {run.position} of {run.total} letters; {counts}.")
    if run.state is RunState.STOPPED:
        print_line(
            f"! More than {run.max_failed_percent:g} % failed again: mend the cause, then begin a new run.", "yellow"
        )
    if run.counts["obsolete"]:
        print_line("  obsolete: closed, since nobody wants it any more (its pool is full, its request has its answer)")
    if run.counts["kept"]:
        print_line(
            "! kept: it cannot be run again, since no worker knows it as a task, its arguments were redacted,"
            " or VMPooler fills its pool itself",
            "yellow",
        )


def _show_runs(context: Context, as_json: bool) -> None:
    found = newest_first(context.db)
    if as_json:
        print_json([job.as_json(run) for run in found])
    elif not found:
        print_line("No runs in the last week.")
    else:
        print_table(
            ("ID", "TIME", "STATE", "LETTERS", "REDRIVEN", "OBSOLETE", "KEPT", "GONE", "FAILED", "WHO", "WHY"),
            [
                (
                    run.id,
                    utc_time(run.started),
                    run.state,
                    run.total,
                    run.counts["redriven"],
                    run.counts["obsolete"],
                    run.counts["kept"],
                    run.counts["gone"],
                    run.counts["failed_again"],
                    run.who,
                    run.why or "",
                )
                for run in found
            ],
            numbers=("LETTERS", "REDRIVEN", "OBSOLETE", "KEPT", "GONE", "FAILED"),
        )
