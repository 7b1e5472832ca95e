"""The shape that docs/architecture.md promises: small modules and functions, a name for one thing, named arguments."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

import vmpooler_tasks

PACKAGE = Path(*vmpooler_tasks.__path__)
MODULES = sorted(PACKAGE.rglob("*.py"))
TESTS = sorted(path for path in (PACKAGE.parent / "tests").rglob("*.py") if "reference" not in path.parts)
SCRIPTS = sorted(PACKAGE.rglob("*.lua"))

MAX_MODULE_LINES = 400
MAX_FUNCTION_LINES = 45
MAX_PARAMETERS = 9
MAX_MODULES_IN_A_FOLDER = 12


def place(path: Path) -> str:
    return str(path.relative_to(PACKAGE.parent))


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(tree(path)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


@pytest.mark.parametrize("module", [*MODULES, *TESTS], ids=place)
def test_module_is_short(module: Path) -> None:
    assert len(module.read_text(encoding="utf-8").splitlines()) <= MAX_MODULE_LINES
    for function in functions(module):
        assert (function.end_lineno or 0) - function.lineno < MAX_FUNCTION_LINES, function.name


@pytest.mark.parametrize("module", MODULES, ids=place)
def test_many_arguments_are_a_value_object(module: Path) -> None:
    for function in functions(module):
        arguments = function.args
        count = len([*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs])
        assert count <= MAX_PARAMETERS, function.name


@pytest.mark.parametrize("module", [*MODULES, *TESTS], ids=place)
def test_formatter_is_on_and_imports_stand_at_the_top(module: Path) -> None:
    text = module.read_text(encoding="utf-8")
    assert not re.search(r"#\s*(fmt:\s*(skip|off)|noqa:.*PLC0415)", text)


def test_folder_has_at_most_a_dozen_modules() -> None:
    folders: dict[str, int] = defaultdict(int)
    for module in MODULES:
        folders[place(module.parent)] += not module.name.startswith("__")
    assert {folder: count for folder, count in folders.items() if count > MAX_MODULES_IN_A_FOLDER} == {}


def test_class_name_is_used_once() -> None:
    places: dict[str, list[str]] = defaultdict(list)
    for module in MODULES:
        for node in ast.walk(tree(module)):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(place(module))
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


def constants(module: Path) -> Iterator[tuple[str, str]]:
    """The names and values of a module's constants."""
    for node in tree(module).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name, value = node.targets[0].id, node.value
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value:
            name, value = node.target.id, node.value
        else:
            continue
        if re.fullmatch(r"[A-Z][A-Z0-9_]+", name):
            yield name, ast.unparse(value)


def test_constant_has_one_value() -> None:
    places: dict[str, dict[str, str]] = defaultdict(dict)
    for module in MODULES:
        for name, value in constants(module):
            places[name][value] = place(module)
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


@pytest.mark.parametrize("script", SCRIPTS, ids=place)
def test_script_names_its_arguments_at_its_top(script: Path) -> None:
    """Numbered keys and arguments stand in the first statements alone; a tail of any length may be read by index."""
    lines = [
        line for line in script.read_text(encoding="utf-8").splitlines() if line and not line.startswith(("--", "#!"))
    ]
    top = next((number for number, line in enumerate(lines) if not re.match(r"local [\w, ]+ =|^\s", line)), len(lines))
    late = [line for line in lines[top:] if re.search(r"\b(KEYS|ARGV)\[\d+\]", line)]
    assert late == []
