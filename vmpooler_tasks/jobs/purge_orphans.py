"""Metadata whose VM is in no queue of any pool. The guide's section: Auto-Purge, Orphaned Metadata."""

from collections.abc import Iterable, Iterator, Sequence

from vmpooler_tasks.errors import WrongTypeError
from vmpooler_tasks.jobs.conveyor import Steps, convey
from vmpooler_tasks.jobs.purge_cycle import Cycle, Stale, Unknown
from vmpooler_tasks.model.names import ORPHANED, readable
from vmpooler_tasks.model.staleness import ORPHAN_FIELD, Age, AgeLimit, complaint
from vmpooler_tasks.store import keys, purging, queues
from vmpooler_tasks.store.purging import Candidate


def purge_orphans(cycle: Cycle, pools: Iterable[str], walked: Iterable[bytes]) -> None:
    """Lets old metadata expire that no queue names and that does not expire already.

    `walked` are the queues whose names are in `cycle.queued` already. The queues of pools that nobody configures any
    more are met on the way; a batch is looked for in them as well, at the instant when it is purged.
    """
    every_queue = {key for pool in pools for key in keys.queues(pool)}
    for key in every_queue.difference(walked):
        _add_names(cycle, key)
    limit = cycle.limit(ORPHANED)
    remembered: set[int] = set()
    stale: list[Stale] = []
    batches = _unqueued(cycle, every_queue)
    convey(_judge(cycle, limit, vms, stale, remembered) for vms in batches)
    # Only now every queue is known.
    most = queues.PAGE if cycle.dry_run else purging.orphans_per_call(len(every_queue), queues.PAGE)
    parts = [stale[start : start + most] for start in range(0, len(stale), most)]
    convey(_expire(cycle, limit, sorted(every_queue), part) for part in parts)
    if not cycle.dry_run:
        queues.forget_others(cycle.db, ORPHANED, "", remembered)


def _add_names(cycle: Cycle, key: bytes) -> None:
    try:
        for names in queues.names(cycle.db, key):
            cycle.queued.update(map(hash, names))
    except WrongTypeError as error:
        cycle.report.error(f"Error checking queue '{readable(key)}': {error}")


def _unqueued(cycle: Cycle, every_queue: set[bytes]) -> Iterator[list[bytes]]:
    """VMs with metadata that were met in no queue, a full batch at a time; adds the queues it meets."""
    met: set[int] = set()
    waiting: list[bytes] = []
    for vms, queue_keys in queues.keyspace(cycle.db):
        cycle.lock.renew()
        every_queue.update(queue_keys)
        for vm in [vm for vm in vms if hash(vm) not in cycle.queued]:
            if hash(vm) not in met:
                met.add(hash(vm))
                waiting.append(vm)
        while len(waiting) >= queues.PAGE:
            yield waiting[: queues.PAGE]
            waiting = waiting[queues.PAGE :]
    if waiting:
        yield waiting


def _judge(cycle: Cycle, limit: AgeLimit, vms: Sequence[bytes], stale: list[Stale], remembered: set[int]) -> Steps:
    """Adds the stale ones among `vms` to `stale`."""
    answer = queues.metadata(cycle.db, vms, ORPHAN_FIELD)
    yield
    unknown: list[Unknown] = []
    for vm, stamp in answer.unexpiring(vms):
        age = Age.MISSING if isinstance(stamp, int) else limit.stale_age(stamp)
        if isinstance(age, float):
            stale.append(Stale(vm, stamp or b"", age))  # type: ignore[arg-type]
        elif isinstance(age, Age):
            said = "it is no hash" if isinstance(stamp, int) else complaint(age, stamp)
            if said:
                cycle.report.error(f"Error checking orphaned metadata '{readable(keys.vm(vm))}': {said}")
            unknown.append((vm, b"" if isinstance(stamp, int) else stamp or b""))
    if unknown:
        for found in cycle.known_for_too_long(ORPHANED, "", limit, unknown, remembered):
            stale += found
            if not found:
                yield


def _expire(cycle: Cycle, limit: AgeLimit, every_queue: Sequence[bytes], stale: Sequence[Stale]) -> Steps:
    cycle.lock.renew()
    if cycle.dry_run:
        done = queues.unqueued(cycle.db, [entry.vm for entry in stale], every_queue)
    else:
        batch = purging.expire_orphans(cycle.db, every_queue, [Candidate(e.vm, e.stamp) for e in stale])
        yield
        done, _ = batch.result()
        cycle.report.purged[ORPHANED] += sum(done)
    orphans = [entry for entry, alone in zip(stale, done, strict=True) if alone]
    cycle.report.found[ORPHANED] += len(orphans)
    cycle.tell(ORPHANED, "", orphans, limit)
