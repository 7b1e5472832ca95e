"""The stale entries of one queue of one pool. The guide's section: Auto-Purge."""

from collections.abc import Iterator, Sequence

from vmpooler_tasks.config.schema import shown
from vmpooler_tasks.errors import WrongTypeError
from vmpooler_tasks.jobs.conveyor import Steps, convey
from vmpooler_tasks.jobs.keep import letter_limits, say_trimmed
from vmpooler_tasks.jobs.purge_cycle import Cycle, Stale, Unknown
from vmpooler_tasks.jobs.purge_report import PurgeReport, log_dead_letter
from vmpooler_tasks.model.deadletter import failed_vm
from vmpooler_tasks.model.names import DeadLetterQueue, Queue, readable
from vmpooler_tasks.model.staleness import TIMESTAMP_FIELD, Age, AgeLimit, complaint
from vmpooler_tasks.model.timestamps import whole_seconds
from vmpooler_tasks.store import purging, queues
from vmpooler_tasks.store.purging import Batch, Candidate

NO_LIMIT = 100
"""The share, in percent, that is every share."""

Page = tuple[Sequence[bytes], list[Stale], list[Unknown]]
"""Of one page: all names, the stale entries, and those without a usable timestamp."""


def purge_queues(cycle: Cycle, queue: Queue, pools: Sequence[str]) -> None:
    """Purges this queue of each pool, or reports what would be purged.

    What cannot be looked at is reported and stops nothing else.
    """
    remembered: dict[str, set[int]] = {}
    convey(steps for pool in pools for steps in _purge_queue(cycle, queue, pool, remembered))
    for pool, names in remembered.items() if not cycle.dry_run else ():
        queues.forget_others(cycle.db, queue, pool, names)


def _purge_queue(cycle: Cycle, queue: Queue, pool: str, remembered: dict[str, set[int]]) -> Iterator[Steps]:
    try:
        if not _takes_too_much(cycle, queue, pool):
            names: set[int] = set()
            for page in _pages(cycle, queue, pool):
                yield _reported(cycle, queue, pool, _purge_page(cycle, queue, pool, page, names))
            remembered[pool] = names
    except WrongTypeError as error:
        _report(cycle, queue, pool, error)


def _reported(cycle: Cycle, queue: Queue, pool: str, steps: Steps) -> Steps:
    try:
        yield from steps
    except WrongTypeError as error:
        _report(cycle, queue, pool, error)


def _report(cycle: Cycle, queue: Queue, pool: str, error: WrongTypeError) -> None:
    cycle.report.error(f"Error checking {queue} queue of '{pool}': {error}")


def _takes_too_much(cycle: Cycle, queue: Queue, pool: str) -> bool:
    """Whether purge_max_percent forbids it: a trial that changes nothing counts first."""
    most = cycle.settings.config.purge_max_percent
    if most >= NO_LIMIT or cycle.force:
        return False
    size = queues.size(cycle.db, queue, pool)
    trial = Cycle(cycle.db, cycle.settings, cycle.now, PurgeReport(dry_run=True, quiet=True), cycle.lock)
    convey(_purge_page(trial, queue, pool, page, set()) for page in _pages(trial, queue, pool))
    trial.finish_telling()
    cycle.queued |= trial.queued
    percent = 100 * trial.report.found[queue] / size if size else 0
    if percent <= most:
        return False
    cycle.report.spared.append((pool, str(queue), round(percent, 1)))
    cycle.report.error(
        f"Left the {queue} queue of '{pool}' alone: {trial.report.found[queue]} of {size} entries are stale "
        f"({percent:.1f} %), more than purge_max_percent ({most:g} %)"
    )
    return True


