"""Odd dead letters, and text on the command line that is not UTF-8."""

import json
import os

import pytest

from tests.support.commands import CommandLine
from tests.support.odd_dead_letters import ODD_IDS, USUAL, odd_members
from tests.support.world import NOW, World

KEY = "vmpooler__dlq__clone"
LATIN_1 = os.fsdecode("café".encode("latin-1"))


def test_odd_dead_letters_are_listed_exported_and_counted(run: CommandLine, world: World) -> None:
    members = odd_members()
    world.client.zadd(KEY, {raw: NOW - number for number, raw in enumerate(members.values())})
    found = run.json("dlq", "list", "--limit", "1000")["entries"]
    assert (len(found), {one["queue"] for one in found}) == (len(members), {"clone"})
    table = run("dlq", "list", "--limit", "1000")
    assert (table.status, table.err) == (0, "")
    for form in ("jsonl", "csv"):
        exported = run("dlq", "export", "--format", form)
        assert (exported.status, exported.err) == (0, f"{len(members)} dead letters exported\n")
    assert sum(group["count"] for group in run.json("dlq", "stats")["groups"]) == len(members)
    ids = [one["id"] for one in found]
    shown = run("dlq", "show", "--", *ids)
    assert (shown.status, shown.err) == (0, "")
    assert run("dlq", "redrive", "--all", "--dry-run").status == 0


@pytest.mark.parametrize("odd_id", ODD_IDS)
def test_any_id_can_be_shown_and_deleted(run: CommandLine, world: World, odd_id: str) -> None:
    world.client.zadd(KEY, {json.dumps({**USUAL, "id": odd_id}): NOW, json.dumps(USUAL): NOW})
    [found] = json.loads(run("dlq", "show", "--json", "--", odd_id).out)
    assert found["id"] == odd_id
    assert run("dlq", "delete", "--yes", "--", odd_id).out == "Deleted 1 dead letters.\n"
    assert world.client.zcard(KEY) == 1


def test_text_that_is_not_utf_8_is_kept_escaped(run: CommandLine, world: World) -> None:
    world.client.zadd(KEY, {b'v:1:{"vm":"caf\xe9","id":"1"}': NOW})
    assert [one["vm"] for one in run.json("dlq", "list", "--vm", LATIN_1)["entries"]] == ["caf\\xe9"]
    done = run("dlq", "delete", "--vm", LATIN_1, "--yes", "--why", LATIN_1, LOGNAME=LATIN_1)
    assert (done.status, done.out) == (0, "Deleted 1 dead letters.\n")
    [entry] = run.json("audit")
    assert (entry["why"], entry["who"].partition("@")[0]) == ("caf\\xe9", "caf\\xe9")


@pytest.mark.parametrize(
    "words",
    [
        ("dlq", "list", "--search", LATIN_1),
        ("dlq", "list", "--match", LATIN_1),
        ("dlq", "list", "--error", LATIN_1),
        ("dlq", "list", "--pool", LATIN_1),
        ("dlq", "list", "--queue", LATIN_1),
        ("dlq", "list", "--since", LATIN_1),
        ("dlq", "list", "--after", LATIN_1),
        ("dlq", "show", LATIN_1),
        ("dlq", "export", "--output", f"{LATIN_1}/missing"),
        ("dlq", "redrive", LATIN_1),
        ("audit", "--who", LATIN_1),
        ("purge", "--pool", LATIN_1, "--why", LATIN_1),
        ("purge", "--why", LATIN_1, "--force"),
        ("pools", "pause", LATIN_1, "--why", LATIN_1),
        ("request", f"{LATIN_1}=1"),
        ("config", "check", LATIN_1),
        ("--config", LATIN_1, "health"),
        ("health", "--history", LATIN_1),
        (LATIN_1,),
        ("health", f"--{LATIN_1}"),
    ],
    ids=lambda words: " ".join(words).encode("ascii", "backslashreplace").decode(),
)
def test_text_that_is_not_utf_8_ends_in_no_traceback(run: CommandLine, words: tuple[str, ...]) -> None:
    result = run(*words)
    assert "Traceback" not in result.err
    assert result.err.count("\n") <= 2, result


def test_a_locale_without_the_characters_of_a_name_gets_them_escaped(run: CommandLine, world: World) -> None:
    world.client.zadd(KEY, {json.dumps({**USUAL, "vm": "ü☃"}): NOW})
    listed = run.process("dlq", "list", PYTHONIOENCODING="ascii:strict", PYTHONUTF8="0")
    assert (listed.status, listed.err) == (0, "")
    whole = run.process("dlq", "list", "--json", PYTHONIOENCODING="ascii:strict", PYTHONUTF8="0")
    assert json.loads(whole.out)["entries"][0]["vm"] == "ü☃"
