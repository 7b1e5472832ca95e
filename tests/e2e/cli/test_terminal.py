"""Colours, tables and text from Redis, at a terminal and in a pipe."""

import json
import re
import time
from typing import Any

import pytest
from wcwidth import width

from tests.support.commands import CommandLine, dead_letter
from tests.support.processes import configuration
from tests.support.world import POOL, World
from vmpooler_tasks.model.names import DeadLetterQueue, Queue
from vmpooler_tasks.store import fleet_keys, keys

HOUR = 3600.0
COLOUR = re.compile(r"\x1b\[3[123]m")


@pytest.mark.parametrize("typed", ["health", "doctor", "health --history 1h", "config check"])
def test_colours_appear_on_a_terminal_and_nowhere_else(run: CommandLine, typed: str) -> None:
    run("health")
    shown = run.on_terminal(*typed.split())
    assert COLOUR.search(shown.out)
    piped = run(*typed.split())
    assert "\x1b" not in piped.out + piped.err
    assert piped.status == shown.status


def test_options_and_no_color_decide_about_colours(run: CommandLine) -> None:
    for typed in ("--color always health", "health --color always"):
        assert COLOUR.search(run(*typed.split()).out), typed
        assert COLOUR.search(run(*typed.split(), NO_COLOR="1").out), "an option overrides NO_COLOR"
    assert "\x1b" not in run("--color", "always", "health", "--color", "never").out
    assert "\x1b" not in run.on_terminal("--color", "never", "health").out
    assert "\x1b" not in run.on_terminal("health", "--color", "never").out
    run.environment["NO_COLOR"] = "1"
    assert "\x1b" not in run.on_terminal("health").out
    assert COLOUR.search(run.on_terminal("health", "--color", "auto").out)


def test_a_table_fits_the_terminal_and_is_whole_in_a_pipe(run: CommandLine, world: World) -> None:
    message = "a message that is much longer than what is left of a line on this terminal"
    dead_letter(world, "clone", 3 * HOUR, vm="vm", pool="p", error_class="E", error_message=message, id="0123456789ab")
    wide = run.on_terminal("dlq", "list", columns=150).out.splitlines()
    assert wide[-1].endswith(f"  0123456789ab  E: {message}")
    assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ  clone  ", wide[-1])
    for columns in (110, 80):
        *_, row, below = run.on_terminal("dlq", "list", columns=columns).out.splitlines()
        assert re.split(r"  +", row) == ["3 h", "clone", "vm", "p", "0", "0123456789ab"]
        assert below[:columns] == f"  E: {message}"[:columns]
    assert message in run("dlq", "list").out
    assert (
        run("dlq", "list", COLUMNS="80").out.splitlines()
        == run.on_terminal("dlq", "list", columns=80).out.split("\r\n")[:-1]
    )


