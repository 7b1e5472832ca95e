"""What Redis holds at the moment of the scrape, for Prometheus."""

from collections.abc import Iterator, Mapping
from math import inf

from prometheus_client.core import Metric

from vmpooler_tasks.config import Settings
from vmpooler_tasks.jobs.purge.options import PURGED_QUEUES
from vmpooler_tasks.metrics.families import Labelled, counter, counters, gauge, gauges, histogram
from vmpooler_tasks.model.names import ORPHANED, WORK_QUEUES, DeadLetterQueue, Queue
from vmpooler_tasks.store.health.snapshot import Messages, PoolSnapshot, Snapshot
from vmpooler_tasks.store.pools import breakers
from vmpooler_tasks.store.purge import batches

_LETTERS = {
    "dropped": "Dead letters that left for want of room.",
    "expired": "Dead letters that left for their age.",
    "redriven": "Dead letters that were run again.",
    "obsolete": "Dead letters that a redrive closed, since nobody wants them any more.",
    "deleted": "Dead letters that somebody deleted.",
}


def families(now: Snapshot, settings: Settings, epoch: float) -> Iterator[Metric]:
    yield from _letters(now)
    yield from _purges(now)
    yield from _pools(now, settings, epoch)
    yield from _vms(now.counters)
    yield from _processes(now)


def messages(found: Messages | None) -> Iterator[Metric]:
    """Without samples, if the broker does not answer."""
    waiting = found.waiting if found else {}
    yield gauges(
        "vmpooler_celery_queue_messages",
        "Messages that wait for a worker, of any priority.",
        ("queue",),
        (((queue,), count) for queue, count in waiting.items()),
    )
    yield gauge(
        "vmpooler_celery_unacknowledged_messages",
        "Messages that workers hold, of all queues.",
        found.unacknowledged if found else None,
    )


def _letters(now: Snapshot) -> Iterator[Metric]:
    yield gauges(
        "vmpooler_dlq_size",
        "Dead letters.",
        ("queue",),
        (((str(queue),), size) for queue, size in now.dlq_sizes.items()),
    )
    yield counters(
        "vmpooler_dlq_letters_total",
        "Dead letters that were put in, by class of error.",
        ("queue", "error_class"),
        _by_class(now.counters),
    )
    for what, text in _LETTERS.items():
        samples = [((str(queue),), now.counters.get(f"dead_letters_{what}:{queue}", 0)) for queue in DeadLetterQueue]
        yield counters(f"vmpooler_dlq_{what}_total", text, ("queue",), samples)


def _by_class(counted: Mapping[str, float]) -> Iterator[Labelled]:
    for name, count in counted.items():
        kind, _, rest = name.partition(":")
        queue, _, error_class = rest.partition(":")
        if kind == "dead_letters_of" and queue in set(DeadLetterQueue):
            yield (queue, error_class), count


def _purges(now: Snapshot) -> Iterator[Metric]:
    counted = now.counters
    # Of the pools that there are: the counters of former ones stay in Redis.
    purged = [
        ((str(queue), pool), counted.get(batches.counter(queue, pool), 0))
        for pool in now.pools
        for queue in PURGED_QUEUES
    ]
    purged.append(((ORPHANED, ""), counted.get(batches.counter(ORPHANED), 0)))
    yield counters(
        "vmpooler_purged_total", "Entries that were purged; orphaned metadata of no pool.", ("queue", "pool"), purged
    )
    yield counters(
        "vmpooler_purge_cycles_total",
        "Purge cycles, also of a part of the queues.",
        ("result",),
        [(("done",), counted.get("purge_cycles", 0)), (("failed",), counted.get("purge_failures", 0))],
    )
    yield histogram(
        "vmpooler_purge_duration_seconds",
        "How long whole purge cycles took that did not fail.",
        [
            (inf if bound is None else bound, counted.get(batches.duration_counter(bound), 0))
            for bound in (*batches.DURATION_BOUNDS, None)
        ],
        counted.get("purge_seconds", 0),
    )
    yield gauge("vmpooler_purge_last_start_timestamp_seconds", "When the last purge cycle began.", now.purge_started)
    yield gauge("vmpooler_purge_last_end_timestamp_seconds", "When the last purge cycle ended.", now.purge_finished)


def _pools(now: Snapshot, settings: Settings, epoch: float) -> Iterator[Metric]:
    yield gauges(
        "vmpooler_pool_size",
        "VMs that a pool should have ready.",
        ("pool",),
        (((name,), _size(settings, name, pool)) for name, pool in now.pools.items()),
    )
    yield gauges(
        "vmpooler_pool_vms",
        "VMs in a pool's queue.",
        ("pool", "queue"),
        (((name, str(queue)), size) for name, pool in now.pools.items() for queue, size in pool.vms.items()),
    )

    def is_open(until: float | None) -> int:
        return int(until is not None and breakers.is_suspended(until, epoch, settings.config.breaker_seconds))

    yield gauges(
        "vmpooler_pool_breaker_open",
        "1 if a pool is left alone, since its clones fail for good.",
        ("pool",),
        (((name,), is_open(pool.suspended_until)) for name, pool in now.pools.items()),
    )
    yield gauges(
        "vmpooler_provider_breaker_open",
        "1 if a provider is left alone, since it fails.",
        ("provider",),
        (((name,), is_open(until)) for name, until in now.suspended_until.items()),
    )


def _size(settings: Settings, name: str, found: PoolSnapshot) -> int:
    pool = settings.pool(name)
    return found.size(pool.size if pool else None)


def _vms(counted: Mapping[str, float]) -> Iterator[Metric]:
    yield counter("vmpooler_vms_destroyed_total", "VMs that were destroyed.", counted.get("vms_destroyed", 0))
    yield counter("vmpooler_clones_failed_total", "Clones that failed.", counted.get("clones_failed", 0))
    yield counters(
        "vmpooler_vms_failed_total",
        "VMs that failed after they were cloned, by the queue they were in.",
        ("queue",),
        [((str(queue),), counted.get(f"vms_failed:{queue}", 0)) for queue in (Queue.PENDING, Queue.READY)],
    )
    yield counter(
        "vmpooler_requests_failed_total",
        "On-demand requests that a purge failed for their age.",
        counted.get("requests_failed", 0),
    )


def _processes(now: Snapshot) -> Iterator[Metric]:
    yield gauges(
        "vmpooler_workers",
        "Workers alive that take messages from the queue.",
        ("queue",),
        (((queue,), sum(queue in worker.queues for worker in now.workers)) for queue in WORK_QUEUES),
    )
    yield gauge("vmpooler_beats", "Beats alive.", len(now.beats))
    yield gauges(
        "vmpooler_schedule_last_tick_timestamp_seconds",
        "When an entry of the schedule was last sent.",
        ("entry",),
        (((entry,), epoch) for entry, epoch in now.last_ticks.items()),
    )
