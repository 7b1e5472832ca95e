"""The tests start processes with the command lines of `Procfile` and `deploy/`, with no option that only tests have."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import deployment
from tests.support.processes import ROOT, Installation

STARTERS = {"worker", "beat", "celery"}
TESTS = ROOT / "tests"

DOCUMENTED = {"--log-format", "--logfile", "-B", "--autoscale", "--max-tasks-per-child"}
"""Options that the documentation names, beside those of `Procfile` and `deploy/`."""


def deployed_options() -> set[str]:
    lines = [*deployment.procfile(), *deployment.command_lines()]
    return {word.split("=")[0] for line in lines for word in line.words if word.startswith("-")}


def options_in(file: Path) -> Iterator[tuple[int, str]]:
    """Yield line and option of each call that starts a process of Celery."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in STARTERS:
            for one in node.args:
                if isinstance(one, ast.Constant) and isinstance(one.value, str) and one.value.startswith("-"):
                    yield node.lineno, one.value.split("=")[0]


def test_no_test_starts_celery_with_an_option_that_is_not_deployed_or_documented() -> None:
    known = deployed_options() | DOCUMENTED
    files = sorted(TESTS.rglob("*.py"))
    found = {f"{file.relative_to(ROOT)}:{line}": option for file in files for line, option in options_in(file)}
    assert found
    assert {place: option for place, option in found.items() if option not in known} == {}


@pytest.mark.parametrize("program", ["worker", "beat"])
def test_the_usual_worker_and_beat_are_those_of_the_procfile(
    program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (words,) = (line.words for line in deployment.procfile() if line.where == f"Procfile {program}")
    started: list[tuple[str, ...]] = []

    class Started:
        def start(self) -> "Started":
            return self

        def says(self, *_: object) -> "Started":
            return self

    def celery(self: Installation, *arguments: str, **_: object) -> Started:
        started.append(("celery", "-A", "vmpooler_tasks", *arguments))
        return Started()

    monkeypatch.setattr(Installation, "celery", celery)
    own = Installation("redis://127.0.0.1:1/0", tmp_path)
    own.worker("-Q", "vmpooler.maintenance") if program == "worker" else own.beat()
    assert started == [words]
