"""Send the metrics of a health check from this process."""

import os
from functools import cache

from vmpooler_tasks.metrics.push import MetricsPublisher
from vmpooler_tasks.model.health.assessment import Assessment
from vmpooler_tasks.model.health.metrics import HealthMetrics
from vmpooler_tasks.tasks.process import settings


def publish(metrics: HealthMetrics, assessment: Assessment, epoch: float) -> None:
    """Send the metrics to the servers that the configuration names, without waiting."""
    _publisher(os.getpid()).publish(metrics, assessment, epoch)


@cache
def _publisher(process_id: int) -> MetricsPublisher:
    del process_id  # a forked child has none of its parent's threads
    return MetricsPublisher(settings())
