"""Metadata whose VM is in no queue of any pool. The guide's section: Auto-Purge, Orphaned Metadata."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from vmpooler_tasks.errors import WrongTypeError
from vmpooler_tasks.jobs.purge.context import KnownTooLong, PurgeContext, Unknown
from vmpooler_tasks.jobs.purge.pipeline import Steps, convey
from vmpooler_tasks.jobs.purge.report_thread import Stale
from vmpooler_tasks.model.names import ORPHANED, readable
from vmpooler_tasks.model.staleness import ORPHAN_FIELD, Aged
from vmpooler_tasks.store import keys
from vmpooler_tasks.store.purge import batches as purging
from vmpooler_tasks.store.purge.batches import Candidate
from vmpooler_tasks.store.redis.chunks import chunks
from vmpooler_tasks.store.vmpooler import queues

MOST_HELD = 20_000
"""Orphans that are held until every queue is known; beyond, the queues are looked for first."""


def purge_orphans(cycle: PurgeContext, pools: Iterable[str], walked: Iterable[bytes]) -> None:
    """Lets old metadata expire that no queue names and that does not expire already.

    `walked` are the queues whose names are in `cycle.queued` already. The queues of pools that nobody configures any
    more are met on the way; a batch is looked for in them as well, at the instant when it is purged.
    """
    every_queue = {key for pool in pools for key in keys.queues(pool)}
    for key in every_queue.difference(walked):
        _add_names(cycle, key)
    remembered: set[int] = set()
    stale: list[Stale] = []
    all_known = False
    for steps in _judgements(cycle, every_queue, stale, remembered):
        convey(steps)
        if len(stale) >= MOST_HELD:
            if not all_known:
                every_queue.update(key for _, found in queues.keyspace(cycle.db) for key in found)
                all_known = True
            _expire_all(cycle, every_queue, stale)
    _expire_all(cycle, every_queue, stale)
    if not cycle.dry_run:
        queues.forget_others(cycle.db, ORPHANED, "", remembered)


def _add_names(cycle: PurgeContext, key: bytes) -> None:
    try:
        for names in queues.names(cycle.db, key):
            cycle.queued.update(map(hash, names))
    except WrongTypeError as error:
        cycle.report.error(f"Error checking queue '{readable(key)}': {error}")


def _judgements(
    cycle: PurgeContext, every_queue: set[bytes], stale: list[Stale], remembered: set[int]
) -> Iterator[Iterator[Steps]]:
    """What is to be done for VMs that were met in no queue, some batches at a time."""
    batches = _unqueued(cycle, every_queue)
    while some := list(islice(batches, MOST_HELD // queues.PAGE)):
        yield (_judge(cycle, vms, stale, remembered) for vms in some)


def _unqueued(cycle: PurgeContext, every_queue: set[bytes]) -> Iterator[list[bytes]]:
    """VMs with metadata that were met in no queue, a full batch at a time; adds the queues it meets."""
    waiting: list[bytes] = []
    for vms, queue_keys in queues.keyspace(cycle.db):
        cycle.lock.renew()
        every_queue.update(queue_keys)
        waiting += [vm for vm in vms if hash(vm) not in cycle.queued]
        while len(waiting) >= queues.PAGE:
            yield waiting[: queues.PAGE]
            waiting = waiting[queues.PAGE :]
    if waiting:
        yield waiting


def _judge(cycle: PurgeContext, vms: Sequence[bytes], stale: list[Stale], remembered: set[int]) -> Steps:
    """Adds the stale ones among `vms` to `stale`."""
    answer = queues.metadata(cycle.db, vms, ORPHAN_FIELD)
    yield
    limit, unknown = cycle.limit(ORPHANED), list[Unknown]()
    for vm, stamp in answer.unexpiring(vms):
        judgement = limit.judge(stamp)
        if isinstance(judgement, Aged):
            stale.append(Stale(vm, judgement.stamp, judgement.seconds))
            cycle.queued.add(hash(vm))  # so that it is judged once, though SCAN may name it twice
        elif judgement is not None:
            if judgement.complaint:
                what = readable(keys.vm(vm))
                cycle.report.error(f"Error checking orphaned metadata '{what}': {judgement.complaint}")
            unknown.append((vm, judgement.stamp))
    if unknown:
        remembered.update(hash(vm) for vm, _ in unknown)
        known = KnownTooLong(cycle, ORPHANED, "", unknown, remember=not cycle.dry_run)
        yield
        stale += known.result()


def _expire_all(cycle: PurgeContext, every_queue: set[bytes], stale: list[Stale]) -> None:
    """Lets them expire, or reports them; `stale` is empty afterwards."""
    most = purging.orphans_per_call(len(every_queue), queues.PAGE // 2)
    parts = list(chunks(stale, most))
    stale.clear()
    convey(_expire(cycle, sorted(every_queue), part) for part in parts)


def _expire(cycle: PurgeContext, every_queue: Sequence[bytes], stale: Sequence[Stale]) -> Steps:
    cycle.lock.renew()
    if cycle.dry_run:
        done = queues.unqueued(cycle.db, [entry.vm for entry in stale], every_queue)
    else:
        batch = purging.expire_orphans(cycle.db, every_queue, [Candidate(e.vm, e.stamp) for e in stale])
        yield
        done, _ = batch.result()
        cycle.report.purged[ORPHANED] += sum(done)
    orphans = [entry for entry, alone in zip(stale, done, strict=True) if alone]
    cycle.report.find(ORPHANED, "", len(orphans))
    cycle.tell(ORPHANED, "", orphans)
