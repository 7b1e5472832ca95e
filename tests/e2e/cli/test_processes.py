"""Each command once as a process of its own: its exit status, what is on stdout, and what is on stderr.

All other tests of commands run them in their own process, which is ten times as fast.
"""

import json
import re

import pytest

from tests.support.commands import CommandLine, Result, commands, dead_letter
from tests.support.world import POOL, World

ID = "0123456789abcdef"
VOLATILE = re.compile(r"\d+(\.\d+)?|[0-9a-f]{12}")

TYPED = {
    "audit": "audit",
    "completion": "completion bash",
    "config check": "config check",
    "config hash": "config hash",
    "config show": "config show --json",
    "dlq delete": f"dlq delete {ID} --yes",
    "dlq export": "dlq export",
    "dlq list": "dlq list --json",
    "dlq show": f"dlq show {ID}",
    "dlq stats": "dlq stats --json",
    "dlq redrive": "dlq redrive --all --dry-run --json",
    "doctor": "doctor --json",
    "health": "health --json",
    "pools": "pools",
    "pools adopt": f"pools adopt {POOL}",
    "pools confirm": f"pools confirm {POOL}",
    "pools drain": f"pools drain {POOL}",
    "pools pause": f"pools pause {POOL}",
    "pools keep": f"pools keep {POOL}",
    "pools resume": f"pools resume {POOL}",
    "pools retry": f"pools retry {POOL}",
    "purge": "purge --dry-run --json",
    "request": f"request {POOL} --quick",
    "request list": "request list",
    "request show": "request show nobody",
    "run": "run --quick",
    "web": "web --quick",
}
"""Command → what is typed. `run` and `web` go on when all is well: here they complain of an option."""


def shape(result: Result) -> tuple[int, str, str]:
    """The same without what differs from one run to the next."""
    return result.status, VOLATILE.sub("0", result.out), VOLATILE.sub("0", result.err)


def test_each_command_is_typed() -> None:
    assert {" ".join(words) for words, _ in commands()} == TYPED.keys()


@pytest.mark.parametrize("command", TYPED)
def test_a_command_ends_with_its_status_and_keeps_its_streams_apart(
    run: CommandLine, world: World, command: str
) -> None:
    def typed() -> tuple[str, ...]:
        dead_letter(world, "clone", 60, vm="vm-1", pool=POOL, error_class="E", error_message="failed", id=ID)
        return tuple(TYPED[command].split())

    done = run.process(*typed())
    assert shape(done) == shape(run(*typed()))
    assert done.out or done.err.startswith("vmpooler-tasks"), "stdout holds what was asked for, stderr the complaints"
    if "--json" in TYPED[command]:
        json.loads(done.out)