def _pages(cycle: Cycle, queue: Queue, pool: str) -> Iterator[Page]:
    """The queue page by page; a VM that comes twice is judged once."""
    limit, judged = cycle.limit(queue), set[bytes]()
    for names, stamps in queues.pages(cycle.db, queue, pool, TIMESTAMP_FIELD[queue]):
        cycle.lock.renew()
        stale: list[Stale] = []
        unknown: list[Unknown] = []
        for index in limit.doubtful(stamps):
            name, stamp = names[index], stamps[index]
            age = Age.MISSING if isinstance(stamp, int) else limit.stale_age(stamp)
            if age is None or name in judged:
                continue
            judged.add(name)
            if isinstance(age, float):
                stale.append(Stale(name, stamp or b"", age))  # type: ignore[arg-type]
                continue
            said = "its metadata is no hash" if isinstance(stamp, int) else complaint(age, stamp)
            if said:
                cycle.report.error(f"Error checking {queue} VM '{readable(name)}': {said}")
            unknown.append((name, b"" if isinstance(stamp, int) else stamp or b""))
        yield names, stale, unknown


def _purge_page(cycle: Cycle, queue: Queue, pool: str, page: Page, remembered: set[int]) -> Steps:
    names, stale, unknown = page
    limit = cycle.limit(queue)
    if queue is not Queue.COMPLETED:  # also if the server refuses the batch
        cycle.queued.update(map(hash, names))
    if unknown:
        for found in cycle.known_for_too_long(queue, pool, limit, unknown, remembered):
            stale += found
            if not found:
                yield
    cycle.report.found[queue] += len(stale)
    left: set[int] = set()
    taken = stale
    if stale and not cycle.dry_run:
        letters = [""] * len(stale)
        if queue is Queue.PENDING:
            origins = queues.fields(cycle.db, [entry.vm for entry in stale], b"request_id", b"pool_alias")
            yield
            letters = [_letter(cycle, pool, limit, *pair) for pair in zip(stale, origins.result(), strict=True)]
        batch = _begin(cycle, queue, pool, stale, letters)
        yield
        taken = _taken(cycle, queue, pool, limit, stale, batch)
        left = {hash(entry.vm) for entry in taken}
        remembered -= left
    cycle.tell(queue, pool, taken, limit)
    if queue is Queue.COMPLETED:
        # A VM that left completed is in no queue any more; its metadata is looked at in this same cycle.
        cycle.queued.update(set(map(hash, names)) - left)


def _begin(cycle: Cycle, queue: Queue, pool: str, stale: Sequence[Stale], letters: Sequence[str]) -> Batch:
    candidates = [Candidate(entry.vm, entry.stamp, letter) for entry, letter in zip(stale, letters, strict=True)]
    match queue:
        case Queue.PENDING:
            data_ttl = cycle.settings.redis.data_ttl * 3600
            limits = letter_limits(cycle.settings)
            return purging.purge_pending(
                cycle.db, pool, candidates, now=cycle.now, limits=limits, data_ttl_seconds=data_ttl
            )
        case Queue.READY:
            return purging.purge_ready(cycle.db, pool, candidates)
        case _:
            return purging.purge_completed(cycle.db, pool, candidates)


def _taken(cycle: Cycle, queue: Queue, pool: str, limit: AgeLimit, stale: Sequence[Stale], batch: Batch) -> list[Stale]:
    done, trimmed = batch.result()
    taken = [entry for entry, gone in zip(stale, done, strict=True) if gone]
    cycle.report.purged[queue] += len(taken)
    if queue is Queue.PENDING and (limits := letter_limits(cycle.settings)):
        say_trimmed(DeadLetterQueue.PENDING, trimmed, limits)
        for entry in taken:
            log_dead_letter(entry.vm, pool, _reason(entry, limit))
    return taken


def _letter(cycle: Cycle, pool: str, limit: AgeLimit, entry: Stale, origin: Sequence[bytes | None]) -> str:
    request_id, pool_alias = origin
    return failed_vm(
        queue=DeadLetterQueue.PENDING, vm=entry.vm, pool=pool, error_class="Purge",
        error_message=_reason(entry, limit), now=cycle.now, request_id=request_id, pool_alias=pool_alias,
        identity=entry.stamp or str(cycle.now).encode(),
    ).member()  # fmt: skip


def _reason(entry: Stale, limit: AgeLimit) -> str:
    return f"Stale pending VM (age: {whole_seconds(entry.age)}s > max: {shown(limit.max_age_seconds)}s)"
