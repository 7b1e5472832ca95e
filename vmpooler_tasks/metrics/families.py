"""Prometheus' families of samples, built from the table of metrics and from values that may be missing or odd."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from vmpooler_tasks.metrics.table import METRICS, MetricType

Labelled = tuple[tuple[str, ...], Any]
"""The values of the labels, and the sample."""


def single(name: str, value: Any) -> Metric:
    """Return a family without labels; it has no sample if `value` is not a finite number."""
    return family(name, [((), value)])


def family(name: str, samples: Iterable[Labelled]) -> Metric:
    """Return the family of a gauge or counter, with those samples that are finite numbers."""
    spec = METRICS[name]
    kind: Any = CounterMetricFamily if spec.type is MetricType.COUNTER else GaugeMetricFamily
    found = kind(name, spec.help, labels=spec.labels)
    # The format allows no sample twice.
    unique = {tuple(map(_as_utf8, labels)): value for labels, value in samples}
    for labels, value in unique.items():
        if (number := finite_number(value)) is not None:
            found.add_metric(labels, number)
    result: Metric = found
    return result


def histogram(name: str, buckets: Sequence[tuple[float, float]], total: float) -> Metric:
    """Return the family of a histogram. `buckets`: (upper bound, count in this bucket alone), the last is infinite."""
    cumulated, count = list[tuple[str, float]](), 0.0
    for bound, inside in buckets:
        count += inside
        cumulated.append(("+Inf" if math.isinf(bound) else str(float(bound)), count))
    found = HistogramMetricFamily(name, METRICS[name].help)
    found.add_metric([], cumulated, total)
    return found


def finite_number(value: Any) -> float | None:
    """Return the value as a float; None if it is not a finite number, or too large."""
    if not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _as_utf8(text: str) -> str:
    """Return the text with lone surrogates escaped: JSON may hold them, UTF-8 may not."""
    return text.encode("utf-8", "backslashreplace").decode()
