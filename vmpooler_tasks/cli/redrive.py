"""`vmpooler-tasks dlq redrive`"""

import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import click

from vmpooler_tasks.cli.shared import options
from vmpooler_tasks.cli.shared.completion import complete_dead_letters, complete_runs
from vmpooler_tasks.cli.shared.context import Context, pass_context, who_am_i
from vmpooler_tasks.cli.shared.editor import edit_json, parse_json
from vmpooler_tasks.cli.shared.lazy import LazyModule
from vmpooler_tasks.cli.shared.output import print_json, print_line, print_table, utc_time
from vmpooler_tasks.cli.shared.program import PROGRAM
from vmpooler_tasks.cli.shared.search import Search
from vmpooler_tasks.cli.shared.selection import resolved
from vmpooler_tasks.cli.shared.terminal import CLEAR_LINE
from vmpooler_tasks.errors import InvalidInputError, VmpoolerTasksError
from vmpooler_tasks.jobs.deadletters import query
from vmpooler_tasks.jobs.redrive import edit
from vmpooler_tasks.jobs.redrive import run as job
from vmpooler_tasks.jobs.redrive.preview import EXPECTED, Preview, preview
from vmpooler_tasks.jobs.redrive.selection import Selection
from vmpooler_tasks.model.deadletters.entry import StoredDeadLetter
from vmpooler_tasks.model.deadletters.filters import DeadLetterFilter, filter_of, refuse_everything
from vmpooler_tasks.model.names import on_one_line, printable_json
from vmpooler_tasks.model.redrive import (
    DEFAULT_MAX_FAILED,
    DEFAULT_RATE,
    POISON_AFTER,
    RedriveOutcome,
    RunOptions,
    RunState,
)
from vmpooler_tasks.store.fleet import heartbeats
from vmpooler_tasks.store.redrive.runs import Run, newest_first
from vmpooler_tasks.tasks.registry import CLONE_QUEUE, OWN

if TYPE_CHECKING:
    from vmpooler_tasks.tasks import enqueue as client
else:
    client = LazyModule("vmpooler_tasks.tasks.enqueue")  # Celery is slow to import

MESSAGE_WIDTH = 100

