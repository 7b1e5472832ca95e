"""The parts of the operator guide: its commands, configurations, log lines and keys."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

TEXT = (Path(__file__).parents[1] / "data" / "operator-guide.md").read_text(encoding="utf-8")

_HEADING = re.compile(r"#{2,} (.+)")
_FENCE = re.compile(r"( *)```(\w*)")
_INLINE_CODE = re.compile(r"`([^`]+)`")
_LOG_LINE = re.compile(r"\[[*!]\] \[")
_KEY = re.compile(r"\bvmpooler__[\w-]+(?:\{\})?")
_CONTINUES = re.compile(r"(\\|\||&&)$")
_BETWEEN_PROGRAMS = {"|", "||", "&", "&&", ";"}


@dataclass(frozen=True, slots=True)
class Fence:
    """A fenced block, without its indentation inside a list."""

    section: str
    language: str
    text: str


@dataclass(frozen=True, slots=True)
class Command:
    """A command, verbatim, and its heading."""

    section: str
    text: str


def fences(markdown: str) -> list[Fence]:
    """Return every fenced block, in order."""
    return [piece for piece in _pieces(markdown) if isinstance(piece, Fence)]


def inline_code(markdown: str) -> list[tuple[str, str]]:
    """Return (heading, code) of everything in single backticks."""
    prose = [piece for piece in _pieces(markdown) if not isinstance(piece, Fence)]
    return [(section, code) for section, line in prose for code in _INLINE_CODE.findall(line)]


def commands(markdown: str) -> list[Command]:
    """Return every command: those of the blocks in order, then those of the prose.

    Code in the prose is a command if it begins with a program that one of the blocks runs: `timeout` alone is an
    error's text in this guide, though it is a program as well.
    """
    blocks = [fence for fence in fences(markdown) if fence.language == "bash"]
    typed = [Command(block.section, text) for block in blocks for text in _logical_lines(block.text)]
    programs = {program for command in typed for program in _programs(command.text)}
    spans = [Command(*found) for found in inline_code(markdown)]
    return typed + [span for span in spans if span.text.split(maxsplit=1)[0] in programs]


def log_lines(markdown: str) -> set[str]:
    """Return every log line of the guide, or the start of one."""
    shown = [line for fence in fences(markdown) if not fence.language for line in fence.text.splitlines()]
    return {text for text in [*shown, *(code for _, code in inline_code(markdown))] if _LOG_LINE.match(text)}


def configurations(markdown: str) -> list[tuple[str, str]]:
    """Return (heading, YAML) of every block that configures VMPooler, without the alert rules."""
    blocks = [fence for fence in fences(markdown) if fence.language == "yaml"]
    return [(block.section, block.text) for block in blocks if block.text.startswith(":config:")]


def options(block: str) -> dict[str, Any]:
    """Return the options of `:config:` in a block."""
    section: dict[str, Any]
    (section,) = yaml.safe_load(block).values()
    return section


def redis_keys(markdown: str) -> set[str]:
    """Return every key of the guide; `{}` stands for a part that a command fills in."""
    return set(_KEY.findall(markdown))


def _pieces(markdown: str) -> list[Fence | tuple[str, str]]:
    """Return the fences, and the lines between them as (heading, line)."""
    pieces: list[Fence | tuple[str, str]] = []
    section, lines = "", iter(markdown.splitlines())
    for line in lines:
        if heading := _HEADING.fullmatch(line):
            section = heading[1]
        if opened := _FENCE.fullmatch(line):
            indent, language = opened[1], opened[2]
            inside = [inner.removeprefix(indent) for inner in iter(lambda: next(lines), f"{indent}```")]
            pieces.append(Fence(section, language, "\n".join(inside)))
        else:
            pieces.append((section, line))
    return pieces


def _logical_lines(script: str) -> list[str]:
    """Return the commands of a script: without comments, continued lines joined."""
    found: list[str] = []
    unfinished = ""
    for line in script.splitlines():
        if not unfinished and (not line.strip() or line.lstrip().startswith("#")):
            continue
        unfinished = f"{unfinished}\n{line}" if unfinished else line
        if not _CONTINUES.search(unfinished) and _quotes_are_closed(unfinished):
            found.append(unfinished)
            unfinished = ""
    return [*found, unfinished] if unfinished else found


def _quotes_are_closed(text: str) -> bool:
    try:
        shlex.split(text, comments=True)
    except ValueError:
        return False
    return True


def _programs(command: str) -> set[str]:
    """Return the first word of each part of a pipeline or list."""
    words = list(shlex.shlex(command, posix=True, punctuation_chars=True))
    return {word for before, word in zip(["|", *words], words, strict=False) if before in _BETWEEN_PROGRAMS}
