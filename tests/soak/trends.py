"""How much a measured value grows, without being misled by a single high or low sample."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import median

BUCKETS = 20
"""The second half is cut into so many parts of equal length. The median of each part counts."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A value, and the seconds since the start at which it was measured."""

    seconds: float
    value: float


@dataclass(frozen=True, slots=True)
class Trend:
    """`middle` is the median of the second half; `growth` is how much the value grew in it, by its slope."""

    middle: float
    growth: float

    def exceeds(self, floor: float, share: float) -> bool:
        """Return whether the value grew by more than `floor` and by more than this share of itself."""
        return self.growth > max(floor, share * self.middle)


def trend(samples: Sequence[Sample]) -> Trend:
    """Return the trend of the second half of the time: the first half is for caches, threads and connections to fill.

    The slope is the median of the slopes between any two parts (Theil and Sen). Up to a quarter of the samples may be
    wrong by any amount, as after a pause of the machine. Raise ValueError for less than two samples in the second half.
    """
    half = samples[-1].seconds / 2 if samples else 0.0
    points = _bucketed([sample for sample in samples if sample.seconds >= half])
    if len(points) < 2:
        raise ValueError("a trend needs two samples in the second half of the time")
    slopes = [(b.value - a.value) / (b.seconds - a.seconds) for a, b in combinations(points, 2)]
    return Trend(median(point.value for point in points), median(slopes) * (points[-1].seconds - points[0].seconds))


def _bucketed(samples: Sequence[Sample]) -> list[Sample]:
    """Return the median of the values in each part of the time, in its middle."""
    size = max(1, len(samples) // BUCKETS)
    parts = [samples[start : start + size] for start in range(0, len(samples), size)]
    return [Sample(median(one.seconds for one in part), median(one.value for one in part)) for part in parts]
