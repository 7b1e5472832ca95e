"""The names of queues, and how text from Redis is held, read and shown."""

import json
import shlex
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Any, Self


class Queue(StrEnum):
    """The queues that a VM passes through. VMPooler keeps one set for each queue and pool."""

    PENDING = "pending"
    READY = "ready"
    RUNNING = "running"
    COMPLETED = "completed"
    DISCOVERED = "discovered"
    MIGRATING = "migrating"


INSPECTED_QUEUES = tuple(queue for queue in Queue if queue is not Queue.MIGRATING)
"""The queues that an inspection reads as a whole. VMPooler's API adds each VM that is checked out to migrating, too."""


class DeadLetterQueue(StrEnum):
    """The queues of dead letters, named after the queue in which work failed. `tasks` takes every other failed task."""

    PENDING = "pending"
    CLONE = "clone"
    READY = "ready"
    TASKS = "tasks"


WORK_QUEUES = ("vmpooler.clone", "vmpooler.check", "vmpooler.destroy", "vmpooler.maintenance")
"""The queues of Celery from which workers take tasks."""

CHECK_QUEUE = WORK_QUEUES[1]
"""The queue of the inspections of pools and the checks of VMs."""

MAINTENANCE_QUEUE = WORK_QUEUES[-1]
"""The queue of purges, health checks and redrives: every installation needs a worker that takes it."""


class NameSet:
    """A set of VM names that holds only their hashes: as good as the names, at half their memory."""

    __slots__ = ("_hashes",)

    def __init__(self, names: Iterable[bytes] = ()) -> None:
        self._hashes: set[int] = set(map(hash, names))

    def add(self, names: Iterable[bytes]) -> None:
        self._hashes.update(map(hash, names))

    def remove(self, names: Iterable[bytes]) -> None:
        self._hashes.difference_update(map(hash, names))

    def __ior__(self, other: Self) -> Self:
        self._hashes |= other._hashes
        return self

    def missing(self, names: Sequence[bytes]) -> list[bytes]:
        """Return the names that are not in the set, in their order."""
        held = self._hashes
        return [name for name in names if hash(name) not in held]


def readable(raw: bytes) -> str:
    r"""Return text from Redis as valid Unicode; bytes that are not UTF-8 become `\\xff`."""
    return raw.decode("utf-8", errors="backslashreplace")


def on_one_line(text: str) -> str:
    """Return the text with its control characters escaped, so that it cannot forge a second line in a log."""
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def shell_word(text: str) -> str:
    """Return the text as one word of a command that is shown to be copied: no name from outside is a second command."""
    if text.isprintable():
        return shlex.quote(text)
    quoted = text.replace("\\", "\\\\").replace("'", "\\'")
    # bash and zsh read these escapes as Python does, but \x80 and above are bytes there.
    return "$'" + "".join(f"\\u{ord(c):04x}" if "\x7f" < c <= "\xff" else on_one_line(c) for c in quoted) + "'"


def printable_json(
    value: Any,
    *,
    indent: int | None = None,
    separators: tuple[str, str] = (",", ":"),
    ascii_only: bool = False,
    **options: Any,
) -> str:
    r"""Return the value as JSON that a terminal shows as it is, compact without `indent`.

    JSON has to escape only what is below U+0020. Here every character that is not printable is escaped, since a
    terminal obeys C1 controls, and since bidirectional and invisible ones hide what a text says. A parser reads the
    same value.
    """
    chosen = None if indent else separators
    return escaped_json(json.dumps(value, ensure_ascii=ascii_only, indent=indent, separators=chosen, **options))


def escaped_json(text: str) -> str:
    """Return a JSON text with every character escaped that is not printable, but the ends of its lines."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in text)


def parsed_object(text: str | bytes) -> dict[str, Any]:
    """Return the object in a JSON text; an empty one if the text is something else."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def listed(names: Sequence[str], maximum: int) -> str:
    """Return the first names as one text: `a, b, c and 2 more`."""
    return names_text(names[:maximum], len(names))


def names_text(shown: Sequence[str], count: int) -> str:
    """Return the first names of `count` as one text: `a, b, c and 2 more`."""
    more = count - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")
