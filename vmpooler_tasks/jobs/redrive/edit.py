"""Run the dead letter of a task again with changed arguments. docs/operator-guide.md: Running dead letters again.

Only tasks that the table of tasks marks as editable. The VM and the pool of a task never change.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

from vmpooler_tasks.config import Settings
from vmpooler_tasks.errors import InvalidInputError
from vmpooler_tasks.jobs.purge.options import purgeable_pools
from vmpooler_tasks.jobs.redrive.eligibility import cut_parts, has_redacted
from vmpooler_tasks.jobs.redrive.run import REDRIVING, Broker
from vmpooler_tasks.model.deadletters.entry import StoredDeadLetter
from vmpooler_tasks.model.deadletters.shown import shown
from vmpooler_tasks.model.names import DeadLetterQueue, on_one_line
from vmpooler_tasks.model.redaction import REDACTED, redacted
from vmpooler_tasks.model.redrive import OwnTasks, Redrive, RedriveOutcome, lineage_of_successor
from vmpooler_tasks.store import Database
from vmpooler_tasks.store.redrive import steps

_log = logging.getLogger("vmpooler_tasks.redrive")

MAX_CHARACTERS = 65_536
"""The maximum of the arguments, as JSON."""


Named = Mapping[str, Any]
"""Values by the names of arguments."""


@dataclass(frozen=True, slots=True)
class Arguments:
    """The arguments of a task: by position and by name. They are plain JSON values."""

    args: Sequence[Any] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return {"args": list(self.args), "kwargs": dict(self.kwargs)}


class EditingBroker(Broker, Protocol):
    """A broker that also knows the signatures of our tasks."""

    def check_arguments(self, task: str, before: Arguments, after: Arguments) -> tuple[Named, Named]:
        """Return the arguments before and after by their names.

        Raises InvalidInputError that names each argument which the task does not take, or which has to stay.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """The arguments to run a dead letter with; who ordered that, why, and when."""

    arguments: Arguments
    who: str
    why: str | None
    at: float


def arguments_of(dead_letter: StoredDeadLetter) -> Arguments:
    """Return the arguments that the task failed with; secrets in them are redacted."""
    return Arguments(dead_letter.fields.get("args") or [], dead_letter.fields.get("kwargs") or {})


def why_not_editable(dead_letter: StoredDeadLetter, own: OwnTasks) -> str | None:
    """Return why a dead letter cannot be run with changed arguments; None if it can."""
    args, kwargs = dead_letter.fields.get("args"), dead_letter.fields.get("kwargs")
    if dead_letter.queue is not DeadLetterQueue.TASKS:
        return "it is a VM and has no arguments: redrive it as it is"
    task = dead_letter.text("task")
    if not task or not isinstance(args, list | None) or not isinstance(kwargs, dict | None):
        return "it is not a task"
    if parts := cut_parts(dead_letter):
        return f"it was too large, and these parts were cut: {', '.join(parts)}"
    if shown([args, kwargs]) != [args, kwargs]:
        return "its arguments cannot be shown as they are: redrive it as it is"
    return None if task in own.editable else f"{task} cannot be run with changed arguments"


def refuse(
    db: Database, settings: Settings, broker: EditingBroker, dead_letter: StoredDeadLetter, after: Arguments
) -> None:
    """Raise InvalidInputError if the dead letter cannot be run again with these arguments, with every reason."""
    if why := why_not_editable(dead_letter, broker.own):
        raise InvalidInputError(why)
    _refuse_json(after)
    if has_redacted(after.as_json()):
        raise InvalidInputError(f"the arguments contain {REDACTED}: put the real value in its place")
    task, before = dead_letter.text("task"), arguments_of(dead_letter)
    old, new = broker.check_arguments(task, before, after)
    if name := broker.own.pool_lists.get(task):
        _refuse_other_pools(name, purgeable_pools(db, settings), old.get(name), new.get(name))


def _refuse_json(after: Arguments) -> None:
    try:
        size = len(json.dumps(after.as_json(), allow_nan=False))
    except (ValueError, TypeError, RecursionError) as error:
        raise InvalidInputError(f"the arguments are not valid JSON: {error}") from error
    if size > MAX_CHARACTERS:
        raise InvalidInputError(f"the arguments have {size} characters, more than {MAX_CHARACTERS}")


def _refuse_other_pools(name: str, known: set[str], before: object, after: object) -> None:
    """Raise InvalidInputError unless the lists differ only in names that are not pools: those may be corrected."""
    old, new = (list(one) if isinstance(one, list | tuple) else [] for one in (before, after))
    if sorted(map(str, old)) == sorted(map(str, new)):
        return
    if len(old) != len(new) or not {one for one in old if one in known} <= set(new):
        raise InvalidInputError(f"{name}: has to stay {json.dumps(old)}; only a name that is no pool can be corrected")


def redrive_edited(
    db: Database, settings: Settings, broker: EditingBroker, dead_letter: StoredDeadLetter, edit: Edit
) -> RedriveOutcome:
    """Run the dead letter again with changed arguments, and record both in the audit.

    Return REDRIVEN, or GONE if it left its queue since it was read. Raises InvalidInputError as `refuse` does.
    """
    settings.refuse_if_observing(REDRIVING)
    refuse(db, settings, broker, dead_letter, edit.arguments)
    step = partial(steps.redrive_edited, db, dead_letter, _trail(dead_letter, edit))
    # The check comes first: to another server a message goes before the dead letter leaves, and nothing recalls it.
    if not step(message=None):
        return RedriveOutcome.GONE
    redrive = Redrive(run="", who=edit.who, at=edit.at, edited=True)
    message = broker.prepare(
        dead_letter.text("task"),
        list(edit.arguments.args),
        dict(edit.arguments.kwargs),
        lineage_of_successor(dead_letter.fields, redrive),
    )
    if not step(message=message):
        return RedriveOutcome.GONE
    task, about = on_one_line(dead_letter.text("task")), {"dead_letter": dead_letter.id}
    text = "[*] [redrive] %s of %s: redriven with changed arguments, ordered by %s"
    _log.info(text, on_one_line(dead_letter.id), task, edit.who, extra=about)
    return RedriveOutcome.REDRIVEN


def _trail(dead_letter: StoredDeadLetter, edit: Edit) -> Mapping[str, Any]:
    """Return the fields of the audit, without secrets."""
    return {
        "action": "edit",
        "who": edit.who,
        "why": edit.why,
        "count": 1,
        "dead_letter": dead_letter.id.encode("utf-8", "replace").decode(),
        "task": dead_letter.text("task"),
        "before": json.dumps(redacted(arguments_of(dead_letter).as_json())),
        "after": json.dumps(redacted(edit.arguments.as_json())),
    }
