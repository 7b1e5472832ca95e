"""`vmpooler-tasks dlq redrive`"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from vmpooler_tasks.cli.redrive.arguments import RedriveArguments, refuse_missing, search_selected
from vmpooler_tasks.cli.redrive.editing import run_edited
from vmpooler_tasks.cli.redrive.printing import expected_counts, print_preview, print_result, print_run, print_runs
from vmpooler_tasks.cli.shared import options
from vmpooler_tasks.cli.shared.completion import complete_dead_letters, complete_runs
from vmpooler_tasks.cli.shared.context import Context, pass_context, who_am_i
from vmpooler_tasks.cli.shared.lazy import LazyModule
from vmpooler_tasks.cli.shared.program import PROGRAM
from vmpooler_tasks.cli.shared.search import Search
from vmpooler_tasks.cli.shared.selection import resolved
from vmpooler_tasks.cli.shared.terminal import CLEAR_LINE
from vmpooler_tasks.errors import InvalidInputError, VmpoolerTasksError
from vmpooler_tasks.jobs.deadletters import query
from vmpooler_tasks.jobs.redrive import run as job
from vmpooler_tasks.jobs.redrive.preview import Preview, preview
from vmpooler_tasks.jobs.redrive.selection import Selection
from vmpooler_tasks.model.deadletters.filters import filter_of, refuse_everything
from vmpooler_tasks.model.redrive import (
    DEFAULT_MAX_FAILED,
    DEFAULT_RATE,
    POISON_AFTER,
    RunOptions,
    RunState,
)
from vmpooler_tasks.store.fleet import heartbeats
from vmpooler_tasks.store.redrive.runs import Run
from vmpooler_tasks.tasks.registry import CLONE_QUEUE, OWN

if TYPE_CHECKING:
    from vmpooler_tasks.tasks import enqueue as client
else:
    client = LazyModule("vmpooler_tasks.tasks.enqueue")  # Celery is slow to import

HOW_TO_SELECT_ALL = "say --all"
"""How the command line asks for all dead letters."""


@click.command(epilog="Example: vmpooler-tasks dlq redrive --queue clone --since 2h --why 'template is back'")
@click.argument("ids", nargs=-1, metavar="[ID]…", shell_complete=complete_dead_letters)
@options.dead_letter_filters
@click.option("--all", "every", is_flag=True, help=f"Every dead letter but those that came back {POISON_AFTER} times.")
@click.option("--dry-run", is_flag=True, help="Say what would be run again, by queue, pool and error; do nothing.")
@click.option(
    "--rate",
    type=click.FloatRange(min=0),
    default=DEFAULT_RATE,
    show_default=True,
    metavar="N",
    help="Dead letters a second; 0 for no limit.",
)
@click.option("--limit", type=click.IntRange(min=1), help="At most so many, the oldest first.")
@click.option(
    "--max-failed",
    type=click.FloatRange(0, 100),
    default=DEFAULT_MAX_FAILED,
    show_default=True,
    metavar="PERCENT",
    help="Stop when more than this share has failed again.",
)
@click.option("--enqueue", is_flag=True, help="Let a worker do it, and return at once.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@click.option(
    "--confirm", is_flag=True, help="Run reverts again, too: they discard what the user did since. Needs ids."
)
@click.option("--resume", metavar="RUN", shell_complete=complete_runs, help="Continue a run that was interrupted.")
@click.option("--cancel", metavar="RUN", shell_complete=complete_runs, help="End a run.")
@click.option("--status", metavar="RUN", shell_complete=complete_runs, help="Show the progress of a run.")
@click.option("--runs", is_flag=True, help="List the runs of the last week.")
@click.option("--edit", is_flag=True, help="Change the arguments of one failed task in $EDITOR, and run it with them.")
@click.option("--kwargs", metavar="JSON", help="The same without an editor: its arguments by name, as a JSON object.")
@click.option("--args", metavar="JSON", help="Its arguments by position, as a JSON list.")
@options.why
@options.as_json
@pass_context
def redrive(context: Context, /, **given: Any) -> None:
    """Run dead letters again, by id or filter.

    A dead letter that nobody needs any more (its request was answered, its pool is full) is closed instead. Anybody can
    resume a run that was interrupted. The audit records who ordered it, and why.
    """
    own = {name: given[name] for name in RedriveArguments.__slots__ if name in given}
    arguments = RedriveArguments(wanted=filter_of(given), **own)
    arguments.refuse_mixture()
    as_json, db = arguments.as_json, context.db
    with _usage_errors():
        if arguments.runs:
            print_runs(context, as_json)
        elif arguments.cancel:
            ended = job.cancel(db, arguments.cancel)
            text = f"Run {arguments.cancel} is cancelled." if ended else "It had ended before."
            print_result(as_json, {"cancelled": ended}, text)
        elif arguments.status:
            print_run(job.read_run(db, arguments.status), as_json)
        elif arguments.resume:
            _drive(context, job.read_run(db, arguments.resume).id, arguments)
        elif arguments.is_edit:
            run_edited(context, arguments)
        else:
            _start(context, arguments)


@contextmanager
def _usage_errors() -> Iterator[None]:
    try:
        yield
    except InvalidInputError as error:
        raise click.UsageError(str(error.args[0])) from error


def _start(context: Context, arguments: RedriveArguments) -> None:
    """Select dead letters, and preview them or run them again."""
    if not arguments.every:
        refuse_everything(arguments.wanted, override=HOW_TO_SELECT_ALL)
    wanted = resolved(context, arguments.wanted)
    selection = Selection(wanted=wanted, limit=arguments.limit, confirmed=arguments.confirm)
    is_preview = arguments.dry_run
    if wanted.ids and arguments.limit is None:
        refuse_missing(wanted, search_selected(context, selection))
    else:
        is_preview = is_preview or selection.is_empty(context.db)
    if not is_preview:
        context.settings.refuse_if_observing(job.REDRIVING)
    if is_preview or wanted.ids or not arguments.yes:
        found = _previewed(context, selection)
        if is_preview:
            print_preview(found, arguments.as_json)
            return
        if found.to_confirm and wanted.ids:
            _confirm_reverts(found.to_confirm, may_ask=not arguments.yes)
            selection = replace(selection, confirmed=True)
            found = _previewed(context, selection)
        if not arguments.yes:
            click.confirm(f"Run {expected_counts(found.expected)}?", abort=True, err=True)
            selection = replace(selection, limit=found.selected)  # more may have failed meanwhile
    order = RunOptions(who=who_am_i(), why=arguments.why, rate=arguments.rate, max_failed_percent=arguments.max_failed)
    with Search(query.count(context.db, wanted)) as search:
        run = job.start(context.db, selection, order, context.db.clock(), on_read=search.on_read)
    _drive(context, run, arguments)


def _previewed(context: Context, selection: Selection) -> Preview:
    with Search(query.count(context.db, selection.wanted)) as search:
        return preview(context.db, context.settings, OWN, selection, on_read=search.on_read)


def _confirm_reverts(count: int, *, may_ask: bool) -> None:
    """Let the person at the terminal confirm reverts. Raise UsageError if nobody may be asked."""
    what = f"{count} of them revert{'s' if count == 1 else ''} a VM and discard{'s' if count == 1 else ''}"
    text = f"{what} what its user did since the snapshot"
    if not may_ask:
        raise click.UsageError(f"{text}: add --confirm to run {'it' if count == 1 else 'them'} again")
    click.confirm(f"{text}. Run {'it' if count == 1 else 'them'} again?", abort=True, err=True)


def _drive(context: Context, run: str, arguments: RedriveArguments) -> None:
    """Continue a run to its end, here or in a worker."""
    if arguments.enqueue:
        task = client.enqueue_redrive(context.settings, run)
        print_result(arguments.as_json, {"run": run, "task_id": task}, f"Run {run} is enqueued as task {task}.")
        return
    last = job.read_run(context.db, run)
    has_explained_wait = False
    progress = not arguments.as_json and sys.stderr.isatty()
    try:
        with client.redrive_broker(context.settings) as broker:
            position = last.position
            for last in job.drive(context.db, context.settings, broker, context.db.clock, run):
                if last.state is RunState.RUNNING and last.position == position and not has_explained_wait:
                    has_explained_wait = True
                    sys.stderr.write("\r" * progress + _wait_reason(context, last) + "\n")
                position = last.position
                if progress:
                    sys.stderr.write(f"\r{last.position} of {last.total} … ")
    except (KeyboardInterrupt, VmpoolerTasksError):
        sys.stderr.write(f"\nInterrupted. Continue with `{PROGRAM} dlq redrive --resume {run}`\n")
        raise
    if progress:
        sys.stderr.write(CLEAR_LINE)
    print_run(last, arguments.as_json)


def _wait_reason(context: Context, run: Run) -> str:
    why = "no slot for a clone is free (task_limit, ondemand_clone_limit)"
    try:
        if not heartbeats.read_fleet(context.db).workers_of(CLONE_QUEUE):
            why += f", and no worker takes {CLONE_QUEUE}: start one"
    except VmpoolerTasksError:
        pass  # the run itself meets the same error and reports it
    return f"Waits at dead letter {run.position + 1} of {run.total}: {why}. Ctrl-C interrupts it."
