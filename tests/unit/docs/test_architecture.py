"""docs/architecture.md lists every module and every Lua script once; the paths in the documents exist."""

import re

import pytest

from tests.support.processes import ROOT
from tests.unit.docs.test_words import DOCUMENTS, read

PACKAGE = ROOT / "vmpooler_tasks"
TEXT = read("docs/architecture.md")
SCRIPTS = {str(path.parent.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.lua")}
"""Folders with Lua scripts."""

PATH = re.compile(
    r"`((?:[\w-]+/)+[\w.@-]+\.(?:py|lua|yaml|json|md|js|html|acl|conf|service))`"
    r"|(?<![\w/])((?:vmpooler_tasks|tests|deploy|docs)/[\w./@-]*\.\w+)(?![\w./@*<{-]*[*<{])"
)


def section(heading: str) -> str:
    return TEXT.split(f"\n## {heading}\n")[1].split("\n## ")[0]


def rows(text: str) -> list[tuple[str, str]]:
    """Return (name, second column) of each row whose first column is a name in backticks."""
    return re.findall(r"^\| `([\w/]+)` \| (.+) \|$", text, re.MULTILINE)


def test_every_module_is_listed_once() -> None:
    listed = [name for name, _ in rows(section("Modules")) if name not in SCRIPTS]
    modules = [str(path.relative_to(PACKAGE).with_suffix("")) for path in PACKAGE.rglob("*.py")]
    assert sorted(listed) == sorted(name for name in modules if not name.endswith("__"))


def test_every_script_is_listed_once() -> None:
    listed = {
        f"{folder}/{script}"
        for folder, scripts in rows(section("Modules"))
        if folder in SCRIPTS
        for script in re.findall(r"`(\w+)`", scripts)
    }
    assert listed == {str(path.relative_to(PACKAGE).with_suffix("")) for path in PACKAGE.rglob("*.lua")}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_path_in_a_document_exists(document: str) -> None:
    """A path is relative to the repository, to the package, or to the page's files."""
    places = (ROOT, PACKAGE, PACKAGE / "web" / "static", PACKAGE / "web" / "static" / "js")
    for quoted, plain in PATH.findall(read(document)):
        path = quoted or plain
        assert any((place / path).exists() for place in places), path


def test_every_feature_of_jobs_and_store_is_described() -> None:
    described = {name for name, _ in rows(section("Features"))}
    folders = {path.name for layer in ("jobs", "store") for path in (PACKAGE / layer).iterdir() if path.is_dir()}
    assert described == {name for name in folders if not name.startswith("__")} - {"lua", "redis", "vmpooler"}
