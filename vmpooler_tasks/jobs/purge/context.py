"""What the parts of one purge cycle share."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from vmpooler_tasks.config import Settings
from vmpooler_tasks.jobs.purge.report import PurgeReport
from vmpooler_tasks.jobs.purge.report_thread import Scribe, Stale
from vmpooler_tasks.model.names import ORPHANED, Queue
from vmpooler_tasks.model.staleness import AgeLimit
from vmpooler_tasks.store import Answer, Database
from vmpooler_tasks.store.purge.batches import PurgeLock
from vmpooler_tasks.store.vmpooler import queues

Unknown = tuple[bytes, bytes]
"""An entry without a usable timestamp: its name, its timestamp as read."""


@dataclass(slots=True)
class PurgeContext:
    """`queued` are the hashes of the names met in queues: as good as the names, at half their memory."""

    db: Database
    settings: Settings
    now: float
    report: PurgeReport
    scribe: Scribe
    lock: PurgeLock
    force: bool = False
    queued: set[int] = field(default_factory=set)

    @property
    def dry_run(self) -> bool:
        return self.report.dry_run

    def limit(self, what: str) -> AgeLimit:
        config = self.settings.config
        ages = {
            Queue.PENDING: config.max_pending_age,
            Queue.READY: config.max_ready_age,
            Queue.COMPLETED: config.max_completed_age,
            ORPHANED: config.max_orphaned_age,
        }
        return AgeLimit.at(self.now, ages[what])

    def tell(self, what: str, pool: str, entries: Sequence[Stale]) -> None:
        """Reports that these were purged or, in a dry run, found."""
        self.scribe.tell(what, pool, entries, self.limit(what).max_age_seconds)


class KnownTooLong:
    """A question under way: which of the entries without a usable timestamp are stale, counted from when they were
    first seen. Those that are new are remembered, unless `remember` is off.
    """

    def __init__(
        self, cycle: PurgeContext, what: str, pool: str, unknown: Sequence[Unknown], *, remember: bool
    ) -> None:
        self._limit, self._unknown = cycle.limit(what), unknown
        names = [name for name, _ in unknown]
        self._answer: Answer = queues.first_seen(cycle.db, what, pool, names, now=cycle.now if remember else None)

    def result(self) -> list[Stale]:
        """To be asked for once."""
        return [
            Stale(name, stamp, age)
            for (name, stamp), first in zip(self._unknown, self._answer.result(), strict=True)
            if first is not None and (age := self._limit.stale_since(float(first))) is not None
        ]
