"""Compare what the benchmark counted with the recorded counts: they depend on the program alone, not on the machine.

CI runs `python -m tests.benchmarks --small --compare`. After a change that is meant, `--record` instead of `--compare`
writes tests/benchmarks/recorded.json again. Both leave out the parts that were not measured.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tests.benchmarks.rows import Row

FILE = Path(__file__).with_name("recorded.json")
ALLOWED = 4 / 3
"""A count may grow by less than a third."""


def compare(rows: Sequence[Row], recorded: Mapping[str, float]) -> list[str]:
    """Return a sentence for each count that has grown, or that is recorded and was not measured."""
    return list(_differences(counts(rows), recorded, {row.part for row in rows}))


def unrecorded(rows: Sequence[Row], recorded: Mapping[str, float]) -> list[str]:
    """Return the names of the counts without a record."""
    return sorted(counts(rows).keys() - recorded.keys())


def counts(rows: Sequence[Row]) -> dict[str, float]:
    return {row.name: row.value for row in rows if row.counted}


def read() -> dict[str, float]:
    found: dict[str, float] = json.loads(FILE.read_text(encoding="utf-8"))
    return found


def write(rows: Sequence[Row]) -> None:
    """Record the counts of the measured parts, and keep those of the others."""
    measured = {row.part for row in rows}
    kept = {name: value for name, value in read().items() if _part(name) not in measured} if FILE.exists() else {}
    found = dict(sorted({**kept, **counts(rows)}.items()))
    FILE.write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _differences(measured: Mapping[str, float], recorded: Mapping[str, float], parts: set[str]) -> Iterator[str]:
    for name, before in recorded.items():
        if name in measured and measured[name] >= before * ALLOWED and measured[name] > before:
            yield f"{name}: {before:g} is recorded, {measured[name]:g} was counted, at least a third more"
        elif name not in measured and _part(name) in parts:
            yield f"{name}: {before:g} is recorded, and it is no longer counted"


def _part(name: str) -> str:
    return name.split(" | ", maxsplit=1)[0]
