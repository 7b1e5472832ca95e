"""The documentation, executed: each command in it works, and what the README shows is what appears."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import click
import pytest

from tests.support.config_reference import reference
from tests.support.first_minutes import START, FirstMinutes
from tests.support.guide import Fence, fences
from tests.support.processes import ROOT, until
from vmpooler_tasks.cli import cli
from vmpooler_tasks.store import fleet_keys, keys

pytestmark = pytest.mark.timeout(900)

ELSEWHERE = ("performance.md", "flower.md", "dns.md")
"""Documents whose commands tests of their own run (tests/e2e/{fleet/test_flower,providers/test_worked_examples}.py)."""

DOCUMENTS = [
    "README.md",
    "CONTRIBUTING.md",
    *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md")) if path.name not in ELSEWHERE),
]
NOT_RUN = {"text", "mermaid", "yaml", "json", "toml"}
"""What is no command: pictures and files, and commands that it makes no sense to run here (`text`)."""
REPORTED = {"vmpooler-tasks health": {0, 1, 2}, "vmpooler-tasks doctor": {0, 1}}
"""Exit statuses that report on the system, and are no failure of the command."""
VOLATILE = re.compile(r"…|\d+|-{3,}| {2,}")


@dataclass(frozen=True, slots=True)
class Typed:
    """One command of a document, and what the document says it prints (None: it does not say)."""

    document: str
    text: str
    shown: tuple[str, ...] | None


def read(document: str) -> str:
    return (ROOT / document).read_text(encoding="utf-8")


def typed(document: str) -> list[Typed]:
    found: list[Typed] = []
    for fence in fences(read(document)):
        if fence.language == "bash":
            found += [Typed(document, line, None) for line in fence.text.splitlines() if line.strip()]
        elif fence.language == "console":
            found += _session(document, fence)
    return found


def _session(document: str, fence: Fence) -> Iterator[Typed]:
    assert fence.text.startswith("$ "), f"{document}: a console begins with its prompt"
    for part in re.split(r"^\$ ", fence.text, flags=re.MULTILINE)[1:]:
        command, *shown = part.splitlines()
        yield Typed(document, command, tuple(shown))


def pattern(line: str) -> re.Pattern[str]:
    """A line of the document as it may appear: other numbers, other widths; `…` stands for anything."""
    parts, place = [], 0
    for found in VOLATILE.finditer(line):
        parts.append(re.escape(line[place : found.start()]))
        text = found[0]
        parts.append({"…": ".*", "-": "-+", " ": " +"}.get(text[0], r"\d+"))
        place = found.end()
    return re.compile("".join([*parts, re.escape(line[place:])]) + " *")


def appears(shown: tuple[str, ...], printed: str) -> bool:
    """Whether the lines that the document shows are among those printed, in this order; `…` alone skips some."""
    lines = iter(printed.splitlines())
    return all(any(pattern(wanted).fullmatch(line) for line in lines) for wanted in shown if wanted.strip() != "…")


def exit_statuses(command: str) -> set[int]:
    """Return the exit statuses that the command may end with. A pipeline ends with the status of its last program."""
    return {0}.union(*(found for start, found in REPORTED.items() if command.startswith(start) and "|" not in command))


@pytest.mark.stage(name="documents")
def test_the_first_five_minutes_of_the_readme_are_as_it_says(first_minutes: FirstMinutes) -> None:
    first, *rest = typed("README.md")
    assert (first.text, bool(first.shown)) == (START, True)
    first_minutes.make.says("[*] [purge] Completed purge cycle").says("[*] [health] Status: HEALTHY").says(
        "cloned in", 2
    )
    until(
        lambda: appears(first.shown or (), first_minutes.make.log),
        lambda: f"what is shown appears: {first_minutes.make.log}",
    )
    assert len(rest) > 6
    for command in rest:
        status, printed = first_minutes.shell.type(command.text)
        assert status == 0, f"{command.text}: {printed}"
        assert appears(command.shown or (), printed), f"{command.text} prints\n{printed}instead of {command.shown}"
    first_minutes.make.says("[*] [purge][dry-run] Completed purge cycle")


@pytest.mark.stage(name="documents")
@pytest.mark.parametrize("document", [name for name in DOCUMENTS if name != "README.md"])
def test_every_command_of_the_documents_works(first_minutes: FirstMinutes, document: str) -> None:
    first_minutes.make.says("[*] [purge] Completed purge cycle").says("[*] [health] Status: HEALTHY")
    first_minutes.shell.type(". .vmpooler-tasks/env")
    for command in typed(document):
        status, printed = first_minutes.shell.type(command.text)
        assert status in exit_statuses(command.text), f"{document}: {command.text}: {printed}"
        assert "vmpooler-tasks: " not in printed, f"{document}: {command.text}: {printed}"


@pytest.mark.parametrize(
    ("shown", "printed", "same"),
    [
        (("Purged 3 pending in 0.04s.",), "Purged 12 pending in 1.20s.\n", True),
        (("Purged 3 pending in 0.04s.",), "Purged no pending in 1.20s.\n", False),
        (("a", "…", "b"), "a\nx\ny\nb\n", True),
        (("a", "b"), "b\na\n", False),
        (("HEALTHY  (checked …)",), "HEALTHY  (checked 2024-01-15T10:30:00Z)\n", True),
        (("HEALTHY  (checked …)",), "UNHEALTHY  (checked 2024-01-15T10:30:00Z)\n", False),
    ],
)
def test_what_is_shown_is_compared_but_for_numbers_and_widths(shown: tuple[str, ...], printed: str, same: bool) -> None:
    assert appears(shown, printed) is same


def test_every_block_of_the_documents_is_run_or_marked_as_not_to_be() -> None:
    languages = {(name, fence.language) for name in DOCUMENTS for fence in fences(read(name))}
    assert {language for _, language in languages} <= {"bash", "console", *NOT_RUN}
    counted = {name: len(typed(name)) for name in DOCUMENTS}
    assert counted["README.md"] >= 8
    assert counted["docs/operator-guide.md"] >= 25


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_between_documents_lead_somewhere(document: str) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", read(document)):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        file = (ROOT / document).parent / path if path else ROOT / document
        assert file.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}, target


def test_the_readme_names_every_command() -> None:
    context, leaves = click.Context(cli), set()
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        if not isinstance(command, click.Group):
            leaves.add(name)
            continue
        if command.invoke_without_command:
            leaves.add(name)
        for inner, leaf in command.commands.items():
            leaves.add(name if leaf.hidden else f"{name} {inner}")  # hidden: what the group does by itself
    row = r"^\| `vmpooler-tasks ([a-z ]+?)(?: (?:ID…|ID|SHELL|\[FILE\]))?` \|"
    named = re.findall(row, read("README.md"), re.MULTILINE)
    aliases = {name for name in named if name not in leaves and cli.get_command(context, name)}
    assert set(named) == leaves | aliases


def test_the_option_tables_are_those_of_the_schema() -> None:
    assert reference() in read("docs/configuration.md"), "python -m tests.support.config_reference prints them"


def test_the_architecture_names_every_key_of_ours() -> None:
    values = [*vars(keys).values(), *vars(fleet_keys).values()]
    constants = [value.decode() for value in values if isinstance(value, bytes)]
    prefixes = {keys.WORK_PREFIX, keys.FAILURES_PREFIX, keys.VM_ORDER_PREFIX, keys.SET_ASIDE_PREFIX}
    ours = {key for key in constants if key.startswith("vmpooler_tasks")} - {prefix.decode() for prefix in prefixes}
    slots = {keys.POOL_SLOTS.key.decode(), keys.REQUEST_SLOTS.key.decode()}
    made = {
        keys.first_seen("QUEUE", "POOL"),
        keys.work(b"VM"),
        keys.breaker("PROVIDER"),
        keys.pool_breaker("POOL"),
        keys.recycled("POOL"),
        keys.check_lock("POOL"),
        keys.dns_records("POOL"),
        keys.redrive("RUN"),
        keys.redrive_dead_letters("RUN"),
        fleet_keys.session("DIGEST"),
        fleet_keys.login_failures("SUBJECT"),
        keys.notifications("TARGET"),
        keys.FAILURES_PREFIX + b"STEP",
        b"vmpooler_tasks__dummy__POOL",
        b"vmpooler_tasks__dummy__calls:CALL:POOL:VM",
        b"vmpooler_tasks__dummy__parts:POOL:VM",
        fleet_keys.pool_list("CONFIGURATION"),
        keys.vm_order(b"VM"),
        keys.SET_ASIDE_PREFIX + b"NAME",
        keys.WRONG_KEY_LOG + b"__NAME",
    }
    text = read("docs/architecture.md")
    rows = [
        re.findall(r"`([\w…:]+)`", row.split("|")[1]) for row in text.splitlines() if row.startswith("| `vmpooler_")
    ]
    named = {f"vmpooler_tasks__{key[1:].lstrip('_')}" if key[0] == "…" else key for row in rows for key in row}
    named = {
        keys.redrive_dead_letters("RUN").decode() if key == "vmpooler_tasks__dead_letters" else key for key in named
    }
    assert named == ours | slots | {key.decode() for key in made}
