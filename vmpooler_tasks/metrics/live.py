"""What Redis holds at the moment of the scrape, for Prometheus."""

from collections.abc import Iterator, Mapping
from heapq import nsmallest
from math import inf

from prometheus_client.core import Metric

from vmpooler_tasks.config import Settings
from vmpooler_tasks.metrics.families import Labelled, bounded, family, histogram, single
from vmpooler_tasks.model.names import WORK_QUEUES, DeadLetterQueue, Queue
from vmpooler_tasks.model.notifications.message import NotificationResult
from vmpooler_tasks.model.purge import PURGED_QUEUES, PurgeTarget
from vmpooler_tasks.store.health.snapshot import Messages, Snapshot
from vmpooler_tasks.store.purge import batches
from vmpooler_tasks.store.purge import state as purge_state

MAX_SCHEDULE_ENTRIES = 50
"""Entries of the schedule, those with the shortest names first. Ours have short names; anyone may write to Redis."""

_DEAD_LETTER_COUNTERS = ("dropped", "expired", "redriven", "obsolete", "deleted")


def families(now: Snapshot, settings: Settings) -> Iterator[Metric]:
    """Return all families of this module, made from one snapshot."""
    yield from _dead_letters(now)
    yield from _purges(now)
    yield from _pools(now, settings)
    yield from _vms(now.counters)
    yield from _orders(now)
    yield from _processes(now)
    yield from _messages(now.messages)
    yield family("vmpooler_notifications_total", _notifications(now.counters, settings))


def _messages(found: Messages | None) -> Iterator[Metric]:
    """Families without samples if the broker does not reply."""
    waiting = found.waiting if found else {}
    yield family("vmpooler_celery_queue_messages", (((queue,), count) for queue, count in waiting.items()))
    yield single("vmpooler_celery_unacknowledged_messages", found.unacknowledged if found else None)


def _dead_letters(now: Snapshot) -> Iterator[Metric]:
    yield family("vmpooler_dlq_size", (((str(queue),), size) for queue, size in now.dlq_sizes.items()))
    yield family("vmpooler_dlq_bytes", (((str(queue),), count) for queue, count in now.dlq_bytes.items()))
    yield family("vmpooler_dlq_letters_total", _by_class(now.counters))
    for event in _DEAD_LETTER_COUNTERS:
        counts = [((str(queue),), now.counters.get(f"dead_letters_{event}:{queue}", 0)) for queue in DeadLetterQueue]
        yield family(f"vmpooler_dlq_{event}_total", counts)


def _by_class(counters: Mapping[str, float]) -> Iterator[Labelled]:
    for queue in DeadLetterQueue:
        prefix = f"dead_letters_of:{queue}:"
        counts = {name.removeprefix(prefix): count for name, count in counters.items() if name.startswith(prefix)}
        for error_class, count in bounded(counts).items():
            yield (str(queue), error_class), count


def _purges(now: Snapshot) -> Iterator[Metric]:
    counters = now.counters
    # Only of the present pools: the counters of former pools stay in Redis.
    purged = [
        ((str(queue), pool), counters.get(batches.counter(PurgeTarget(queue.value), pool), 0))
        for pool in now.pools
        for queue in PURGED_QUEUES
    ]
    purged.append(((PurgeTarget.ORPHANED, ""), counters.get(batches.counter(PurgeTarget.ORPHANED), 0)))
    yield family("vmpooler_purged_total", purged)
    yield family(
        "vmpooler_purge_cycles_total",
        [(("done",), counters.get("purge_cycles", 0)), (("failed",), counters.get("purge_failures", 0))],
    )
    yield histogram(
        "vmpooler_purge_duration_seconds",
        [
            (inf if bound is None else bound, counters.get(purge_state.duration_counter(bound), 0))
            for bound in (*purge_state.DURATION_BOUNDS, None)
        ],
        counters.get("purge_seconds", 0),
    )
    yield single("vmpooler_purge_last_start_timestamp_seconds", now.purge_started)
    yield single("vmpooler_purge_last_end_timestamp_seconds", now.purge_finished)


def _pools(now: Snapshot, settings: Settings) -> Iterator[Metric]:
    configured = {pool.name: pool.size for pool in settings.pools}
    yield family("vmpooler_pool_size", (((name,), pool.size(configured.get(name))) for name, pool in now.pools.items()))
    yield family(
        "vmpooler_pool_vms",
        (((name, str(queue)), size) for name, pool in now.pools.items() for queue, size in pool.vms.items()),
    )
    foreign = now.foreign
    yield family(
        "vmpooler_pool_foreign_vms",
        (((name,), foreign[name].count if name in foreign else 0) for name in now.pools),
    )
    yield family(
        "vmpooler_pool_breaker_open",
        (((name,), int(pool.suspended_until is not None)) for name, pool in now.pools.items()),
    )
    yield family(
        "vmpooler_provider_breaker_open",
        (((name,), int(until is not None)) for name, until in now.suspended_until.items()),
    )
    failing = now.failing_dns
    yield family(
        "vmpooler_dns_failures",
        (((name,), failing[name].failures if name in failing else 0) for name in settings.written_dns),
    )


def _vms(counters: Mapping[str, float]) -> Iterator[Metric]:
    yield single("vmpooler_vms_destroyed_total", counters.get("vms_destroyed", 0))
    yield single("vmpooler_clones_failed_total", counters.get("clones_failed", 0))
    yield family(
        "vmpooler_vms_failed_total",
        [((str(queue),), counters.get(f"vms_failed:{queue}", 0)) for queue in (Queue.PENDING, Queue.READY)],
    )
    yield single("vmpooler_requests_failed_total", counters.get("requests_failed", 0))


def _orders(now: Snapshot) -> Iterator[Metric]:
    waiting = now.waiting_orders
    yield family("vmpooler_orders_waiting", (((str(step),), count) for step, count in waiting.items()))
    for event in ("done", "failed"):
        counts = [((str(step),), now.counters.get(f"vm_orders_{event}:{step}", 0)) for step in waiting]
        yield family(f"vmpooler_orders_{event}_total", counts)


def _notifications(counters: Mapping[str, float], settings: Settings) -> Iterator[Labelled]:
    for target in settings.notify.targets:
        for result in NotificationResult:
            yield (target.name, str(result)), counters.get(f"notifications:{result}:{target.name}", 0)


def _processes(now: Snapshot) -> Iterator[Metric]:
    yield family(
        "vmpooler_workers",
        (((queue,), sum(queue in worker.queues for worker in now.fleet.workers)) for queue in WORK_QUEUES),
    )
    yield single("vmpooler_beats", len(now.fleet.beats))
    entries = nsmallest(MAX_SCHEDULE_ENTRIES, now.last_ticks, key=lambda name: (len(name), name))
    yield family(
        "vmpooler_schedule_last_tick_timestamp_seconds", (((entry,), now.last_ticks[entry]) for entry in entries)
    )
