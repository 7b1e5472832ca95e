"""Keep the results in docs/performance/, and write them into the documents as tables and plots.

A part of tests/benchmarks/parts.py names its document: docs/performance.md or docs/scaling.md.

`make bench` calls it with what it measured: the rows of these parts, on this server, replace those of before. Each part
keeps the machine, the date and the number of rounds of its own run.
"""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.benchmarks.parts import PARTS, Plot
from tests.benchmarks.plots import Line, line_plot
from tests.benchmarks.report import machine_line
from tests.benchmarks.rows import Row, Table

DOCS = Path(__file__).parents[2] / "docs"
FOLDER = "performance"
RESULTS = "results.json"
BEGIN, END = "<!-- figures: written by make bench -->", "<!-- figures: end -->"

Results = dict[str, dict[str, Any]]
"""Part → server → {machine, date, runs, rows}."""


def keep(result: Mapping[str, Any], docs: Path = DOCS) -> None:
    """Replace the results of the measured parts, and write their documents and plots again."""
    results = read(docs)
    machine = result["machine"]
    run = {"date": time.strftime("%Y-%m-%d", time.gmtime()), "machine": machine, "runs": result["runs"]}
    written = set[str]()
    for part in PARTS:
        if rows := [fields for fields in result["rows"] if fields["part"] == part]:
            rounds = 1 if PARTS[part].is_measured_once else run["runs"]
            results.setdefault(part, {})[machine["server"].split()[0]] = {**run, "runs": rounds, "rows": rows}
            written.add(PARTS[part].document)
    folder = docs / FOLDER
    folder.mkdir(exist_ok=True)
    (folder / RESULTS).write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    for plot, lines in _drawn(results):
        line_plot(plot, lines, folder / f"{plot.file}.svg")
    for name in written:
        file = docs / f"{name}.md"
        file.write_text(with_figures(file.read_text(encoding="utf-8"), results, name), encoding="utf-8")


def read(docs: Path = DOCS) -> Results:
    file = docs / FOLDER / RESULTS
    found: Results = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    return found


def with_figures(text: str, results: Results, document: str = "performance") -> str:
    """Return the document with its figures between its marks."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{figures(results, document)}{END}{after}"


def figures(results: Results, document: str) -> str:
    measured = [name for name, part in PARTS.items() if name in results and part.document == document]
    return "".join(f"{paragraph}\n\n" for name in measured for paragraph in _section(name, results))


def _section(name: str, results: Results) -> Iterator[str]:
    part, servers = PARTS[name], results[name]
    yield f"### {part.title}"
    yield part.note
    for server in sorted(servers, reverse=True):
        run = servers[server]
        yield f"**{server}**, {run['date']}: {machine_line(run['machine'])}; {_rounds(run['runs'])}."
        yield _markdown(_rows(run))
    for plot in part.plots:
        if _lines(plot, servers):
            yield f"![{plot.title}]({FOLDER}/{plot.file}.svg)"


def _rounds(count: int) -> str:
    return "1 round" if count == 1 else f"{count} rounds"


def _markdown(rows: Sequence[Row]) -> str:
    table = Table.of(rows, _cell)
    lines = (table.columns, ["---"] * len(table.columns), *table.lines)
    return "\n".join(_markdown_line(line) for line in lines)


def _markdown_line(cells: Sequence[str]) -> str:
    escaped = [cell.replace("|", "\\|") for cell in cells]
    return f"| {' | '.join(escaped)} |"


def _cell(row: Row) -> str:
    if not row.target:
        return row.text
    return f"{row.text} ({row.target})" if row.is_met else f"**{row.text}** ({row.target}, missed)"


def _drawn(results: Results) -> Iterator[tuple[Plot, Sequence[Line]]]:
    for name, part in PARTS.items():
        for plot in part.plots:
            if lines := _lines(plot, results.get(name, {})):
                yield plot, lines


def _lines(plot: Plot, servers: Mapping[str, Mapping[str, Any]]) -> list[Line]:
    lines: dict[str, list[tuple[float, float]]] = {}
    for server in sorted(servers, reverse=True):
        for row in _rows(servers[server]):
            if row.measure == plot.measure and row.at is not None:
                lines.setdefault(f"{row.what}, {server}", []).append((row.at, row.value))
    return [Line(name, tuple(points)) for name, points in lines.items()]


def _rows(run: Mapping[str, Any]) -> list[Row]:
    return [Row.from_json(fields) for fields in run["rows"]]