HOW_TO_SELECT_ALL = "say --all"
"""How the command line asks for all dead letters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RedriveArguments:
    """The arguments of `dlq redrive`. `wanted` is the filter that they describe."""

    wanted: DeadLetterFilter
    every: bool
    dry_run: bool
    rate: float
    limit: int | None
    max_failed: float
    enqueue: bool
    yes: bool
    confirm: bool
    resume: str | None
    cancel: str | None
    status: str | None
    runs: bool
    edit: bool
    args: str | None
    kwargs: str | None
    why: str | None
    as_json: bool

    def refuse_mixture(self) -> None:
        """Raise UsageError for arguments of which at most one can be meant."""
        selects = self.every or self.wanted != DeadLetterFilter()
        if sum(map(bool, (selects, self.resume, self.cancel, self.status, self.runs))) > 1:
            raise click.UsageError("a selection, --resume, --cancel, --status and --runs exclude each other")
        if self.is_edit and self.wanted != DeadLetterFilter(ids=self.wanted.ids):
            raise click.UsageError("--edit takes the id of one dead letter and no filter")
        if self.is_edit and len(self.wanted.ids) != 1:
            raise click.UsageError("--edit takes the id of one dead letter")

    @property
    def is_edit(self) -> bool:
        return self.edit or self.args is not None or self.kwargs is not None


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
            _show_runs(context, as_json)
        elif arguments.cancel:
            ended = job.cancel(db, arguments.cancel)
            text = f"Run {arguments.cancel} is cancelled." if ended else "It had ended before."
            _print(as_json, {"cancelled": ended}, text)
        elif arguments.status:
            _show_run(job.read_run(db, arguments.status), as_json)
        elif arguments.resume:
            _drive(context, job.read_run(db, arguments.resume).id, arguments)
        elif arguments.is_edit:
            _run_edited(context, arguments)
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
        _refuse_missing(wanted, _searched(context, selection))
    else:
        is_preview = is_preview or selection.is_empty(context.db)
    if not is_preview:
        context.settings.refuse_if_observing(job.REDRIVING)
    if is_preview or wanted.ids or not arguments.yes:
        found = _previewed(context, selection)
        if is_preview:
            _print_preview(found, arguments.as_json)
            return
        if found.to_confirm and wanted.ids:
            _confirm_reverts(found.to_confirm, may_ask=not arguments.yes)
            selection = replace(selection, confirmed=True)
            found = _previewed(context, selection)
        if not arguments.yes:
            click.confirm(f"Run {_summary(found.expected)}?", abort=True, err=True)
            selection = replace(selection, limit=found.selected)  # more may have failed meanwhile
    order = RunOptions(who=who_am_i(), why=arguments.why, rate=arguments.rate, max_failed_percent=arguments.max_failed)
    with Search(query.count(context.db, wanted)) as search:
        run = job.start(context.db, selection, order, context.db.clock(), on_read=search.on_read)
    _drive(context, run, arguments)


def _searched(context: Context, selection: Selection) -> list[StoredDeadLetter]:
    """Return the selected dead letters, which are few: they are named by their ids."""
    with Search(query.count(context.db, selection.wanted)) as search:
        return list(selection.read(context.db, on_read=search.on_read))


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


def _run_edited(context: Context, arguments: RedriveArguments) -> None:
    """Run the task of one dead letter with changed arguments."""
    found = _searched(context, Selection(wanted=arguments.wanted))
    _refuse_missing(arguments.wanted, found)
    entry = found[0]
    if why_not := edit.why_not_editable(entry, OWN):
        raise InvalidInputError(why_not)
    with client.redrive_broker(context.settings) as broker:

        def check(document: Any) -> None:
            edit.refuse(context.db, context.settings, broker, entry, _arguments_in(document))

        before, task = edit.arguments_of(entry).as_json(), on_one_line(entry.text("task"))
        if arguments.args is None and arguments.kwargs is None:
            document = edit_json(before, _editor_head(entry, broker.describe_arguments(entry.text("task"))), check)
        else:
            document = {"args": parse_json(arguments.args or "[]"), "kwargs": parse_json(arguments.kwargs or "{}")}
            check(document)
        if arguments.dry_run:
            _print(arguments.as_json, {"dry_run": True, "task": task}, f"Would run {task} with these arguments.")
            return
        if not arguments.yes:
            click.confirm(f"Run {task} with {printable_json(document)}?", abort=True, err=True)
        order = edit.Edit(arguments=_arguments_in(document), who=who_am_i(), why=arguments.why, at=context.db.clock())
        if edit.redrive_edited(context.db, context.settings, broker, entry, order) is RedriveOutcome.GONE:
            raise click.ClickException("the dead letter left its queue meanwhile: nothing was run")
    _print(arguments.as_json, {"dry_run": False, "task": task}, f"{task} is sent to the workers.")


def _arguments_in(document: Any) -> edit.Arguments:
    is_known = isinstance(document, dict) and document.keys() <= {"args", "kwargs"}
    args, kwargs = (document.get("args", []), document.get("kwargs", {})) if is_known else (None, None)
    if not isinstance(args, list) or not isinstance(kwargs, dict):
        raise InvalidInputError('the arguments have to be {"args": [ … ], "kwargs": { … }}')
    return edit.Arguments(args, kwargs)


def _editor_head(entry: StoredDeadLetter, arguments: Iterable[Mapping[str, Any]]) -> str:
    lines = [f"  {one['name']}: {one['type']}{' (cannot be changed)' * one['fixed']}" for one in arguments]
    return "\n".join(
        [
            on_one_line(f"{entry.text('task')} failed: {entry.text('error_class')}: {entry.text('error_message')}"),
            "Change its arguments, save, and close the editor. Close it without saving to do nothing.",
            *(["Its arguments:", *lines] if lines else ["It takes no arguments."]),
        ]
    )


def _refuse_missing(wanted: DeadLetterFilter, found: Iterable[StoredDeadLetter]) -> None:
    missing = sorted(wanted.ids - {entry.id for entry in found})
    if missing:
        raise click.ClickException(f"no dead letter with id {', '.join(missing)}")


def _print(as_json: bool, data: dict[str, Any], text: str) -> None:
    if as_json:
        print_json(data)
    else:
        print_line(text)


def _summary(expected: Mapping[RedriveOutcome, int]) -> str:
    """Return `3 of 9 dead letters again, close 2 as obsolete, keep 4`, without the counts that are 0."""
    again, obsolete, kept = (
        expected.get(outcome, 0) for outcome in (RedriveOutcome.REDRIVEN, RedriveOutcome.OBSOLETE, RedriveOutcome.KEPT)
    )
    others = f", close {obsolete} as obsolete" * bool(obsolete) + f", keep {kept}" * bool(kept)
    of_all = f" of {again + obsolete + kept}" if others else ""
    return f"{again}{of_all} dead letters again{others}"


def _print_preview(found: Preview, as_json: bool) -> None:
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
    print_line(f"Would run {_summary(found.expected)}.")
    if found.poisoned:
        print_line(f"! {found.poisoned} came back too often and are left out: name them by id", "yellow")


def _drive(context: Context, run: str, arguments: RedriveArguments) -> None:
    """Continue a run to its end, here or in a worker."""
    if arguments.enqueue:
        task = client.enqueue_redrive(context.settings, run)
        _print(arguments.as_json, {"run": run, "task_id": task}, f"Run {run} is enqueued as task {task}.")
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
    _show_run(last, arguments.as_json)


def _wait_reason(context: Context, run: Run) -> str:
    why = "no slot for a clone is free (task_limit, ondemand_clone_limit)"
    try:
        if not heartbeats.read_fleet(context.db).workers_of(CLONE_QUEUE):
            why += f", and no worker takes {CLONE_QUEUE}: start one"
    except VmpoolerTasksError:
        pass  # the run itself meets the same error and reports it
    return f"Waits at dead letter {run.position + 1} of {run.total}: {why}. Ctrl-C interrupts it."


def _show_run(run: Run, as_json: bool) -> None:
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


def _show_runs(context: Context, as_json: bool) -> None:
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
