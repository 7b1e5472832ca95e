"""Every command at 60, 80, 120 and 200 columns, with names of a usual length and with hostile ones."""

import json
import re
from typing import Any

import pytest
from wcwidth import width

from tests.support.commands import CommandLine, commands, dead_letter
from tests.support.processes import configuration
from tests.support.world import World
from vmpooler_tasks.model.names import Queue
from vmpooler_tasks.store import fleet_keys, keys

WIDTHS = (60, 80, 120, 200)
HOUR = 3600.0
DAY = 24 * HOUR

USUAL = {
    "pool": "ubuntu-2004-x86_64-pixa4",
    "vm": "pooler-gigantic-octopus",
    "error": "failed to obtain IP after 120.00 seconds: vm is not in the inventory of cluster-7 any more",
    "request": "0b2f1c9e-7c1e-4a0e-9c39-0d3b6f3a1c55",
}
HOSTILE = {
    "pool": "漢字の名前のプール" * 7,
    "vm": "v" * 300,
    "error": "x" * 200 + " " + "語" * 200,
    "request": "r" * 200,
}

COMMANDS = [
    "audit",
    "config check",
    "config check --online",
    "config show",
    "dlq delete --vm nobody --yes",
    "dlq delete --all --dry-run",
    "dlq list",
    "dlq list --limit 1",
    "dlq list --queue tasks",
    "dlq redrive --all --dry-run",
    "dlq redrive --runs",
    "dlq show 0000000000000001",
    "dlq stats",
    "dlq stats --queue clone",
    "doctor",
    "health",
    "health --history 1h",
    "health --no-check",
    "pools",
    "purge --dry-run",
    "request list",
    "request show {request}",
    "status",
]


def fill(world: World, run: CommandLine, names: dict[str, str]) -> None:
    """Write something for every table and every message."""
    pool, vm, error, request = (names[name] for name in ("pool", "vm", "error", "request"))
    whole = json.loads(configuration(pool, "centos-7-x86_64", manage_pools=True))
    whole[":pools"][0]["alias"] = ["ubuntu"]
    whole[":providers"] = {"dummy": {}}
    run.environment["VMPOOLER_CONFIG"] = json.dumps(whole)
    fields: dict[str, Any] = {"pool": pool, "vm": vm, "error_class": "RbVmomi::Fault", "error_message": error}
    for number, age in enumerate((30, 20 * 60, 3 * HOUR, 2 * DAY)):
        dead_letter(world, "clone", age, id=f"{number:016}", retry_count=number, request_id=request, **fields)
    dead_letter(world, "tasks", 60, id="f" * 16, task="vmpooler_tasks.run_health_check", task_id="t" * 36, **fields)
    world.vm(Queue.PENDING, vm, 3 * HOUR, pool=pool)
    for number in range(501):
        world.client.sadd(keys.queue(Queue.READY, pool), f"ready-{number}")
    world.client.set("vmpooler__pending__centos-7-x86_64", "a key of the wrong type")
    world.client.hset(keys.request(request.encode()), "requested", f"ubuntu:{pool}:2")
    world.client.zadd("vmpooler__odcreate__processing", {request: world.now})
    world.client.zadd("vmpooler__provisioning__request", {request: world.now})
    who = f"somebody-with-a-name@{vm}"
    world.client.xadd(fleet_keys.AUDIT, {"action": "purge", "who": who, "count": 3, "why": error, "pool": pool})
    run("health")
    run("dlq", "redrive", f"{0:016}", "--yes", "--why", error)


@pytest.mark.parametrize("names", [USUAL, HOSTILE], ids=["usual", "hostile"])
def test_no_line_is_wider_than_the_terminal(run: CommandLine, world: World, names: dict[str, str]) -> None:
    fill(world, run, names)
    too_wide = []
    for typed in COMMANDS:
        words = [word.format(**names) for word in typed.split()]
        for columns in WIDTHS:
            result = run(*words, COLUMNS=str(columns))
            assert result.out, (typed, result)
            lines = re.sub(r"\x1b\[[0-9;]*m", "", result.out).splitlines()
            too_wide += [
                (typed, columns, line) for line in lines if width(line) > columns and len(line.strip().split(" ")) > 1
            ]
    assert too_wide == []


def test_dead_letters_show_their_error_vm_and_pool_at_eighty_columns(run: CommandLine, world: World) -> None:
    fill(world, run, USUAL)
    for columns in (60, 80):
        shown = run("dlq", "list", COLUMNS=str(columns)).out
        flat = " ".join(shown.split())
        assert USUAL["pool"] in flat
        assert USUAL["vm"] in flat
        assert f"RbVmomi::Fault: {USUAL['error']}" in flat
        assert re.search(r"^20 min +clone", shown, re.MULTILINE)


@pytest.mark.parametrize("columns", WIDTHS)
def test_help_texts_fit_and_break_no_word(run: CommandLine, columns: int) -> None:
    paths = {words for words, _ in commands()}
    for words in sorted(paths | {path[:1] for path in paths} | {()}):
        wide, narrow = (run(*words, "--help", COLUMNS=str(size)).out for size in (1000, columns))
        assert max(map(len, narrow.splitlines())) <= columns, words
        assert sorted(wide.split()) == sorted(narrow.split()), "a word is broken"
        assert "..." not in narrow.partition("Commands:")[2], words


@pytest.mark.parametrize(
    "typed", ["dlq list --pool ubunut-2004", "request ubunut", "dlq delete --queue tasks", "health --history 5"]
)
def test_errors_break_between_words(run: CommandLine, world: World, typed: str) -> None:
    fill(world, run, USUAL)
    one_line = run(*typed.split()).err
    assert one_line.count("\n") == 1
    shown = run.on_terminal(*typed.split(), columns=60).out.replace("\r\n", "\n")
    assert max(map(len, shown.splitlines())) <= 60
    assert shown.split() == one_line.split()
