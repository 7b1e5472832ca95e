"""What people read uses the field's words: documents, deployment files, the web page and the help of every command.

`WORDS` lists the words to avoid, each with what to write instead. Add a word there when a review finds one.
docs/architecture.md, Conventions, has the rules.
"""

import ast
import io
import json
import re
import tokenize
from collections.abc import Iterator
from typing import Any

import click
import pytest

from tests.support.processes import ROOT
from vmpooler_tasks.cli import cli
from vmpooler_tasks.model.health.reasons import REASONS, ReasonCode

WORDS = {
    r"(?<!dead )(?<!dead-)(?<!ascii )letters?": "dead letter, or character",
    r"verdicts?": "health status, or result",
    r"looks?|looked|looking": "check, inspect, read; inspection",
    r"left alone|leav(?:e|es|ing)(?: \w+)? alone": "suspended (circuit breaker), paused (operator), not touched",
    r"mend(?:s|ed|ing)?": "fix",
    r"told|tells?|telling": "report, return, log, show, record",
    r"(?<!there )(?:is|are|was|were) (?-i:none)|none of (?:ours|yours|its own)": "name it (an undecodable message)",
    r"begin(?:s|ning)?|began|begun": "start",
}
"""A pattern of whole words, in any case → what to write instead."""

CONTRACTS = re.compile(r"#letters\b|\.letters\[|\"letters?\"|`letter`")
"""Names that programs depend on: words of the page's addresses, and fields of the API."""

_PATTERNS = {re.compile(rf"\b(?:{words})\b", re.IGNORECASE): instead for words, instead in WORDS.items()}


def findings(text: str) -> list[str]:
    """Return a sentence for each word of the list in the text."""
    flat = re.sub(r"\s+(?:(?:#|//|--|\*)\s+)?", " ", CONTRACTS.sub("", text))
    return [
        f"…{flat[max(0, found.start() - 40) : found.end() + 30]}…: write {instead!r} instead of {found[0]!r}"
        for pattern, instead in _PATTERNS.items()
        for found in pattern.finditer(flat)
    ]


def files(*patterns: str) -> list[str]:
    """Return the paths of this repository that match one of the patterns."""
    return sorted(str(path.relative_to(ROOT)) for pattern in patterns for path in ROOT.glob(pattern) if path.is_file())


def read(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


# --- documents -------------------------------------------------------------------------------------------------------

DOCUMENTS = files("*.md", "docs/*.md")


@pytest.mark.parametrize("path", DOCUMENTS)
def test_documents(path: str) -> None:
    assert not findings(read(path))


# --- deployment ------------------------------------------------------------------------------------------------------

DEPLOYMENT = files("deploy/**/*", "Procfile", "celeryconfig.py", "Makefile")


@pytest.mark.parametrize("path", DEPLOYMENT)
def test_deployment_files(path: str) -> None:
    text = read(path)
    assert not findings("\n".join(texts(json.loads(text))) if path.endswith(".json") else text)


def texts(value: Any, name: str = "") -> Iterator[str]:
    """Yield the titles, descriptions and legends of a dashboard."""
    if isinstance(value, dict):
        for inner, part in value.items():
            yield from texts(part, inner)
    elif isinstance(value, list):
        for part in value:
            yield from texts(part, name)
    elif isinstance(value, str) and name in {"title", "description", "legendFormat", "label", "text"}:
        yield value


# --- the web page ----------------------------------------------------------------------------------------------------

STATIC = files("vmpooler_tasks/web/static/**/*.js", "vmpooler_tasks/web/static/**/*.css")
PAGES = files("vmpooler_tasks/web/static/*.html")

COMMENT = re.compile(r"/\*.*?\*/|(?<![:\"'`])//[^\n]*", re.DOTALL)
SENTENCE = re.compile(r"\"(?:[^\"\\\n]|\\.)*\"|`(?:[^`\\]|\\.)*`")


@pytest.mark.parametrize("path", STATIC)
def test_comments_and_sentences_of_the_page(path: str) -> None:
    """A string with a blank in it is a sentence; one without is a name."""
    text = read(path)
    found = [*COMMENT.findall(text), *(one for one in SENTENCE.findall(COMMENT.sub("", text)) if " " in one)]
    assert not findings("\n".join(re.sub(r"\$\{[^}]*\}", "…", one) for one in found))


@pytest.mark.parametrize("path", PAGES)
def test_text_of_the_page(path: str) -> None:
    text = read(path)
    shown = re.findall(r"(?:title|aria-label|placeholder|content|alt)=\"([^\"]*)\"", text)
    assert not findings("\n".join([*shown, re.sub(r"<[^>]*>", " ", text)]))


# --- the command line ------------------------------------------------------------------------------------------------


def helps(command: click.Command, parent: click.Context | None = None, name: str = "") -> Iterator[tuple[str, str]]:
    """Yield (name, help) of the command and of every command below it."""
    context = click.Context(command, parent, info_name=name or "vmpooler-tasks")
    yield context.command_path, command.get_help(context)
    if isinstance(command, click.Group):
        for inner in command.list_commands(context):
            below = command.get_command(context, inner)
            assert below is not None
            yield from helps(below, context, inner)


HELP = dict(helps(cli))


@pytest.mark.parametrize("name", HELP)
def test_help_of_the_commands(name: str) -> None:
    assert not findings(HELP[name])


# --- texts of the model ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", REASONS)
def test_texts_of_the_health_reasons(code: ReasonCode) -> None:
    kind = REASONS[code]
    others = (kind.if_negative,) if kind.if_negative else ()
    assert not findings("\n".join(f"{one.found}\n{one.remedy}" for one in (kind, *others)))


# --- docstrings and comments -----------------------------------------------------------------------------------------

CODE = files("vmpooler_tasks/**/*.py", "vmpooler_tasks/**/*.lua")


@pytest.mark.parametrize("path", CODE)
def test_docstrings_and_comments(path: str) -> None:
    text = read(path)
    assert not findings("\n".join(prose_of_python(text) if path.endswith(".py") else re.findall(r"--.*", text)))


def prose_of_python(text: str) -> Iterator[str]:
    """Yield the comments and the docstrings, those of constants included."""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.string
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node.value.value


# --- the list itself -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "A letter.",
        "these\n  # letters",
        "the verdict",
        "Look at it",
        "is left\nalone",
        "leaves it alone",
        "told",
        "messages that are none",
        "none of ours",
        "mended",
        "Begin with it",
    ],
)
def test_words_of_the_list_are_found(text: str) -> None:
    assert len(findings(text)) == 1


@pytest.mark.parametrize(
    "text",
    [
        "a dead letter",
        "Dead\nletters",
        "dead-letter queue",
        "ASCII letters",
        "`#letters`",
        "vmpooler_dlq_letters_total",
        "outlook",
        "If there are none",
        "jq '.letters[].id'",
    ],
)
def test_other_words_are_not(text: str) -> None:
    assert not findings(text)
