"""The removal of secrets from texts of doubling sizes: its time grows with the size, whatever the text is."""

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from tests.benchmarks.rows import Figures, Row
from tests.support.secret_texts import PIECES, REPEATED
from vmpooler_tasks.model.redaction import redacted_text

SIZES = tuple(2**exponent * 1024 for exponent in range(4, 10))
"""Characters."""


def measure_redaction(runs: int, say: Callable[[str], None]) -> list[dict[str, Any]]:
    """Return for each size the time of the slowest of all texts, and the sum of all."""
    units = sorted({*REPEATED, *PIECES})
    say(f"redaction: {len(units)} kinds of text")
    return [_measure(units, size, runs) for size in SIZES]


def _measure(units: list[str], size: int, runs: int) -> dict[str, Any]:
    seconds = {unit: min(_seconds(unit, size) for _ in range(runs)) for unit in units}
    slowest = max(units, key=seconds.__getitem__)
    return {
        "characters": size,
        "texts": len(units),
        "seconds": sum(seconds.values()),
        "slowest": slowest,
        "slowest_seconds": seconds[slowest],
    }


def _seconds(unit: str, size: int) -> float:
    text = (unit * (size // len(unit) + 1))[:size]
    started_at = time.perf_counter()
    redacted_text(text)
    return time.perf_counter() - started_at


def rows(sizes: Sequence[Figures]) -> Iterator[Row]:
    for half, one in zip((None, *sizes), sizes, strict=False):
        size = f"{one['characters'] // 1024} KiB"
        row = partial(Row, part="redaction", case=f"{one['texts']} kinds of text", what=size)
        yield row(measure="all", value=one["seconds"] * 1000, unit=" ms", digits=0)
        if half:
            yield row(measure="all, x half", value=one["seconds"] / half["seconds"], unit="x", digits=1)
        slowest = one["slowest_seconds"]
        yield row(measure="slowest", value=slowest * 1000, unit=" ms", digits=1, note=repr(one["slowest"]))
        if half:
            yield row(measure="slowest, x half", value=slowest / half["slowest_seconds"], unit="x", digits=1)
