"""The command line as its users see it: what it shows to people, and to machines."""

import csv
import io
import json
import re
import time

import pytest

from tests.support import messages
from tests.support.commands import CommandLine, dead_letter
from tests.support.world import POOL, World
from vmpooler_tasks.model.names import Queue
from vmpooler_tasks.store import keys
from vmpooler_tasks.store.fleet import audit

HOUR = 3600.0


def some_dead_letters(world: World) -> None:
    dead_letter(
        world,
        "clone",
        1 * HOUR,
        vm="a1",
        pool="blue",
        error_class="Timeout",
        error_message="no answer in 120 s",
        request_id="req-1",
        id="id-a1",
    )
    dead_letter(
        world,
        "clone",
        2 * HOUR,
        vm="a2",
        pool="red",
        error_class="Timeout",
        error_message="no answer in 240 s",
        id="id-a2",
    )
    dead_letter(
        world, "pending", 3 * HOUR, vm="a3", pool="blue", error_class="Purge", error_message="=stale", id="id-a3"
    )
    dead_letter(
        world,
        "ready",
        50 * HOUR,
        old_form=True,
        vm="a4",
        pool="red",
        error_class="StandardError",
        error_message="template does not exist",
    )


# --- purge -------------------------------------------------------------------------------------------------------


def stale_state(world: World) -> None:
    world.vm(Queue.PENDING, "p-old", 3 * HOUR)
    world.vm(Queue.PENDING, "p-new", 60)
    world.vm(Queue.READY, "r-old", 25 * HOUR)
    world.vm(Queue.COMPLETED, "c-old", 2 * HOUR, pool=POOL)
    world.vm(None, "lost", 48 * HOUR)


PURGE_FIELDS = ["dry_run", "found", "purged", "total", "errors", "error_count", "entries", "duration_seconds"]


def test_a_dry_run_reports_what_it_found_and_changes_nothing(run: CommandLine, world: World) -> None:
    stale_state(world)
    before = world.snapshot()
    report = run.json("purge", "--dry-run")
    assert list(report) == PURGE_FIELDS
    assert report["dry_run"] is True
    assert report["found"] == {"pending": 1, "ready": 1, "completed": 1, "orphaned": 1, "requests": 0}
    assert set(report["purged"].values()) == {0}
    assert (report["total"], report["errors"], report["error_count"]) == (4, [], 0)
    by_vm = {entry["vm"]: entry for entry in report["entries"]}
    assert set(by_vm) == {"p-old", "r-old", "c-old", "lost"}
    assert list(by_vm["p-old"]) == ["queue", "pool", "vm", "age_seconds", "max_age_seconds"]
    assert 3 * HOUR <= by_vm["p-old"].pop("age_seconds") < 3 * HOUR + 600
    assert by_vm["p-old"] == {"queue": "pending", "pool": POOL, "vm": "p-old", "max_age_seconds": 7200}
    assert 0 < report["duration_seconds"] < 60
    assert world.snapshot() == before


def test_a_purge_does_it_and_leaves_its_trace_in_the_audit(run: CommandLine, world: World) -> None:
    stale_state(world)
    report = run.json("purge", "--why", "spring cleaning")
    assert list(report) == PURGE_FIELDS
    assert (
        report["purged"] == report["found"] == {"pending": 1, "ready": 1, "completed": 1, "orphaned": 1, "requests": 0}
    )
    assert (report["dry_run"], report["total"]) == (False, 4)
    assert world.members(Queue.PENDING) == {b"p-new"}
    assert world.members(Queue.COMPLETED) == {b"r-old"}
    (entry,) = run.json("audit")
    assert (entry["action"], entry["count"], entry["why"]) == ("purge", "4", "spring cleaning")
    assert "@" in entry["who"]
    assert abs(entry["at"] - time.time()) < 600


def test_people_see_a_purge_as_a_table(run: CommandLine, world: World) -> None:
    world.vm(Queue.PENDING, "p-old", 3 * HOUR + 120)
    shown = run("purge", "--dry-run", "--queue", "pending")
    heading, _, row, last = shown.out.splitlines()
    assert heading.split() == ["QUEUE", "POOL", "AGE", "LIMIT", "VM"]
    assert re.split(r" {2,}", row) == ["pending", POOL, "3h 2m", "2h", "p-old"]
    assert re.fullmatch(r"Would purge 1 pending in \d+\.\d\ds\.", last)
    done = run("purge", "--queue", "pending").out.splitlines()
    assert re.fullmatch(r"Purged 1 pending in \d+\.\d\ds\.", done[-1])
    assert re.fullmatch(r"Purged nothing in \d+\.\d\ds\.\n", run("purge", "--queue", "pending").out)


def test_a_purge_of_named_pools_and_queues_takes_nothing_else(run: CommandLine, world: World) -> None:
    world.client.sadd(keys.POOLS, "other")
    world.vm(Queue.PENDING, "mine", 3 * HOUR)
    world.vm(Queue.PENDING, "theirs", 3 * HOUR, pool="other")
    stale_state(world)
    report = run.json("purge", "--pool", "other")
    assert [entry["vm"] for entry in report["entries"]] == ["theirs"]
    report = run.json("purge", "--queue", "ready", "--queue", "orphaned")
    assert {entry["vm"] for entry in report["entries"]} == {"r-old", "lost"}


