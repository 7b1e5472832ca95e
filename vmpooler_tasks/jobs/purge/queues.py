"""The stale entries of one queue of one pool. The guide's section: Auto-Purge."""

from collections.abc import Callable, Iterator, Sequence

from vmpooler_tasks.config.schema import shown
from vmpooler_tasks.errors import WrongTypeError
from vmpooler_tasks.jobs.deadletters.retention import dead_letter_limits, log_trimmed
from vmpooler_tasks.jobs.purge.context import KnownTooLong, PurgeContext, Unknown
from vmpooler_tasks.jobs.purge.pipeline import Steps, convey
from vmpooler_tasks.jobs.purge.report import log_dead_letters
from vmpooler_tasks.jobs.purge.report_thread import Stale
from vmpooler_tasks.model.deadletters.entry import RequestOrigin, failed_vm
from vmpooler_tasks.model.names import DeadLetterQueue, Queue, readable
from vmpooler_tasks.model.staleness import TIMESTAMP_FIELD, AgeLimit, Doubt
from vmpooler_tasks.model.timestamps import whole_seconds
from vmpooler_tasks.store.purge import batches
from vmpooler_tasks.store.purge.batches import Batch, Candidate
from vmpooler_tasks.store.vmpooler import queues

NO_LIMIT = 100
"""The share, in percent, that is every share."""

Page = tuple[Sequence[bytes], list[Stale], list[Unknown]]
"""Of one page: all names, the stale entries, and those without a usable timestamp."""


def purge_queues(cycle: PurgeContext, queue: Queue, pools: Sequence[str]) -> None:
    """Purges this queue of each pool, or reports what would be purged.

    What cannot be looked at is reported and stops nothing else.
    """
    remembered: dict[str, set[int]] = {}
    convey(steps for pool in pools for steps in _purge_queue(cycle, queue, pool, remembered))
    if not cycle.dry_run:
        for pool, names in remembered.items():
            queues.forget_others(cycle.db, queue, pool, names)
    elif _has_limit(cycle):
        for pool in remembered:
            _spare_if_too_many(cycle, queue, pool, cycle.report.found_in[queue, pool])


def _purge_queue(cycle: PurgeContext, queue: Queue, pool: str, remembered: dict[str, set[int]]) -> Iterator[Steps]:
    try:
        if not cycle.dry_run and _has_limit(cycle):
            count, met = _count_stale(cycle, queue, pool)
            if _spare_if_too_many(cycle, queue, pool, count):
                cycle.queued |= met
                return
        names: set[int] = set()
        for page in _pages(cycle, queue, pool, cycle.report.error):
            yield _reported(cycle, queue, pool, _purge_page(cycle, queue, pool, page, names))
        remembered[pool] = names
    except WrongTypeError as error:
        _report(cycle, queue, pool, error)


def _reported(cycle: PurgeContext, queue: Queue, pool: str, steps: Steps) -> Steps:
    try:
        yield from steps
    except WrongTypeError as error:
        _report(cycle, queue, pool, error)


def _report(cycle: PurgeContext, queue: Queue, pool: str, error: WrongTypeError) -> None:
    cycle.report.error(f"Error checking {queue} queue of '{pool}': {error}", queue=str(queue), pool=pool)


def _has_limit(cycle: PurgeContext) -> bool:
    return cycle.settings.config.purge_max_percent < NO_LIMIT and not cycle.force


def _spare_if_too_many(cycle: PurgeContext, queue: Queue, pool: str, count: int) -> bool:
    """Whether purge_max_percent forbids to take so many; then it is told."""
    most, size = cycle.settings.config.purge_max_percent, queues.size(cycle.db, queue, pool)
    percent = 100 * count / size if size else 0
    if percent <= most:
        return False
    cycle.report.spared.append((pool, str(queue), round(percent, 1)))
    left = "Would leave" if cycle.dry_run else "Left"
    cycle.report.error(
        f"{left} the {queue} queue of '{pool}' alone: {count} of {size} entries are stale ({percent:.1f} %), "
        f"more than purge_max_percent ({shown(most)} %)",
        queue=str(queue),
        pool=pool,
    )
    return True


def _count_stale(cycle: PurgeContext, queue: Queue, pool: str) -> tuple[int, set[int]]:
    """(how many are stale, the hashes of all names); changes nothing, and leaves complaints to who acts."""
    count, met = 0, set[int]()
    for names, stale, unknown in _pages(cycle, queue, pool, lambda _: None):
        met.update(map(hash, names))
        count += len(stale)
        if unknown:
            count += len(KnownTooLong(cycle, queue, pool, unknown, remember=False).result())
    return count, met


