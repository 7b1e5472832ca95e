"""What the parts of one purge cycle share."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import NamedTuple

from vmpooler_tasks.config import Settings
from vmpooler_tasks.jobs.purge_report import PurgeReport
from vmpooler_tasks.model.names import ORPHANED, Queue
from vmpooler_tasks.model.staleness import AgeLimit
from vmpooler_tasks.store import Database, queues
from vmpooler_tasks.store.purging import PurgeLock


class Stale(NamedTuple):
    """An entry to be purged: its name, its timestamp as read (b"" for none), its age in seconds."""

    vm: bytes
    stamp: bytes
    age: float


Unknown = tuple[bytes, bytes]
"""An entry without a usable timestamp: its name, its timestamp as read."""


@dataclass(slots=True)
class Cycle:
    """`queued` are the hashes of the names met in queues: as good as the names, at half their memory."""

    db: Database
    settings: Settings
    now: float
    report: PurgeReport
    lock: PurgeLock
    force: bool = False
    queued: set[int] = field(default_factory=set)
    _scribe: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "purge-log"))
    _told: list[Future[None]] = field(default_factory=list)

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

    def known_for_too_long(
        self, what: str, pool: str, limit: AgeLimit, unknown: Sequence[Unknown], remembered: set[int]
    ) -> Iterator[list[Stale]]:
        """Those without a usable timestamp age from when they were first seen: answered after one pause."""
        remembered.update(hash(name) for name, _ in unknown)
        names = [name for name, _ in unknown]
        answer = queues.first_seen(self.db, what, pool, names, now=None if self.dry_run else self.now)
        yield []
        since = answer.result()
        yield [
            Stale(name, stamp, age)
            for (name, stamp), first in zip(unknown, since, strict=True)
            if first is not None and (age := limit.stale_since(float(first))) is not None
        ]

    def tell(self, what: str, pool: str, entries: Sequence[Stale], limit: AgeLimit) -> None:
        """Reports these entries one by one, beside the cycle: thousands of log lines take longer than the purge."""
        if entries:
            self._told.append(self._scribe.submit(self._tell, what, pool, entries, limit))

    def _tell(self, what: str, pool: str, entries: Sequence[Stale], limit: AgeLimit) -> None:
        for entry in entries:
            self.report.entry(what, pool, entry.vm, entry.age, limit.max_age_seconds)

    def finish_telling(self) -> None:
        """Waits until everything is told. Raises what telling raised."""
        self._scribe.shutdown()
        for told in self._told:
            told.result()
