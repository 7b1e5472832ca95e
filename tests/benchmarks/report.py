"""Print the rows beside their targets. A missed target is not an error: machines differ."""

from collections.abc import Mapping, Sequence
from typing import Any

from tests.benchmarks.parts import PARTS
from tests.benchmarks.rows import Row, Table
from vmpooler_tasks.cli.shared.output import print_line, print_table


def show(result: Mapping[str, Any]) -> None:
    """Print a table for each part that was measured."""
    print_line(machine_line(result["machine"]) + f"; {result['runs']} rounds each")
    rows = [Row.from_json(fields) for fields in result["rows"]]
    for name, part in PARTS.items():
        if measured := [row for row in rows if row.part == name]:
            print_line("")
            print_line(f"{part.title}. {part.note}")
            _print_table(measured)


def machine_line(machine: Mapping[str, Any]) -> str:
    return (
        f"{machine['server']}, Python {machine['python']}, {machine['cores']} cores ({machine['processor']}), "
        f"load average at the start {machine['load_average']:.2f}"
    )


def _print_table(rows: Sequence[Row]) -> None:
    table = Table.of(rows, _beside_target)
    print_table([column.upper() for column in table.columns], table.lines)


def _beside_target(row: Row) -> str:
    return f"{row.text} ({row.target}: {'ok' if row.is_met else 'MISSED'})" if row.target else row.text