def test_ages_in_a_narrow_table_are_by_the_servers_clock(
    run: CommandLine, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead_letter(world, "clone", 3 * HOUR, vm="vm", pool="p", error_class="E", error_message="x" * 80, id="0123456789ab")
    run("purge", "--why", "x" * 80)
    terminals_time = time.time
    monkeypatch.setattr(time, "time", lambda: terminals_time() + 48 * HOUR)
    assert re.search(r"^3 h ", run("dlq", "list", COLUMNS="80").out, re.MULTILINE)
    assert re.search(r"^ *1 +3 h +3 h ", run("dlq", "stats", COLUMNS="80").out, re.MULTILINE)
    assert re.search(r"^\d+ (s|min) +purge ", run("audit", COLUMNS="80").out, re.MULTILINE)


def test_text_from_redis_cannot_move_the_cursor_or_forge_a_line(run: CommandLine, world: World) -> None:
    dead_letter(
        world, "clone", 60, vm="vm\x1b[2J\nfail  forged", pool="p", error_class="E", error_message="\x1b[31mred"
    )
    shown = run.on_terminal("dlq", "list", columns=200).out
    assert "\x1b" not in shown
    assert "\nfail" not in shown


def some_rows(run: CommandLine, world: World) -> None:
    """Something in every table, with names longer than a terminal has room for."""
    run.environment["VMPOOLER_CONFIG"] = configuration("a-pool-with-quite-a-long-name-x86_64", "漢字の名前のプール" * 3)
    for number in range(3):
        dead_letter(
            world,
            "clone",
            60,
            vm=f"a-vm-with-a-long-name-{number}" + "語" * 20,
            pool="プール" * 9,
            id="0" * 16,
            error_class="TemplateNotFoundError",
            error_message="template 'x' is not in 漢字" * 3,
        )
    world.vm(Queue.PENDING, "stale-" + "v" * 60, 3 * HOUR, pool="漢字の名前のプール" * 3)
    world.client.set("vmpooler__tasks__clone", "1")
    run("health")
    run("dlq", "delete", "--vm", "nobody", "--yes")
    world.client.xadd(
        fleet_keys.AUDIT, {"action": "purge", "who": "somebody@" + "h" * 60, "count": 3, "why": "w" * 90, "x": "y"}
    )


TABLES = ["dlq list", "dlq stats", "health", "health --history 1h", "purge --dry-run", "audit"]


@pytest.mark.parametrize("typed", TABLES)
def test_every_table_fits_a_terminal_of_eighty_columns(run: CommandLine, world: World, typed: str) -> None:
    some_rows(run, world)
    shown = run.on_terminal(*typed.split(), columns=80)
    table = [re.sub(r"\x1b\[[0-9;]*[mHJ]", "", line) for line in shown.out.splitlines()]
    (rule,) = [number for number, line in enumerate(table) if re.fullmatch(r"-+(  -+)+", line)]
    below = [line for line in table[rule + 1 :] if "  " in line.strip()]
    assert below
    assert max(width(line) for line in table[rule - 1 : rule + 1 + len(below)]) <= 80
    if typed.startswith("dlq"):
        assert all("0" * 16 in line for line in below)


HOSTILE = {
    "long": "x" * 5000,
    "wide": "漢" * 5000,
    "combining": "e" + "\u0301" * 5000,
    "emoji": "👩‍👩‍👧‍👦" * 1000,
    "ambiguous": "\u200b\u202e" * 2500,
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_field_does_not_widen_a_table(kind: str, run: CommandLine, world: World) -> None:
    text = HOSTILE[kind]
    fields: dict[str, Any] = {"task": text, "vm": text, "pool": text, "error_class": text, "error_message": text}
    dead_letter(world, "tasks", 60, id="0" * 16, retry_count=10**300, **fields)
    dead_letter(world, "clone", 60, id="1" * 16, **fields)
    world.client.xadd(fleet_keys.AUDIT, {"action": text, "who": text, "count": "9" * 4000, "why": text, text: text})
    world.vm(Queue.PENDING, text[:300], 3 * HOUR, pool=POOL)
    run("health")
    for typed in ("dlq list", "dlq stats", "audit", "health", "health --history 1h", "purge --dry-run"):
        for line in run(*typed.split()).out.splitlines():
            assert width(line) < 500, typed
            assert len(line) < 6000, typed
        shown = run.on_terminal(*typed.split(), columns=80).out
        table = [re.sub(r"\x1b\[[0-9;]*[mHJ]", "", line) for line in shown.splitlines()]
        for rule in [number for number, line in enumerate(table) if re.fullmatch(r"-+(  -+)+", line)]:
            assert max(width(line) for line in table[rule - 1 : rule + 2]) <= 80, typed
    assert run.json("dlq", "show", "1" * 16)[0]["pool"] == text


def test_columns_stand_one_below_the_other_whatever_the_dead_letters(run: CommandLine, world: World) -> None:
    some_rows(run, world)
    heading, rule, *rows = run("dlq", "list").out.splitlines()
    begins = [found.start() for found in re.finditer("-+", rule)]
    place = heading.index("ID")
    assert place in begins
    for row in rows:
        assert width(row[: row.index("0" * 16)]) == place


def test_a_dead_letter_is_shown_without_its_control_characters_but_with_its_line_breaks(
    run: CommandLine, world: World
) -> None:
    dead_letter(
        world,
        "tasks",
        60,
        vm="v",
        id="id-1",
        error_class="E",
        error_message="\x1b]0;title\x07red\rback",
        traceback="File a\n  line 1\x1b[2J\nE: no",
    )
    world.client.zadd(keys.dead_letters(DeadLetterQueue.TASKS), {'{"id":"id-2","a\\u001b[2J":"x"}': world.now})
    shown = run("dlq", "show", "id-1", "id-2").out
    assert re.search(r"[^\n\x20-\x7e]", shown) is None
    assert "error_message: \\x1b]0;title\\x07red\\rback\n" in shown
    assert f"traceback:     File a\n{'':15}  line 1\\x1b[2J\n{'':15}E: no\n" in shown
    assert "a\\x1b[2J:" in shown


def test_a_pools_name_cannot_forge_a_line_of_the_status(run: CommandLine, world: World) -> None:
    pool = "p\nHEALTHY  (checked never)\x1b[2J"
    run.environment["VMPOOLER_CONFIG"] = json.dumps({":config": {"health_check_enabled": True}})
    world.client.sadd(keys.POOLS, pool)
    world.client.sadd(keys.queue(Queue.READY, pool), *(f"vm-{number}" for number in range(501)))
    for typed in ("health", "health --no-check"):
        shown = run(*typed.split())
        assert shown.status == 2, "no worker and no beat run here"
        assert "501 VMs ready in p\\nHEALTHY  (checked never)\\x1b[2J, more than 500" in shown.out
        assert not any(line.startswith("HEALTHY") for line in shown.out.splitlines())
        assert "\x1b" not in shown.out
