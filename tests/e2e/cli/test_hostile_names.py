"""Names from outside are text on a terminal: tables, JSON, errors, prompts and completion."""

import json
import subprocess

import pytest

from tests.support.commands import CommandLine, dead_letter
from tests.support.hostile_names import HOSTILE_NAMES
from tests.support.hostile_world import NAMES, is_text, texts_in, write_everywhere
from tests.support.processes import PATIENCE
from tests.support.world import World
from vmpooler_tasks.model.health.explanation import default_reason, explain
from vmpooler_tasks.model.health.reasons import ReasonCode
from vmpooler_tasks.store import keys

pytestmark = pytest.mark.slow(seconds=15)

READING = (
    ("dlq", "list", "--limit", "1000"),
    ("dlq", "stats"),
    ("dlq", "export"),
    ("dlq", "export", "--format", "csv"),
    ("dlq", "redrive", "--all", "--dry-run"),
    ("dlq", "redrive", "--status"),
    ("audit", "--limit", "1000"),
    ("purge", "--dry-run"),
    ("pools",),
    ("request", "list"),
    ("health",),
    ("health", "--no-check"),
    ("health", "--history", "1h"),
    ("doctor",),
    ("config", "show"),
    ("config", "check"),
)


def test_every_command_prints_text(run: CommandLine, world: World) -> None:
    write_everywhere(world)
    for words in reversed(READING):  # `health` replaces what `health --no-check` reads
        for options in ((), ("--json",)):
            result = run(*words, *options, COLUMNS="100")
            assert "Traceback" not in result.err, words
            assert is_text(result.out), words
            assert is_text(result.err), words
    shown = run("dlq", "show", *(f"id-{number}" for number in range(len(NAMES))))
    assert (shown.status, is_text(shown.out)) == (0, True)


def test_json_and_exports_keep_every_text(run: CommandLine, world: World) -> None:
    write_everywhere(world)
    for words in (("dlq", "list", "--limit", "1000"), ("audit", "--limit", "1000"), ("request", "list")):
        assert set(NAMES) <= texts_in(run.json(*words)), words
    exported = [json.loads(line)["vm"] for line in run("dlq", "export").out.splitlines()]
    assert exported == NAMES


def test_a_terminal_gets_the_same_text(run: CommandLine, world: World) -> None:
    write_everywhere(world)
    for words in (("dlq", "list"), ("dlq", "list", "--json"), ("dlq", "export"), ("audit", "--json")):
        shown = run.on_terminal(*words)
        assert is_text(shown.out), words


@pytest.mark.parametrize("name", NAMES, ids=[name for name, text in HOSTILE_NAMES.items() if text])
def test_errors_and_prompts_are_text(run: CommandLine, name: str) -> None:
    for words in (
        ("dlq", "show", "--", name),
        ("dlq", "list", f"--pool={name}"),
        ("purge", f"--pool={name}"),
        ("request", "show", "--", name),
        ("--config", f"./{name}".replace("\0", ""), "health"),
        (f"x{name}",),
    ):
        result = run(*words)
        assert result.status
        assert "Traceback" not in result.err
        assert is_text(result.err + result.out), words


@pytest.mark.parametrize("name", NAMES, ids=[name for name, text in HOSTILE_NAMES.items() if text])
def test_a_command_that_is_shown_runs_no_other(name: str) -> None:
    """The words in backticks are copied into a shell: the name is one argument there."""
    reason = default_reason(ReasonCode.POOL_BROKEN, 1, 0, pool=name)
    command = explain(reason)[1].partition("; `")[2].rpartition("` tries")[0]
    words = ["bash", "-c", f'vmpooler-tasks() {{ printf "%s\\0" "$@"; }}; {command}']
    done = subprocess.run(words, capture_output=True, timeout=PATIENCE, check=True, env={"LC_ALL": "C.UTF-8"})
    assert done.stderr == b""
    assert done.stdout.decode() == f"pools\0retry\0{name}\0"


def test_completion_offers_no_name_that_a_shell_or_the_command_would_obey(run: CommandLine, world: World) -> None:
    for number, name in enumerate(["größe-1", "req:7/a", *NAMES]):
        dead_letter(world, "clone", number, vm="a", id=name)
        world.client.zadd(keys.WAITING_REQUESTS, {name: world.now})
    for words in ("dlq show ", "request show "):
        typed = {"COMP_WORDS": f"vmpooler-tasks {words}", "COMP_CWORD": str(len(words.split()) + 1)}
        offered = run.process(_VMPOOLER_TASKS_COMPLETE="bash_complete", **typed)
        names = [line.partition(",")[2] for line in offered.out.splitlines()]
        assert {"größe-1", "req:7/a"} <= set(names)
        assert all(one.isprintable() and not one.startswith("-") for one in names)
        assert not set("'\"`$;|&<>(){}*?\\! ") & set("".join(names))
