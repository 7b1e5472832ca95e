"""Prometheus' families of samples, put together from values that may be missing or come from anybody."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

Labelled = tuple[tuple[str, ...], Any]
"""The values of the labels, and the sample."""


def gauge(name: str, what: str, value: Any) -> Metric:
    """One without labels; without a sample, if `value` is no number."""
    return gauges(name, what, (), [((), value)])


def gauges(name: str, what: str, labels: Sequence[str], samples: Iterable[Labelled]) -> Metric:
    return _filled(GaugeMetricFamily(name, what, labels=labels), samples)


def counter(name: str, what: str, value: Any) -> Metric:
    return counters(name, what, (), [((), value)])


def counters(name: str, what: str, labels: Sequence[str], samples: Iterable[Labelled]) -> Metric:
    """`name` ends in `_total`."""
    return _filled(CounterMetricFamily(name, what, labels=labels), samples)


def histogram(name: str, what: str, buckets: Sequence[tuple[float, float]], total: float) -> Metric:
    """`buckets`: (upper bound, how many fell into this one alone); the last bound is infinity."""
    shown, count = list[tuple[str, float]](), 0.0
    for bound, inside in buckets:
        count += inside
        shown.append(("+Inf" if math.isinf(bound) else str(float(bound)), count))
    family = HistogramMetricFamily(name, what)
    family.add_metric([], shown, total)
    return family


def _filled(family: Any, samples: Iterable[Labelled]) -> Metric:
    unique = {tuple(map(_valid, labels)): value for labels, value in samples}  # the format allows no sample twice
    for labels, value in unique.items():
        if (number := finite_number(value)) is not None:
            family.add_metric(labels, number)
    filled: Metric = family
    return filled


def finite_number(value: Any) -> float | None:
    """None for what is none, or is too large to be one."""
    if not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _valid(text: str) -> str:
    """As UTF-8 can carry it: JSON may hold half a character."""
    return text.encode("utf-8", "backslashreplace").decode()
