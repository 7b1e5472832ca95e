"""Runs the task of one dead letter with changed arguments."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import click

from vmpooler_tasks.cli.redrive.arguments import RedriveArguments, refuse_missing, search_selected
from vmpooler_tasks.cli.redrive.printing import print_result
from vmpooler_tasks.cli.shared.context import Context, who_am_i
from vmpooler_tasks.cli.shared.editor import edit_json, parse_json
from vmpooler_tasks.cli.shared.lazy import LazyModule
from vmpooler_tasks.errors import InvalidInputError
from vmpooler_tasks.jobs.redrive import edit
from vmpooler_tasks.jobs.redrive.selection import Selection
from vmpooler_tasks.model.deadletters.entry import StoredDeadLetter
from vmpooler_tasks.model.names import on_one_line, printable_json
from vmpooler_tasks.model.redrive import (
    RedriveOutcome,
)
from vmpooler_tasks.tasks.registry import OWN

if TYPE_CHECKING:
    from vmpooler_tasks.tasks import enqueue as client
else:
    client = LazyModule("vmpooler_tasks.tasks.enqueue")  # Celery is slow to import


def run_edited(context: Context, arguments: RedriveArguments) -> None:
    """Run the task of one dead letter with changed arguments."""
    found = search_selected(context, Selection(wanted=arguments.wanted))
    refuse_missing(arguments.wanted, found)
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
            print_result(arguments.as_json, {"dry_run": True, "task": task}, f"Would run {task} with these arguments.")
            return
        if not arguments.yes:
            click.confirm(f"Run {task} with {printable_json(document)}?", abort=True, err=True)
        order = edit.Edit(arguments=_arguments_in(document), who=who_am_i(), why=arguments.why, at=context.db.clock())
        if edit.redrive_edited(context.db, context.settings, broker, entry, order) is RedriveOutcome.GONE:
            raise click.ClickException("the dead letter left its queue meanwhile: nothing was run")
    print_result(arguments.as_json, {"dry_run": False, "task": task}, f"{task} is sent to the workers.")


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
