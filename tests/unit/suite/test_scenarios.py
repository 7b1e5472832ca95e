"""Each module of tests/chaos is a scenario: a stage runs it, it explains itself, and docs/reliability.md lists it."""

import ast
import re
from pathlib import Path

import pytest

from tests.support.processes import ROOT

MODULES = sorted((ROOT / "tests" / "chaos").glob("test_*.py"))
ROW = re.compile(r"^\| `([a-z_]+)` \|.*\|.*\|$", re.MULTILINE)


def test_each_scenario_is_listed_with_what_it_does_and_what_must_hold() -> None:
    text = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8").split("\n## Scenarios\n")[1].split("\n## ")[0]
    assert sorted(ROW.findall(text)) == [module.stem.removeprefix("test_") for module in MODULES]


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.stem)
def test_scenario_runs_in_the_stage_and_explains_itself(module: Path) -> None:
    text = module.read_text(encoding="utf-8")
    assert 'mark.stage(name="chaos")' in text
    assert ast.get_docstring(ast.parse(text))


def test_each_promise_names_a_test_that_exists() -> None:
    text = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8").split("\n## Promises and their tests\n")[1]
    named = re.findall(r"`(tests/[a-z0-9_/]+\.py)`", text)
    assert named
    assert [path for path in named if not (ROOT / path).is_file()] == []
