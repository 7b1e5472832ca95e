"""Prometheus' families of samples, built from the table of metrics and from values that may be missing or odd."""

import heapq
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from vmpooler_tasks.metrics.table import METRICS, MetricType

Labelled = tuple[tuple[str, ...], Any]
"""The values of the labels, and the sample."""


MAX_ERROR_CLASSES = 100
"""Classes of errors in one family and queue. The scripts count 50 of each queue; anyone may write to Redis."""

MAX_LABEL_CHARACTERS = 500


def single(name: str, value: Any) -> Metric:
    """Return a family without labels; it has no sample if `value` is not a finite number."""
    return family(name, [((), value)])


def family(name: str, samples: Iterable[Labelled]) -> Metric:
    """Return the family of a gauge or counter, with those samples that are finite numbers."""
    spec = METRICS[name]
    kind: Any = CounterMetricFamily if spec.type is MetricType.COUNTER else GaugeMetricFamily
    found = kind(name, spec.help, labels=spec.labels)
    # The format allows no sample twice.
    unique = {tuple(map(_as_label, labels)): value for labels, value in samples}
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


def bounded(counts: Mapping[str, Any]) -> dict[str, float]:
    """Return the counts of the most frequent names, at most MAX_ERROR_CLASSES, and the sum of all others as `other`."""
    numbers = {name: number for name, count in counts.items() if (number := finite_number(count)) is not None}
    kept = dict(heapq.nlargest(MAX_ERROR_CLASSES, numbers.items(), key=lambda item: (item[1], item[0])))
    if left_out := [number for name, number in numbers.items() if name not in kept]:
        kept["other"] = kept.get("other", 0) + math.fsum(left_out)
    return kept


def finite_number(value: Any) -> float | None:
    """Return the value as a float; None if it is not a finite number, or too large."""
    if not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _as_label(text: str) -> str:
    """Return the text, cut, with lone surrogates escaped: JSON may hold them, UTF-8 may not."""
    return text[:MAX_LABEL_CHARACTERS].encode("utf-8", "backslashreplace").decode()
