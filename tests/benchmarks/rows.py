"""A result as a row: what was measured, of what, under which conditions, beside its target.

Each module that measures returns its own figures as JSON, and turns them into rows. Tables, the plots, the document and
the comparison in CI know rows alone.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

Figures = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One measured value. `part`, `case`, `what` and `measure` together name it."""

    part: str
    case: str
    """The conditions, such as `100,000 VMs in 10 pools`."""
    what: str
    """What was measured under these conditions, such as `purge`."""
    measure: str
    """Which of its values this is, a column of the table, such as `x floor`."""
    value: float
    unit: str = ""
    digits: int = 2
    maximum: float | None = None
    """The target: the value is to be no larger."""
    minimum: float | None = None
    note: str = ""
    """What else belongs to it, such as the commands that were counted. The last column of the table."""
    counted: bool = False
    """Whether the value depends on the program alone, and not on the machine: CI compares it with the recorded one."""
    at: float | None = None
    """The place on the horizontal axis, for a value in a plot: `what` names its line."""

    @property
    def name(self) -> str:
        return f"{self.part} | {self.case} | {self.what} | {self.measure}"

    @property
    def target(self) -> str:
        """Return the target, such as `≤ 1.5`, or an empty text."""
        if self.maximum is not None:
            return f"≤ {self.maximum:g}{self.unit}"
        return "" if self.minimum is None else f"≥ {self.minimum:g}{self.unit}"

    @property
    def is_met(self) -> bool:
        above = self.minimum is None or self.value >= self.minimum
        return above and (self.maximum is None or self.value <= self.maximum)

    @property
    def text(self) -> str:
        return f"{self.value:,.{self.digits}f}{self.unit}"

    def as_json(self) -> dict[str, Any]:
        """Return the fields that say something."""
        return {
            name: value
            for name, value in asdict(self).items()
            if value is not None and value is not False and value != ""
        }

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Self:
        return cls(**{"case": "", "what": "", **fields})


NOTES = "which"
"""The column of the notes."""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of one part side by side: a line for each case and thing, a column for each measure."""

    columns: Sequence[str]
    lines: Sequence[Sequence[str]]

    @classmethod
    def of(cls, rows: Iterable[Row], form: Callable[[Row], str]) -> Self:
        """Arrange the rows. `form` returns the text of a cell. A case stands in its first line only."""
        measures: dict[str, None] = {}
        lines: dict[tuple[str, str], dict[str, Row]] = {}
        for row in rows:
            measures[row.measure] = None
            lines.setdefault((row.case, row.what), {})[row.measure] = row
        columns = ["", "", *measures, NOTES]
        return cls(*_without_empty(columns, list(_texts(lines, list(measures), form))))


def _texts(
    lines: Mapping[tuple[str, str], Mapping[str, Row]], measures: Sequence[str], form: Callable[[Row], str]
) -> Iterator[Sequence[str]]:
    before = None
    for (case, what), measured in lines.items():
        cells = [form(measured[measure]) if measure in measured else "" for measure in measures]
        notes = ", ".join(row.note for row in measured.values() if row.note)
        yield ["" if case == before else case, what, *cells, notes]
        before = case


def _without_empty(
    columns: Sequence[str], lines: Sequence[Sequence[str]]
) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
    kept = [place for place in range(len(columns)) if any(line[place] for line in lines)]
    return [columns[place] for place in kept], [[line[place] for place in kept] for line in lines]