def test_a_purge_that_is_switched_off_says_so_and_is_forced_or_tried_all_the_same(
    run: CommandLine, world: World
) -> None:
    run.environment["PURGE_ENABLED"] = "false"
    world.vm(Queue.PENDING, "p-old", 3 * HOUR)
    off = "purge is switched off (purge_enabled: false)"
    assert run("purge").out == f"Nothing done: {off}.\n"
    assert run.json("purge")["skipped"] == off
    assert run.json("purge", "--dry-run")["total"] == 1
    assert world.members(Queue.PENDING) == {b"p-old"}
    assert run.json("purge", "--force")["total"] == 1
    assert world.members(Queue.PENDING) == set()


def test_an_enqueued_purge_waits_for_a_worker(run: CommandLine, world: World) -> None:
    said = run("purge", "--enqueue", "--dry-run", "--pool", POOL)
    named = re.fullmatch(
        r"Enqueued as task ([0-9a-f-]{36})\. The log of the worker that runs it shows the result\.\n", said.out
    )
    assert named
    assert run.json("purge", "--enqueue").keys() == {"task_id"}
    assert messages.waiting(world.db) == 2
    oldest = json.loads(world.client.lindex(messages.QUEUE, -1))
    assert (oldest["headers"]["task"], oldest["headers"]["id"]) == ("vmpooler_tasks.purge_stale_entries", named[1])


# --- dead letters ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ("", ["a1", "a2", "a3", "a4"]),
        ("--queue clone", ["a1", "a2"]),
        ("--queue pending --queue ready", ["a3", "a4"]),
        ("--pool blue", ["a1", "a3"]),
        ("--vm a4", ["a4"]),
        ("--request req-1", ["a1"]),
        ("--error-class Timeout", ["a1", "a2"]),
        ("--match template.*exist", ["a4"]),
        ("--since 150m", ["a1", "a2"]),
        ("--until 24h", ["a4"]),
        ("--pool red --queue clone", ["a2"]),
    ],
)
def test_dead_letters_are_listed_by_filter_newest_first(
    run: CommandLine, world: World, filters: str, found: list[str]
) -> None:
    some_dead_letters(world)
    page = run.json("dlq", "list", *filters.split())
    assert [entry["vm"] for entry in page["entries"]] == found
    assert page["next"] is None