def _pages(cycle: PurgeContext, queue: Queue, pool: str, complain: Callable[[str], None]) -> Iterator[Page]:
    """The queue page by page; a VM that comes twice is judged once."""
    limit, judged = cycle.limit(queue), set[bytes]()
    for names, stamps in queues.pages(cycle.db, queue, pool, TIMESTAMP_FIELD[queue]):
        cycle.lock.renew()
        stale: list[Stale] = []
        unknown: list[Unknown] = []
        for index in limit.doubtful(stamps):
            name, judgement = names[index], limit.judge(stamps[index])
            if judgement is None or name in judged:
                continue
            judged.add(name)
            if isinstance(judgement, Doubt):
                if judgement.complaint:
                    complain(f"Error checking {queue} VM '{readable(name)}': {judgement.complaint}")
                unknown.append((name, judgement.stamp))
            else:
                stale.append(Stale(name, judgement.stamp, judgement.seconds))
        yield names, stale, unknown


def _purge_page(cycle: PurgeContext, queue: Queue, pool: str, page: Page, remembered: set[int]) -> Steps:
    names, stale, unknown = page
    if unknown:
        remembered.update(hash(name) for name, _ in unknown)
        known = KnownTooLong(cycle, queue, pool, unknown, remember=not cycle.dry_run)
        yield
        stale += known.result()
    cycle.report.find(queue, pool, len(stale))
    # What leaves completed is in no queue any more: its metadata is looked at in this same cycle.
    doomed = {hash(entry.vm) for entry in stale} if queue is Queue.COMPLETED and not cycle.dry_run else set[int]()
    cycle.queued |= set(map(hash, names)) - doomed
    if stale and not cycle.dry_run:
        letters = [""] * len(stale)
        if queue is Queue.PENDING:
            origins = queues.fields(cycle.db, [entry.vm for entry in stale], b"request_id", b"pool_alias")
            yield
            limit = cycle.limit(queue)
            letters = [_letter(cycle, pool, limit, *pair) for pair in zip(stale, origins.result(), strict=True)]
        batch = _begin(cycle, queue, pool, stale, letters)
        yield
        stale = _taken(cycle, queue, pool, stale, batch)
        left = {hash(entry.vm) for entry in stale}
        remembered -= left
        cycle.queued |= doomed - left
    cycle.tell(queue, pool, stale)


def _begin(cycle: PurgeContext, queue: Queue, pool: str, stale: Sequence[Stale], letters: Sequence[str]) -> Batch:
    candidates = [Candidate(entry.vm, entry.stamp, letter) for entry, letter in zip(stale, letters, strict=True)]
    match queue:
        case Queue.PENDING:
            data_ttl = cycle.settings.redis.data_ttl * 3600
            limits = dead_letter_limits(cycle.settings)
            return batches.purge_pending(
                cycle.db, pool, candidates, now=cycle.now, limits=limits, data_ttl_seconds=data_ttl
            )
        case Queue.READY:
            return batches.purge_ready(cycle.db, pool, candidates)
        case _:
            return batches.purge_completed(cycle.db, pool, candidates)


def _taken(cycle: PurgeContext, queue: Queue, pool: str, stale: Sequence[Stale], batch: Batch) -> list[Stale]:
    done, trimmed = batch.result()
    taken = [entry for entry, gone in zip(stale, done, strict=True) if gone]
    cycle.report.purged[queue] += len(taken)
    if queue is Queue.PENDING and (limits := dead_letter_limits(cycle.settings)):
        log_trimmed(DeadLetterQueue.PENDING, trimmed, limits)
        limit = cycle.limit(queue)
        log_dead_letters(((entry.vm, _reason(entry, limit)) for entry in taken), pool)
    return taken


def _letter(cycle: PurgeContext, pool: str, limit: AgeLimit, entry: Stale, origin: Sequence[bytes | None]) -> str:
    request_id, pool_alias = origin
    return failed_vm(
        queue=DeadLetterQueue.PENDING,
        vm=entry.vm,
        pool=pool,
        error_class="Purge",
        error_message=_reason(entry, limit),
        now=cycle.now,
        origin=RequestOrigin(request_id=request_id, pool_alias=pool_alias),
        identity=entry.stamp or str(cycle.now).encode(),
    ).member()


def _reason(entry: Stale, limit: AgeLimit) -> str:
    return f"Stale pending VM (age: {whole_seconds(entry.age)}s > max: {shown(limit.max_age_seconds)}s)"
