"""The tables and plots of the documents are those of the kept results."""

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from tests.benchmarks import document
from tests.benchmarks.parts import PARTS
from tests.benchmarks.rows import Row

MACHINE = {
    "server": "Valkey 9.1.2",
    "python": "3.11.7",
    "cores": 2,
    "processor": "Processor of the test",
    "load_average": 0.25,
}


def purge(vms: int, value: float, **fields: Any) -> Row:
    row = {"part": "cycles", "case": f"{vms:,} VMs", "what": "purge", "measure": "x floor", "unit": "x", "at": vms}
    return Row.from_json({**row, "value": value, **fields})


def result(*rows: Row, server: str = "Valkey 9.1.2") -> dict[str, Any]:
    return {"machine": {**MACHINE, "server": server}, "runs": 3, "rows": [row.as_json() for row in rows]}


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    text = f"# Performance\n\nbefore\n\n{document.BEGIN}\n{document.END}\n\nafter\n"
    (tmp_path / "performance.md").write_text(text, encoding="utf-8")
    return tmp_path


def written(docs: Path) -> str:
    return (docs / "performance.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", sorted({part.document for part in PARTS.values()}))
def test_the_document_has_the_kept_results(name: str) -> None:
    text = (document.DOCS / f"{name}.md").read_text(encoding="utf-8")
    assert document.with_figures(text, document.read(), name) == text, "call `make bench`, or document.keep"


def test_a_part_is_written_into_its_document_alone(docs: Path) -> None:
    (docs / "scaling.md").write_text(f"# Scaling\n\n{document.BEGIN}\n{document.END}\n", encoding="utf-8")
    tick = Row(part="scale", case="10 pools", what="tick", measure="ms", value=2.5, at=10)
    document.keep(result(purge(1_000, 1.25), tick), docs)
    assert "2.50" not in written(docs)
    text = (docs / "scaling.md").read_text(encoding="utf-8")
    assert "2.50" in text
    assert "1.25x" not in text
    assert "(performance/jobs.svg)" in text


def test_a_logarithmic_plot_ends_at_whole_powers_of_ten(docs: Path) -> None:
    (docs / "scaling.md").write_text(f"{document.BEGIN}\n{document.END}\n", encoding="utf-8")
    ticks = [
        Row(part="scale", case=f"{pools}", what="tick", measure="ms", value=pools * 0.3, at=pools)
        for pools in (10, 1_000)
    ]
    document.keep(result(*ticks), docs)
    drawn = ET.parse(docs / "performance" / "jobs.svg")  # noqa: S314  # written by this test
    texts = [element.text for element in drawn.iter() if element.text]
    assert {"1", "10", "100", "1000"} <= set(texts)
    assert "0.1" not in texts


def test_each_part_that_was_measured_is_known() -> None:
    assert document.read().keys() <= PARTS.keys()


def test_what_was_measured_stands_beside_its_target_with_the_machine(docs: Path) -> None:
    document.keep(result(purge(1_000, 1.25, maximum=1.5), purge(10_000, 1.75, maximum=1.5)), docs)
    text = written(docs)
    assert "Valkey 9.1.2, Python 3.11.7, 2 cores (Processor of the test), load average at the start 0.25" in text
    assert "| 1,000 VMs | purge | 1.25x (≤ 1.5x) |" in text
    assert "| 10,000 VMs | purge | **1.75x** (≤ 1.5x, missed) |" in text
    assert text.startswith("# Performance\n\nbefore\n\n")
    assert text.endswith("\n\nafter\n")


def test_a_later_run_replaces_its_parts_and_keeps_other_parts_and_servers(docs: Path) -> None:
    scrape = Row(part="scrape", case="10 pools", what="scrape", measure="ms", value=2.5)
    document.keep(result(purge(1_000, 1.25), scrape), docs)
    document.keep(result(purge(1_000, 3.75), server="Redis 7.0.15"), docs)
    document.keep(result(purge(1_000, 2.25)), docs)
    text = written(docs)
    assert "1.25x" not in text
    assert [value for value in ("2.25x", "3.75x", "2.50") if value not in text] == []


def test_a_plot_has_a_line_for_each_server(docs: Path) -> None:
    document.keep(result(purge(1_000, 1.25), purge(10_000, 1.75)), docs)
    document.keep(result(purge(1_000, 2.25), purge(10_000, 2.75), server="Redis 7.0.15"), docs)
    assert "(performance/cycles.svg)" in written(docs)
    drawn = ET.parse(docs / "performance" / "cycles.svg")  # noqa: S314  # written by this test
    texts = {element.text for element in drawn.iter() if element.text}
    assert {"purge, Valkey", "purge, Redis", "1,000", "10,000"} <= texts


def test_the_same_results_make_the_same_files(docs: Path) -> None:
    document.keep(result(purge(1_000, 1.25)), docs)
    before = {file.name: file.read_bytes() for file in (docs / "performance").iterdir()}
    document.keep(result(purge(1_000, 1.25)), docs)
    assert {file.name: file.read_bytes() for file in (docs / "performance").iterdir()} == before
    assert json.loads(before["results.json"])["cycles"]["Valkey"]["runs"] == 3
