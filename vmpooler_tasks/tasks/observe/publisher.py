"""This process's way to the metrics servers."""

import os
from functools import cache

from vmpooler_tasks.metrics.push import Post
from vmpooler_tasks.model.health.status import Assessment, Metrics
from vmpooler_tasks.tasks.process import settings


def publish(metrics: Metrics, verdict: Assessment, epoch: float) -> None:
    """Sends what a health check found, and does not wait for it."""
    _post(os.getpid()).publish(metrics, verdict, epoch)


@cache
def _post(process: int) -> Post:
    del process  # a forked child has none of its parent's threads
    return Post(settings())
