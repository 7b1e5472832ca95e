"""The purge of one queue in each pool. docs/operator-guide.md: Auto-Purge.

Every page of a queue passes these phases, several pages at the same time: its stale entries are known (`QueuePurge`),
the ages of its undated entries are known, its dead letters are prepared, its batch is sent, its batch is settled.
"""

from collections.abc import Iterator, Sequence

from vmpooler_tasks.config.schema import as_yaml
from vmpooler_tasks.errors import WrongTypeError
from vmpooler_tasks.jobs.deadletters.retention import dead_letter_limits, log_trimmed
from vmpooler_tasks.jobs.purge import pipeline
from vmpooler_tasks.jobs.purge.context import PurgeContext
from vmpooler_tasks.jobs.purge.entries import PageEntries, StaleEntry, UndatedEntry, stale_since_first_seen
from vmpooler_tasks.jobs.purge.report import log_dead_letters
from vmpooler_tasks.model.deadletters.entry import RequestOrigin, failed_vm
from vmpooler_tasks.model.names import DeadLetterQueue, NameSet, Queue, readable
from vmpooler_tasks.model.purge import PurgeTarget, SkippedQueue
from vmpooler_tasks.model.staleness import TIMESTAMP_FIELD, UnknownAge
from vmpooler_tasks.model.timestamps import whole_seconds
from vmpooler_tasks.store import PendingReply, keys
from vmpooler_tasks.store.purge import batches
from vmpooler_tasks.store.purge.batches import BatchResult, Candidate
from vmpooler_tasks.store.vmpooler import queues

NO_MAX_PERCENT = 100
"""The value of purge_max_percent that allows every share."""


def purge_queues(context: PurgeContext, queue: Queue, pools: Sequence[str]) -> None:
    """Purge this queue in each pool, or report what would be purged.

    A queue that cannot be read is reported, and stops no other.
    """
    purges = [QueuePurge(context, queue, pool) for pool in pools]
    pipeline.run(page for purge in purges for page in purge.pages())
    for purge in purges:
        purge.finish()


class QueuePurge:
    """The purge of one queue of one pool.

    `undated` are the entries without a usable timestamp that stay in the queue. `found` counts the stale ones.
    """

    def __init__(self, context: PurgeContext, queue: Queue, pool: str) -> None:
        self.context, self.queue, self.pool = context, queue, pool
        self.target = PurgeTarget(queue.value)
        self.limit = context.limit(self.target)
        self.undated = NameSet()
        self.found = 0
        self._was_read = False

    def pages(self) -> Iterator["QueuePage"]:
        """Read the queue and yield its pages, unless purge_max_percent forbids to purge it."""
        try:
            if self._has_max_percent() and not self.context.dry_run and self._skip_after_count():
                return
            for entries in self._read(report_problems=True):
                yield QueuePage(self, entries)
            self._was_read = True
        except WrongTypeError as error:
            self.context.unreadable_queues.add(keys.queue(self.queue, self.pool))
            self.report_error(error)

    def finish(self) -> None:
        """Forget undated entries that left. A dry run instead reports whether purge_max_percent would be exceeded."""
        if not self._was_read:
            return
        if not self.context.dry_run:
            queues.forget_others(self.context.db, self.queue, self.pool, self.undated)
        elif self._has_max_percent():
            self._skip_if_too_many(self.found)

    def report_error(self, error: WrongTypeError) -> None:
        """Report that the queue, or what belongs to its entries, is of the wrong type in Redis."""
        message = f"Error checking {self.queue} queue of '{self.pool}': {error}"
        self.context.report.add_error(message, queue=str(self.queue), pool=self.pool)

    def _read(self, *, report_problems: bool) -> Iterator[PageEntries]:
        """Read the queue page by page. A VM that comes twice is classified once."""
        limit, classified = self.limit, set[bytes]()
        for names, stamps in queues.read_pages(self.context.db, self.queue, self.pool, TIMESTAMP_FIELD[self.queue]):
            self.context.lock.renew()
            page = PageEntries(names, [], [])
            for index in limit.not_surely_fresh(stamps):
                name, age = names[index], limit.classify(stamps[index])
                if age is None or name in classified:
                    continue
                classified.add(name)
                if not isinstance(age, UnknownAge):
                    page.stale.append(StaleEntry(name, age.stamp, age.seconds))
                    continue
                page.undated.append(UndatedEntry(name, age.stamp))
                if report_problems and age.problem:
                    message = f"Error checking {self.queue} VM '{readable(name)}': {age.problem}"
                    self.context.report.add_error(message)
            yield page

    def _has_max_percent(self) -> bool:
        return self.context.settings.config.purge_max_percent < NO_MAX_PERCENT and not self.context.force

    def _skip_after_count(self) -> bool:
        """Count the stale entries first, changing nothing. Return whether the queue is skipped for their share."""
        count, names = 0, NameSet()
        for page in self._read(report_problems=False):
            names.add(page.names)
            count += len(page.stale) + self._count_stale(page.undated)
        is_skipped = self._skip_if_too_many(count)
        if is_skipped:
            self.context.queued |= names
        return is_skipped

    def _count_stale(self, undated: Sequence[UndatedEntry]) -> int:
        if not undated:
            return 0
        names = [entry.vm for entry in undated]
        first_seen = queues.query_first_seen(self.context.db, self.queue, self.pool, names).read()
        return len(stale_since_first_seen(self.limit, undated, first_seen))

    def _skip_if_too_many(self, count: int) -> bool:
        """Report the queue as skipped if purge_max_percent forbids to purge so many entries. Return whether it does."""
        context, max_percent = self.context, self.context.settings.config.purge_max_percent
        size = queues.size(context.db, self.queue, self.pool)
        percent = 100 * count / size if size else 0
        if percent <= max_percent:
            return False
        context.report.skipped_queues.append(SkippedQueue(self.pool, str(self.queue), round(percent, 1)))
        context.report.add_error(
            f"{'Would skip' if context.dry_run else 'Skipped'} the {self.queue} queue of '{self.pool}': "
            f"{count} of {size} entries are stale ({percent:.1f} %), "
            f"more than purge_max_percent ({as_yaml(max_percent)} %)",
            queue=str(self.queue),
            pool=self.pool,
        )
        return True


