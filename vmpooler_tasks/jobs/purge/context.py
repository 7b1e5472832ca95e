"""What the parts of one purge cycle share."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from vmpooler_tasks.config import Settings
from vmpooler_tasks.jobs.purge.entries import StaleEntry, UndatedEntry
from vmpooler_tasks.jobs.purge.report import PurgeReport
from vmpooler_tasks.jobs.purge.report_thread import ReportThread
from vmpooler_tasks.model.names import NameSet
from vmpooler_tasks.model.purge import PurgeTarget
from vmpooler_tasks.model.staleness import AgeLimit
from vmpooler_tasks.store import Database, PendingReply
from vmpooler_tasks.store.purge.state import PurgeLock
from vmpooler_tasks.store.vmpooler import queues
from vmpooler_tasks.store.vmpooler.queues import FirstSeen


@dataclass(slots=True)
class PurgeContext:
    """One cycle. `now` is its one instant, in seconds since the epoch; `queued` are the VMs found in queues so far.

    `unreadable_queues` are those that could not be read: any VM may be in them.
    """

    db: Database
    settings: Settings
    now: float
    report: PurgeReport
    report_thread: ReportThread
    lock: PurgeLock
    force: bool = False
    queued: NameSet = field(default_factory=NameSet)
    unreadable_queues: set[bytes] = field(default_factory=set)

    @property
    def dry_run(self) -> bool:
        return self.report.dry_run

    def limit(self, target: PurgeTarget) -> AgeLimit:
        """Return the age above which an entry of this target is stale."""
        config = self.settings.config
        max_ages = {
            PurgeTarget.PENDING: config.max_pending_age,
            PurgeTarget.READY: config.max_ready_age,
            PurgeTarget.COMPLETED: config.max_completed_age,
            PurgeTarget.ORPHANED: config.max_orphaned_age,
            PurgeTarget.REQUESTS: config.max_request_age,
        }
        return AgeLimit.at(self.now, max_ages[target])

    def query_first_seen(
        self, target: PurgeTarget, pool: str, undated: Sequence[UndatedEntry]
    ) -> PendingReply[FirstSeen]:
        """Query when these entries were first seen. Unless this is a dry run, new ones are remembered as of now."""
        names = [entry.vm for entry in undated]
        if self.dry_run:
            return queues.query_first_seen(self.db, target, pool, names)
        return queues.remember_first_seen(self.db, target, pool, names, now=self.now)

    def report_entries(self, target: PurgeTarget, pool: str, entries: Sequence[StaleEntry], limit: AgeLimit) -> None:
        """Report that these entries were purged or, in a dry run, found."""
        self.report_thread.submit(target, pool, entries, limit.max_age_seconds)