def test_how_long_ago_is_counted_by_the_clock_of_redis(
    run: CommandLine, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    some_dead_letters(world)
    right = time.time
    monkeypatch.setattr(time, "time", lambda: right() + 24 * 3600)
    assert [entry["vm"] for entry in run.json("dlq", "list", "--since", "150m")["entries"]] == ["a1", "a2"]


def test_pages_of_dead_letters_come_to_all_of_them(run: CommandLine, world: World) -> None:
    some_dead_letters(world)
    first = run.json("dlq", "list", "--limit", "3")
    rest = run.json("dlq", "list", "--limit", "3", "--after", first["next"])
    assert [entry["vm"] for entry in (*first["entries"], *rest["entries"])] == ["a1", "a2", "a3", "a4"]
    assert rest["next"] is None
    assert run("dlq", "list", "--limit", "3").out.endswith(f"More with --after {first['next']}\n")


def test_people_see_dead_letters_as_a_table(run: CommandLine, world: World) -> None:
    assert run("dlq", "list").out == "No dead letters.\n"
    some_dead_letters(world)
    heading, _, *rows = run("dlq", "list").out.splitlines()
    assert re.split(r" {2,}", heading.strip()) == ["FAILED AT", "QUEUE", "VM OR TASK", "POOL", "RETRIES", "ID", "ERROR"]
    assert re.split(r" {2,}", rows[0])[1:] == ["clone", "a1", "blue", "0", "id-a1", "Timeout: no answer in 120 s"]
    assert len(rows) == 4


def test_a_dead_letter_is_shown_whole_by_its_id(run: CommandLine, world: World) -> None:
    some_dead_letters(world)
    (shown,) = run.json("dlq", "show", "id-a1")
    assert (shown["queue"], shown["vm"], shown["request_id"]) == ("clone", "a1", "req-1")
    assert "error_message: no answer in 120 s\n" in run("dlq", "show", "id-a1").out
    old_id = run.json("dlq", "list", "--vm", "a4")["entries"][0]["id"]
    assert run.json("dlq", "show", old_id)[0]["error_message"] == "template does not exist"
    missing = run("dlq", "show", "id-a1", "id-zz")
    assert (missing.status, missing.err) == (1, "vmpooler-tasks: no dead letter with id id-zz\n")


def test_dead_letters_are_counted_by_error_whatever_the_numbers_in_it(run: CommandLine, world: World) -> None:
    some_dead_letters(world)
    counted = run.json("dlq", "stats")
    assert counted["sizes"] == {"pending": 1, "clone": 2, "ready": 1, "tasks": 0}
    most = counted["groups"][0]
    assert (most["count"], most["error_class"], most["message"]) == (2, "Timeout", "no answer in <n> s")
    assert most["pools"] == ["blue", "red"]
    assert "Total: 1 pending, 2 clone, 1 ready, 0 tasks\n" in run("dlq", "stats").out


def test_dead_letters_are_deleted_only_after_a_yes_and_the_audit_keeps_why(run: CommandLine, world: World) -> None:
    some_dead_letters(world)
    assert run("dlq", "delete", "--queue", "clone", "--all", "--dry-run").out == "Would delete 2 dead letters.\n"
    refused = run("dlq", "delete", "--error-class", "Timeout", typed="n\n")
    assert (refused.status, refused.out) == (130, "")
    assert refused.err == "Delete 2 dead letters? [y/N]: vmpooler-tasks: stopped\n"
    assert run.json("dlq", "stats")["sizes"]["clone"] == 2
    assert run("dlq", "delete", "--error-class", "Timeout", "--why", "mended", typed="y\n").out == (
        "Deleted 2 dead letters.\n"
    )
    assert run.json("dlq", "delete", "id-a3", "--yes") == {"dry_run": False, "found": 1, "deleted": 1}
    assert [entry["vm"] for entry in run.json("dlq", "list")["entries"]] == ["a4"]
    newest, before = run.json("audit")
    assert (newest["queue"], newest["count"]) == ("pending", "1")
    assert (before["action"], before["queue"], before["count"], before["why"]) == ("delete", "clone", "2", "mended")


def test_dead_letters_are_exported_as_json_lines_and_csv(run: CommandLine, world: World) -> None:
    some_dead_letters(world)
    lines = run("dlq", "export", "--queue", "clone")
    assert [json.loads(line)["vm"] for line in lines.out.splitlines()] == ["a1", "a2"]
    assert (lines.status, lines.err) == (0, "2 dead letters exported\n")
    assert run("dlq", "export", "--queue", "clone", "--json").out == lines.out
    run("dlq", "export", "--format", "csv", "--output", "letters.csv")
    rows = list(csv.DictReader(io.StringIO((run.folder / "letters.csv").read_text(encoding="utf-8"))))
    assert [row["vm"] for row in rows] == ["a1", "a2", "a3", "a4"]
    assert rows[2]["error_message"] == "'=stale", "a spreadsheet would run it as a formula"


def test_people_see_the_audit_as_a_table(run: CommandLine, world: World) -> None:
    assert run("audit").out == "Nothing was redriven, deleted or purged yet.\n"
    some_dead_letters(world)
    run("dlq", "delete", "id-a1", "--yes", "--why", "known")
    heading, _, row = run("audit").out.splitlines()
    assert heading.split() == ["TIME", "ACTION", "WHO", "COUNT", "WHY", "DETAILS"]
    assert "delete" in row
    assert "known" in row
    assert row.endswith("queue=clone")


def test_the_audit_is_filtered(run: CommandLine, world: World) -> None:
    for who, action in (("anna@host", "delete"), ("beat", "purge"), ("anna@host", "purge")):
        audit.record(world.db, {"who": who, "action": action})
    found = run.json("audit", "--who", "ANNA", "--action", "purge")
    assert [(one["who"], one["action"]) for one in found] == [("anna@host", "purge")]
    assert len(run.json("audit", "--since", "1h")) == 3
    assert run.json("audit", "--since", "2999-01-01T00:00:00Z") == []


def test_a_dead_letter_shows_its_attempts(run: CommandLine, world: World) -> None:
    first = {"id": "0", "vm": "v0", "failed_at": "2024-01-15T10:30:00Z", "error_class": "E", "error_message": "no"}
    redriven = {"redriven_at": "2024-01-15T11:30:00Z", "who": "anna@host", "run": "run-1"}
    dead_letter(world, "clone", 5, id="a" * 16, vm="v1", attempts=[{**first, **redriven}], redrives=2)
    shown = run("dlq", "show", "a" * 16).out
    assert "attempts:      1 older, not kept\n" in shown
    assert "2024-01-15T10:30:00Z  v0  E: no\n" in shown
    assert "run again 2024-01-15T11:30:00Z by anna@host in run run-1\n" in shown
    [entry] = run.json("dlq", "show", "a" * 16)
    assert [one["vm"] for one in entry["attempts"]] == ["v0", "v1"]


def test_automatic_purges_that_found_nothing_are_one_row(run: CommandLine, world: World) -> None:
    for count in (0, 0, 1, 0, 0, 0):
        audit.record(world.db, {"who": "beat", "action": "purge", "count": count})
    rows = run("audit").out.splitlines()[2:]
    assert ["3 automatic purges" in rows[0], rows[1].split()[-1], "2 automatic purges" in rows[2]] == [True, "1", True]
    assert len(rows) == 3
    assert len(run.json("audit")) == 6
