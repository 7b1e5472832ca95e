"""A document that the code cites is in this repository, and has the section that is cited."""

import re

import pytest

from tests.support.processes import ROOT
from tests.unit.docs.test_words import files, read

SOURCES = files(
    "vmpooler_tasks/**/*.py",
    "vmpooler_tasks/**/*.lua",
    "vmpooler_tasks/**/*.js",
    "tests/**/*.py",
    "deploy/**/*",
    "docs/*.md",
    "*.md",
    "*.py",
    "Makefile",
)
CITED = re.compile(r"(?<![\w/.-])((?:[\w-]+/)*[\w-]+\.md)\b(?:: ([A-Z][\w' -]*))?")
"""A document, as docs/NAME.md, and the section after a colon."""

ABSENT = re.compile(r"\b(?:data-model|celery-facts|system\.md)\b|(?<![\w/\"'(-])architecture\.md")
"""Papers about this project that are not part of it."""


def headings(path: str) -> set[str]:
    return {heading.lower() for heading in re.findall(r"^#+ (.+)$", read(path), re.MULTILINE)}


@pytest.mark.parametrize("path", [path for path in SOURCES if path != "tests/unit/docs/test_citations.py"])
def test_cited_documents_exist(path: str) -> None:
    text = read(path)
    problems = [found[0] for found in ABSENT.finditer(text)]
    for cited, section in CITED.findall(re.sub(r"\n\s*(?:#|--|//|\*)?\s*", " ", text)):
        if not cited.startswith(("docs/", "tests/", "vmpooler_tasks/")):
            continue  # a name beside the file, or in a folder that the code names: a missing one is an error there
        if not (ROOT / cited).is_file():
            problems.append(f"there is no {cited}")
        elif section and not any(section.lower().startswith(heading) for heading in headings(cited)):
            problems.append(f"{cited} has no section {section!r}")
    assert not problems
