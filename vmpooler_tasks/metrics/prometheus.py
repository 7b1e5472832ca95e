"""The text that Prometheus scrapes, read from Redis at that moment, so that workers need to share nothing."""

from collections.abc import Iterator, Sequence
from functools import cache
from importlib.metadata import version

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector

from vmpooler_tasks.clock import Clock
from vmpooler_tasks.config import Settings
from vmpooler_tasks.errors import VmpoolerTasksError
from vmpooler_tasks.jobs.health.read import broker_or_own, report_of
from vmpooler_tasks.metrics import live, recorded
from vmpooler_tasks.metrics.families import family, single
from vmpooler_tasks.model.health.status import Status
from vmpooler_tasks.model.names import WORK_QUEUES
from vmpooler_tasks.store import Database
from vmpooler_tasks.store.health import snapshot

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4


def exposition(db: Database, settings: Settings, clock: Clock, broker: Database | None = None) -> bytes:
    """Return every metric of docs/metrics.md. Without Redis: what is configured, and that health is unhealthy.

    `broker` is where Celery's messages are, if that is another Redis than `db` (CELERY_BROKER_URL).
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collected([*_configured(settings), *_read(db, settings, clock, broker)]))
    return generate_latest(registry)


class _Collected(Collector):
    """Families that were read before the registry collects them."""

    def __init__(self, families: Sequence[Metric]) -> None:
        self._families = families

    def collect(self) -> Sequence[Metric]:
        return self._families

    def describe(self) -> Sequence[Metric]:
        return ()


@cache
def _version() -> str:
    return version("vmpooler-tasks")  # from the disk, once; to import the package would import Celery


def _configured(settings: Settings) -> Iterator[Metric]:
    config = settings.config
    yield family("vmpooler_build_info", [((_version(),), 1)])
    yield single("vmpooler_purge_interval_seconds", config.purge_interval)
    yield single("vmpooler_health_check_interval_seconds", config.health_check_interval)
    yield single("vmpooler_dlq_max_entries", config.dlq_max_entries)
    yield single("vmpooler_dlq_max_bytes", config.dlq_max_bytes)


def _read(db: Database, settings: Settings, clock: Clock, broker: Database | None) -> Iterator[Metric]:
    try:
        now = clock()
        found = snapshot.read(
            db,
            pools=[pool.name for pool in settings.pools],
            providers=list(settings.providers),
            queues=WORK_QUEUES,
            broker=broker_or_own(db, settings, broker),
            is_observing=settings.config.observe_only,
        )
    except VmpoolerTasksError:
        yield single("vmpooler_redis_up", 0)
        yield recorded.status(Status.UNHEALTHY)
        return
    yield single("vmpooler_redis_up", 1)
    yield from recorded.families(report_of(found, settings, now), found.dlq_errors)
    yield from live.families(found, settings)
