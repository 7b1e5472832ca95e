"""The table at the end of a soak: each resource of each process, each family of keys, each account."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tests.soak.books import Account
from tests.soak.trends import Trend


@dataclass(frozen=True)
class Row:
    """The trend of one value, its bound, and whether it is kept."""

    what: str
    trend: Trend
    bound: float

    @property
    def is_flat(self) -> bool:
        return self.trend.growth <= self.bound


def table(rows: Iterable[Row], accounts: Sequence[Account]) -> str:
    lines = ["", "| in the second half | median | growth | bound | |", "|---|---|---|---|---|"]
    lines += [
        f"| {row.what} | {row.trend.middle:.1f} | {row.trend.growth:+.1f} | {row.bound:.1f} | {_word(row.is_flat)} |"
        for row in rows
    ]
    lines += ["", "| made, and kept | made | kept | |", "|---|---|---|---|"]
    lines += [
        f"| {one.what} | {one.made} | {one.kept} | {one.difference or _word(one.is_balanced)} |" for one in accounts
    ]
    return "\n".join(lines)


def _word(is_right: bool) -> str:
    return "" if is_right else "**no**"
