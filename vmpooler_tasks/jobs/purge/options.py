"""What a purge is asked for, by whomever: the command line, a task's arguments, beat."""

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from vmpooler_tasks.config import Settings
from vmpooler_tasks.errors import InvalidInputError, WrongTypeError
from vmpooler_tasks.jobs.purge.report import REQUESTS
from vmpooler_tasks.model.names import ORPHANED, Queue
from vmpooler_tasks.store import Database
from vmpooler_tasks.store.vmpooler import queues

PURGED_QUEUES = (Queue.PENDING, Queue.READY, Queue.COMPLETED)
QUEUES = (*map(str, PURGED_QUEUES), ORPHANED, REQUESTS)
"""What `queues` may name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PurgeOptions:
    """What is asked for. No `pools`: all; no `queues`: all, orphans and requests included.

    `force` runs a purge that is switched off, and overrules purge_max_percent. `who` and `why` go into the audit.
    """

    dry_run: bool = False
    force: bool = False
    pools: Sequence[str] = ()
    queues: Sequence[str] = ()
    keep_entries: bool = False
    who: str
    why: str | None = None

    @property
    def is_whole(self) -> bool:
        """Whether it is a whole cycle: a part of one says nothing of when the purge last ran."""
        return not self.pools and not self.queues


def check(db: Database, settings: Settings, order: PurgeOptions) -> None:
    """Raises InvalidInputError with all that is wrong: a task's arguments are JSON from anybody.

    Nothing may be purged, or reported as done, for an order that means something else.
    """
    problems = [*_wrong_types(order)] or [*_unknown_queues(order), *_unknown_pools(db, settings, order)]
    if problems:
        raise InvalidInputError("; ".join(problems))


def _wrong_types(order: PurgeOptions) -> Iterator[str]:
    for name in ("dry_run", "force", "keep_entries"):
        if not isinstance(value := getattr(order, name), bool):
            yield f"{name} must be true or false, not {value!r:.60}"
    for name in ("pools", "queues"):
        value = getattr(order, name)
        # A text is a sequence of texts to Python: "p1" would be the pools `p` and `1`.
        if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
            yield f"{name} must be a list of names, not {value!r:.60}"
    for name, kinds in (("who", str), ("why", str | None)):
        if not isinstance(value := getattr(order, name), kinds):
            yield f"{name} must be text, not {value!r:.60}"


def _unknown_queues(order: PurgeOptions) -> Iterator[str]:
    for queue in order.queues:
        if queue not in QUEUES:
            yield f"no queue {queue!r}{_hint(queue, QUEUES)}"


def _unknown_pools(db: Database, settings: Settings, order: PurgeOptions) -> Iterator[str]:
    if not order.pools:
        return
    known = {pool.name for pool in settings.pools} | _registered(db)
    for pool in order.pools:
        if pool not in known:
            yield f"no pool {pool!r}{_hint(pool, sorted(known))}"


def _registered(db: Database) -> set[str]:
    try:
        return set(queues.pool_names(db))
    except WrongTypeError:
        return set()  # which the cycle reports


def _hint(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {near[0]}?" if near else f"; there are {', '.join(known) or 'none'}"