class QueuePage(pipeline.Page):
    """One page of a queue, on its way through the phases of a purge."""

    def __init__(self, purge: QueuePurge, entries: PageEntries) -> None:
        super().__init__()
        self._purge, self._context = purge, purge.context
        self._names, self._stale, self._undated = entries

    def advance(self) -> bool:
        """Run the next phase. A key of the wrong type is reported and ends this page alone."""
        try:
            return super().advance()
        except WrongTypeError as error:
            self._purge.report_error(error)
            return False

    def start(self) -> None:
        """Query since when the undated entries are known, if there are any."""
        if not self._undated:
            self._purge_stale()
            return
        purge = self._purge
        purge.undated.add(entry.vm for entry in self._undated)
        pending = self._context.query_first_seen(purge.target, purge.pool, self._undated)
        self.wait_for(pending, self._add_first_seen)

    def _add_first_seen(self, first_seen: queues.FirstSeen) -> None:
        self._stale += stale_since_first_seen(self._purge.limit, self._undated, first_seen)
        self._purge_stale()

    def _purge_stale(self) -> None:
        """Now all ages are known. Count the stale entries, and prepare their batch unless this is a dry run."""
        self._purge.found += len(self._stale)
        self._context.report.found[self._purge.target] += len(self._stale)
        self._add_queued_names()
        if self._context.dry_run:
            self._report(self._stale)
        elif self._stale and self._purge.queue is Queue.PENDING:
            names = [entry.vm for entry in self._stale]
            origins = queues.query_fields(self._context.db, names, b"request_id", b"pool_alias")
            self.wait_for(origins, self._prepare_dead_letters)
        elif self._stale:
            self._send_batch([Candidate(entry.vm, entry.stamp) for entry in self._stale])

    def _add_queued_names(self) -> None:
        """Note that the VMs are in a queue, except those that leave completed: they are orphans in this same cycle."""
        if self._leaves_queues:
            leaving = {entry.vm for entry in self._stale}
            self._context.queued.add(name for name in self._names if name not in leaving)
        else:
            self._context.queued.add(self._names)

    @property
    def _leaves_queues(self) -> bool:
        return self._purge.queue is Queue.COMPLETED and not self._context.dry_run

    def _prepare_dead_letters(self, origins: Sequence[Sequence[bytes | None]]) -> None:
        """Write a dead letter for each stale entry, with the request and the alias that its VM was made for."""
        self._send_batch(
            [
                Candidate(entry.vm, entry.stamp, self._dead_letter(entry, *origin))
                for entry, origin in zip(self._stale, origins, strict=True)
            ]
        )

    def _send_batch(self, candidates: Sequence[Candidate]) -> None:
        self.wait_for(self._batch(candidates), self._settle)

    def _batch(self, candidates: Sequence[Candidate]) -> PendingReply[BatchResult]:
        context, pool = self._context, self._purge.pool
        match self._purge.queue:
            case Queue.PENDING:
                limits, data_ttl = dead_letter_limits(context.settings), context.settings.redis.data_ttl * 3600
                return batches.purge_pending(
                    context.db, pool, candidates, now=context.now, limits=limits, data_ttl_seconds=data_ttl
                )
            case Queue.READY:
                return batches.purge_ready(context.db, pool, candidates)
            case _:
                return batches.purge_completed(context.db, pool, candidates)

    def _settle(self, result: BatchResult) -> None:
        """Count and report the entries that are purged. The others moved or changed meanwhile, and stay."""
        flags = list(zip(self._stale, result.purged, strict=True))
        purged = [entry for entry, is_purged in flags if is_purged]
        self._context.report.purged[self._purge.target] += len(purged)
        self._purge.undated.remove(entry.vm for entry in purged)
        if self._leaves_queues:
            self._context.queued.add(entry.vm for entry, is_purged in flags if not is_purged)
        if self._purge.queue is Queue.PENDING and (limits := dead_letter_limits(self._context.settings)):
            log_trimmed(DeadLetterQueue.PENDING, result.trimmed, limits)
            log_dead_letters(self._purge.pool, ((entry.vm, self._reason(entry)) for entry in purged))
        self._report(purged)

    def _report(self, entries: Sequence[StaleEntry]) -> None:
        self._context.report_entries(self._purge.target, self._purge.pool, entries, self._purge.limit)

    def _dead_letter(self, entry: StaleEntry, request_id: bytes | None, pool_alias: bytes | None) -> str:
        now = self._context.now
        return failed_vm(
            queue=DeadLetterQueue.PENDING,
            vm=entry.vm,
            pool=self._purge.pool,
            error_class="Purge",
            error_message=self._reason(entry),
            now=now,
            origin=RequestOrigin(request_id=request_id, pool_alias=pool_alias),
            identity=entry.stamp or str(now).encode(),
        ).member()

    def _reason(self, entry: StaleEntry) -> str:
        max_age = as_yaml(self._purge.limit.max_age_seconds)
        return f"Stale pending VM (age: {whole_seconds(entry.age_seconds)}s > max: {max_age}s)"
