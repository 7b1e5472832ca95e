"""Dead letters that are run again: what their successors carry, and when a run of redrives ends by itself."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

POISON_AFTER = 3
"""Times that a letter may come back before only its id redrives it."""

SAMPLE = 10
"""Redriven letters before the share of those that failed again says anything."""

DEFAULT_RATE = 10.0
"""Letters a second, so that failures can be seen before everything is sent."""


DEFAULT_MAX_FAILED = 50.0
"""Percent of a run that may fail again."""


OWN_PREFIX = "vmpooler_tasks."


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnTasks:
    """Our own tasks. `repeated`: those that come again by themselves. `destroy`: the one for a VM."""

    names: frozenset[str]
    repeated: frozenset[str]
    destroy: str

    def lacks(self, task: str) -> bool:
        """Whether no worker can know it: it has a name of ours, and we have none of that name. Others have theirs."""
        return task.startswith(OWN_PREFIX) and task not in self.names


class RunState(StrEnum):
    """Of one run of redrives."""

    RUNNING = "running"
    DONE = "done"
    CANCELLED = "cancelled"
    STOPPED = "stopped"
    """Too many failed again."""


class Outcome(StrEnum):
    """What became of one letter."""

    REDRIVEN = "redriven"
    OBSOLETE = "obsolete"
    """Nobody wants it any more: it is closed."""

    KEPT = "kept"
    """It cannot be run again, and stays."""

    GONE = "gone"
    """It had left meanwhile."""

    WAIT = "wait"
    """There is no free slot now."""

    MOVED_ON = "moved_on"
    """Somebody else drives this run, or it has ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineage:
    """What a successor carries: the letter that it comes from, how often it was redriven, and in which run."""

    dead_letter_id: str
    redrives: int
    retry_count: int
    run: str

    def as_fields(self) -> dict[str, str | int]:
        return {
            "redrive_of": self.dead_letter_id,
            "redrives": self.redrives,
            "retry_count": self.retry_count,
            "run": self.run,
        }


def read_lineage(fields: object) -> Lineage | None:
    """The inverse of `as_fields`; None where there is none."""
    if not isinstance(fields, Mapping) or not fields.get("redrive_of"):
        return None
    return Lineage(
        dead_letter_id=str(fields["redrive_of"]),
        redrives=_number(fields.get("redrives")),
        retry_count=_number(fields.get("retry_count")),
        run=str(fields.get("run") or ""),
    )


def successor(letter: Mapping[str, Any], run: str) -> Lineage:
    """What the successor of a letter with these fields carries."""
    return Lineage(
        dead_letter_id=str(letter["id"]),
        redrives=redrives(letter) + 1,
        retry_count=_number(letter.get("retry_count")) + 1,
        run=run,
    )


def redrives(letter: Mapping[str, Any]) -> int:
    """How often it was redriven before."""
    return _number(letter.get("redrives"))


def is_poison(letter: Mapping[str, Any]) -> bool:
    return redrives(letter) >= POISON_AFTER


def too_many_failed(redriven: int, failed_again: int, most_percent: float) -> bool:
    return redriven >= SAMPLE and 100 * failed_again > most_percent * redriven


def _number(value: Any) -> int:
    try:
        return max(0, int(value))
    except (OverflowError, TypeError, ValueError):
        return 0
