"""The purge of metadata whose VM is in no queue of any pool. docs/operator-guide.md: Auto-Purge."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from vmpooler_tasks.errors import WrongTypeError
from vmpooler_tasks.jobs.purge import pipeline
from vmpooler_tasks.jobs.purge.context import PurgeContext
from vmpooler_tasks.jobs.purge.entries import StaleEntry, UndatedEntry, stale_since_first_seen
from vmpooler_tasks.model.names import NameSet, on_one_line, readable
from vmpooler_tasks.model.purge import PurgeTarget
from vmpooler_tasks.model.staleness import ORPHAN_FIELD, StaleAge, Stamp
from vmpooler_tasks.store import keys
from vmpooler_tasks.store.purge import batches
from vmpooler_tasks.store.purge.batches import BatchResult, Candidate
from vmpooler_tasks.store.redis.chunks import chunks
from vmpooler_tasks.store.vmpooler import queues

_log = logging.getLogger("vmpooler_tasks.purge")

MAX_HELD = 20_000
"""Orphans that are held until every queue is known. Beyond, the keyspace is scanned for queues first."""


def purge_orphans(context: PurgeContext, pools: Iterable[str], read_queues: Iterable[bytes]) -> None:
    """Let old metadata expire that belongs to no queued VM and does not expire already.

    While a queue of these pools cannot be read nothing expires: any VM may be in it.

    The names in `read_queues` are in `context.queued` already. Queues of pools that are no longer configured are found
    on the way; each batch is checked against these as well, at the instant at which it is purged.
    """
    OrphanPurge(context, pools).run(read_queues)


class OrphanPurge:
    """The purge of orphaned metadata. `every_queue` grows while the keyspace is scanned.

    `stale` are orphans that wait for their expiry. `undated` are those without a usable timestamp.
    """

    def __init__(self, context: PurgeContext, pools: Iterable[str]) -> None:
        self.context = context
        self.limit = context.limit(PurgeTarget.ORPHANED)
        self.every_queue = {key for pool in pools for key in keys.queues(pool)}
        self.stale: list[StaleEntry] = []
        self.undated = NameSet()
        self._knows_every_queue = False

    def run(self, read_queues: Iterable[bytes]) -> None:
        for key in self.every_queue.difference(read_queues):
            self._add_queued_names(key)
        if self.context.unreadable_queues:
            self._log_skipped()
            return
        pages = self._unqueued_pages()
        while some := list(islice(pages, MAX_HELD // queues.PAGE)):
            pipeline.run(MetadataPage(self, vms) for vms in some)
            if len(self.stale) >= MAX_HELD:
                self._find_every_queue()
                self._expire_stale()
        self._expire_stale()
        if not self.context.dry_run:
            queues.forget_others(self.context.db, PurgeTarget.ORPHANED, "", self.undated)

    def _log_skipped(self) -> None:
        names = on_one_line(", ".join(sorted(map(readable, self.context.unreadable_queues))))
        _log.warning("[!] [purge] Skipped orphaned metadata: its VMs may be in a queue that cannot be read: %s", names)

    def _add_queued_names(self, key: bytes) -> None:
        try:
            for names in queues.read_names(self.context.db, key):
                self.context.queued.add(names)
        except WrongTypeError as error:
            self.context.unreadable_queues.add(key)
            self.context.report.add_error(f"Error checking queue '{readable(key)}': {error}")

    def _unqueued_pages(self) -> Iterator[list[bytes]]:
        """Yield VMs with metadata that were found in no queue, a full page at a time. Collect the queues on the way."""
        waiting: list[bytes] = []
        for vms, queue_keys in queues.scan_keyspace(self.context.db):
            self.context.lock.renew()
            self.every_queue.update(queue_keys)
            waiting += self.context.queued.missing(vms)
            while len(waiting) >= queues.PAGE:
                yield waiting[: queues.PAGE]
                waiting = waiting[queues.PAGE :]
        if waiting:
            yield waiting

    def _find_every_queue(self) -> None:
        """Scan the keyspace for queues, once."""
        if not self._knows_every_queue:
            self.every_queue.update(key for _, found in queues.scan_keyspace(self.context.db) for key in found)
            self._knows_every_queue = True

    def _expire_stale(self) -> None:
        """Let the stale orphans expire, or report them. `stale` is empty afterwards."""
        size = batches.orphans_per_call(len(self.every_queue), queues.PAGE // 2)
        parts, every_queue = list(chunks(self.stale, size)), sorted(self.every_queue)
        self.stale.clear()
        pipeline.run(ExpiryBatch(self.context, every_queue, part) for part in parts)


class MetadataPage(pipeline.Page):
    """VMs that were found in no queue: which of them have stale metadata that does not expire?"""

    def __init__(self, purge: OrphanPurge, vms: Sequence[bytes]) -> None:
        super().__init__()
        self._purge, self._context, self._vms = purge, purge.context, vms
        self._undated: list[UndatedEntry] = []

    def start(self) -> None:
        self.wait_for(queues.query_unexpiring(self._context.db, self._vms, ORPHAN_FIELD), self._classify)

    def _classify(self, unexpiring: Sequence[tuple[bytes, Stamp]]) -> None:
        stale: list[StaleEntry] = []
        for vm, stamp in unexpiring:
            age = self._purge.limit.classify(stamp)
            if isinstance(age, StaleAge):
                stale.append(StaleEntry(vm, age.stamp, age.seconds))
            elif age is not None:
                if age.problem:
                    what = readable(keys.vm(vm))
                    self._context.report.add_error(f"Error checking orphaned metadata '{what}': {age.problem}")
                self._undated.append(UndatedEntry(vm, age.stamp))
        self._purge.stale += stale
        self._context.queued.add(entry.vm for entry in stale)  # SCAN may return a VM twice: it is classified once
        if self._undated:
            self._purge.undated.add(entry.vm for entry in self._undated)
            pending = self._context.query_first_seen(PurgeTarget.ORPHANED, "", self._undated)
            self.wait_for(pending, self._add_first_seen)

    def _add_first_seen(self, first_seen: queues.FirstSeen) -> None:
        self._purge.stale += stale_since_first_seen(self._purge.limit, self._undated, first_seen)


class ExpiryBatch(pipeline.Page):
    """Stale orphans: those that are still in no queue get their expiry or, in a dry run, are reported."""

    def __init__(self, context: PurgeContext, every_queue: Sequence[bytes], stale: Sequence[StaleEntry]) -> None:
        super().__init__()
        self._context, self._every_queue, self._stale = context, every_queue, stale

    def start(self) -> None:
        context = self._context
        context.lock.renew()
        if context.dry_run:
            self._report(queues.are_unqueued(context.db, [entry.vm for entry in self._stale], self._every_queue))
            return
        candidates = [Candidate(entry.vm, entry.stamp) for entry in self._stale]
        self.wait_for(batches.expire_orphans(context.db, self._every_queue, candidates), self._settle)

    def _settle(self, result: BatchResult) -> None:
        self._context.report.purged[PurgeTarget.ORPHANED] += sum(result.purged)
        self._report(result.purged)

    def _report(self, flags: Sequence[bool]) -> None:
        orphans = [entry for entry, is_orphan in zip(self._stale, flags, strict=True) if is_orphan]
        self._context.report.found[PurgeTarget.ORPHANED] += len(orphans)
        limit = self._context.limit(PurgeTarget.ORPHANED)
        self._context.report_entries(PurgeTarget.ORPHANED, "", orphans, limit)
