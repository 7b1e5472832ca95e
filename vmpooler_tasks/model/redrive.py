"""Dead letters that are run again: what their successors carry, and when a run of redrives stops."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from vmpooler_tasks.model.deadletters.attempts import attempts_with_redrive, earlier_attempts
from vmpooler_tasks.model.pools.lifecycle import Step
from vmpooler_tasks.model.timestamps import iso_utc

POISON_AFTER = 3
"""Redrives after which a dead letter is left out of a selection, unless it is named by its id."""

SAMPLE = 10
"""Redriven dead letters that a run needs before the share of new failures means anything."""

DEFAULT_RATE = 10.0
"""Dead letters a second, so that failures show before everything is sent."""

DEFAULT_MAX_FAILED = 50.0
"""Percent of a run's redriven dead letters that may fail again."""

OWN_PREFIX = "vmpooler_tasks."


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnTasks:
    """The tasks of this project: all names, those that are `repeated` by a schedule, and the one that destroys a VM.

    Those that are `editable` can be run again with changed arguments. `pool_lists` names the argument of such a task
    that lists pools. `orders` are the tasks that carry out an order for a running VM, with their steps. Those that
    `starts_once` names are redriven only by id, with a confirmation.
    """

    names: frozenset[str]
    repeated: frozenset[str]
    destroy: str
    editable: frozenset[str]
    pool_lists: Mapping[str, str]
    orders: Mapping[str, Step]
    starts_once: frozenset[str]

    def lacks(self, task: str) -> bool:
        """Return whether no worker can know the task: its name has our prefix, and there is no such task of ours."""
        return task.startswith(OWN_PREFIX) and task not in self.names


class RunState(StrEnum):
    """The state of a run of redrives."""

    RUNNING = "running"
    DONE = "done"
    CANCELLED = "cancelled"
    STOPPED = "stopped"
    """Too many successors failed again."""


class RedriveOutcome(StrEnum):
    """What one step of a run did with a dead letter."""

    REDRIVEN = "redriven"
    OBSOLETE = "obsolete"
    """Nobody needs it any more: it was closed."""

    KEPT = "kept"
    """It cannot be run again, and stays in its queue."""

    GONE = "gone"
    """It had left its queue before."""

    WAIT = "wait"
    """There is no free slot now. The run stays where it is."""

    MOVED_ON = "moved_on"
    """Another process drives this run, or the run has ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """Who ordered a run of redrives and why, its `rate` in dead letters a second, and when it stops.

    `confirmed`: that person confirmed that what starts only once runs again.
    """

    who: str
    why: str | None
    rate: float = DEFAULT_RATE
    max_failed_percent: float = DEFAULT_MAX_FAILED
    confirmed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineage:
    """What a successor carries: the dead letter that it comes from, its counts of redrives and retries, and the run.

    `attempts` are those that failed before it, the oldest first, as model/deadletters/attempts.py describes them.
    """

    dead_letter_id: str
    redrives: int
    retry_count: int
    run: str
    attempts: Sequence[Mapping[str, Any]] = ()

    def as_fields(self) -> dict[str, str | int]:
        """Return the fields of a hash or a header. The attempts are one text of JSON."""
        return {
            "redrive_of": self.dead_letter_id,
            "redrives": self.redrives,
            "retry_count": self.retry_count,
            "run": self.run,
            "failed_attempts": json.dumps(self.attempts),
        }


LINEAGE_FIELDS = ("redrive_of", "redrives", "retry_count", "run", "failed_attempts")
"""The names of the fields that `Lineage.as_fields` writes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Redrive:
    """How a dead letter is run again: its run, who ordered it, when, and whether its arguments were changed."""

    run: str
    who: str
    at: float
    edited: bool = False

    def as_fields(self) -> dict[str, Any]:
        return {"run": self.run, "who": self.who, "redriven_at": iso_utc(self.at), "edited": self.edited}


def read_lineage(fields: object) -> Lineage | None:
    """Return the lineage in these fields, as `as_fields` writes it; None if there is none."""
    if not isinstance(fields, Mapping) or not fields.get("redrive_of"):
        return None
    return Lineage(
        dead_letter_id=str(fields["redrive_of"]),
        redrives=_number(fields.get("redrives")),
        retry_count=_number(fields.get("retry_count")),
        run=str(fields.get("run") or ""),
        attempts=_read_attempts(fields.get("failed_attempts")),
    )


def _read_attempts(text: object) -> Sequence[Mapping[str, Any]]:
    try:
        return tuple(earlier_attempts({"attempts": json.loads(str(text))}))
    except (ValueError, RecursionError):
        return ()


def lineage_of_successor(dead_letter: Mapping[str, Any], redrive: Redrive) -> Lineage:
    """Return what the successor of a dead letter with these fields carries."""
    return Lineage(
        dead_letter_id=str(dead_letter["id"]),
        redrives=redrives(dead_letter) + 1,
        retry_count=_number(dead_letter.get("retry_count")) + 1,
        run=redrive.run,
        attempts=tuple(attempts_with_redrive(dead_letter, redrive.as_fields())),
    )


def redrives(dead_letter: Mapping[str, Any]) -> int:
    """Return how often its predecessors were redriven."""
    return _number(dead_letter.get("redrives"))


def is_poison(dead_letter: Mapping[str, Any]) -> bool:
    """Return whether it has come back so often that only its id redrives it."""
    return redrives(dead_letter) >= POISON_AFTER


def too_many_failed(redriven: int, failed_again: int, max_percent: float) -> bool:
    """Return whether a run has to stop: more than `max_percent` of its redriven dead letters failed again."""
    return redriven >= SAMPLE and 100 * failed_again > max_percent * redriven


def _number(value: Any) -> int:
    try:
        return max(0, int(value))
    except (OverflowError, TypeError, ValueError):
        return 0
