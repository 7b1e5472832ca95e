"""Exports are text for terminals, and data without formulas for spreadsheets."""

import csv
import io
import json
import unicodedata
from collections.abc import Mapping

import pytest

from tests.support.hostile_names import HOSTILE_NAMES
from tests.support.odd_dead_letters import USUAL
from vmpooler_tasks.jobs.deadletters.export import COLUMNS, LINES, ExportFormat
from vmpooler_tasks.model.deadletters.entry import StoredDeadLetter, read_dead_letter
from vmpooler_tasks.model.names import DeadLetterQueue

SEPARATORS = (",", ";", "\t")
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "|", "%", "\u2212")


def entry(**fields: object) -> StoredDeadLetter:
    return read_dead_letter(DeadLetterQueue.CLONE, json.dumps({**USUAL, **fields}).encode(), 1.0)


def exported(form: ExportFormat, *entries: StoredDeadLetter) -> str:
    return "".join(LINES[form](entries))


def table(text: str, separator: str = ",") -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline=""), delimiter=separator))


def is_formula(cell: str) -> bool:
    """Return whether a spreadsheet may run the cell: it may fold full-width signs, and skip what it does not show."""
    shown = "".join(c for c in unicodedata.normalize("NFKC", cell) if c.isprintable()).lstrip(' "')
    return cell.startswith(FORMULA_STARTS) or shown.startswith(FORMULA_STARTS)


@pytest.mark.parametrize("form", list(ExportFormat))
@pytest.mark.parametrize("name", HOSTILE_NAMES.values(), ids=HOSTILE_NAMES)
def test_a_terminal_obeys_nothing(form: ExportFormat, name: str) -> None:
    text = exported(form, entry(vm=name, args=[{name: name}], error_message=name))
    assert all(line.isprintable() for line in text.replace("\r\n", "\n").split("\n"))


@pytest.mark.parametrize("name", HOSTILE_NAMES.values(), ids=HOSTILE_NAMES)
def test_json_lines_hold_every_text_as_it_is(name: str) -> None:
    [line] = exported(ExportFormat.JSONL, entry(vm=name, args=[{name: name}])).splitlines()
    found = json.loads(line)
    assert (found["vm"], found["args"]) == (name, [{name: name}])


@pytest.mark.parametrize("separator", SEPARATORS)
@pytest.mark.parametrize("name", HOSTILE_NAMES.values(), ids=HOSTILE_NAMES)
def test_no_cell_of_a_spreadsheet_is_a_formula(name: str, separator: str) -> None:
    """Where the local list separator is `;`, a spreadsheet splits a file with commas there, too."""
    text = exported(ExportFormat.CSV, entry(vm=name, pool=name, error_message=f"a {name}", args=[name], traceback=name))
    cells = [cell for row in table(text, separator) for cell in row]
    assert [cell for cell in cells if is_formula(cell)] == []


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("=1", "'=1"),
        ("\t=1", "'\\t=1"),
        ("\r=1", "'\\r=1"),
        ("\n=1", "'\n'=1"),
        ("\uff1d1", "'\uff1d1"),
        ("a;=1; b;  -2", "a;'=1; b;'  -2"),
        ("a=1, -2 + 3", "a=1, -2 + 3"),
        ("Traceback:\n  File 'x', line 1\n-y", "Traceback:\n  File 'x', line 1\n'-y"),
        ("größe ☃", "größe ☃"),
        ("a\x1b[31m\u202eb", "a\\x1b[31m\\u202eb"),
    ],
)
def test_a_cell_starts_with_an_apostrophe_where_a_formula_could_start(text: str, cell: str) -> None:
    assert rows(entry(vm=text))[0]["vm"] == cell


@pytest.mark.parametrize("name", HOSTILE_NAMES.values(), ids=HOSTILE_NAMES)
def test_a_cell_with_json_is_valid_json(name: str) -> None:
    [row] = rows(entry(args=[{"x": name}]))
    assert list(json.loads(row["args"])[0]) == ["x"]


def test_a_cell_with_json_holds_control_and_invisible_characters() -> None:
    args = [{"x": "a\x1b[31m\x7f\x9b\u202e\U000e0041b"}, 1]
    [row] = rows(entry(args=args))
    assert json.loads(row["args"]) == args


def rows(*entries: StoredDeadLetter) -> list[Mapping[str, str]]:
    heading, *found = table(exported(ExportFormat.CSV, *entries))
    assert heading == list(COLUMNS)
    return [dict(zip(heading, row, strict=True)) for row in found]


def test_every_field_of_csv_is_quoted() -> None:
    text = exported(ExportFormat.CSV, entry())
    for line in text.split("\r\n")[:-1]:
        assert line[0] == line[-1] == '"'
        assert len(line[1:-1].split('","')) == len(COLUMNS)


@pytest.mark.parametrize("text", ["\n", ";", " ", '"', "\t", "; ", ';"', "\n ", ";\t", "=", ";="])
def test_guarding_a_cell_takes_linear_time(text: str) -> None:
    """A dead letter has 64 KiB. In quadratic time ten times as much takes longer than a test may."""
    assert len(exported(ExportFormat.CSV, entry(vm=text * (600_000 // len(text))))) > 600_000
