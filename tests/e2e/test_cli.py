"""The command line as its users see it: what it shows to people, and to machines."""

import csv
import io
import json
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import messages, servers
from tests.support.commands import CommandLine, letter
from tests.support.processes import Installation, until
from tests.support.servers import TestServer
from tests.support.world import POOL, World
from vmpooler_tasks.model.names import DeadLetterQueue, Queue
from vmpooler_tasks.store import Database, keys, purging

HOUR = 3600.0
NOWHERE = "redis://:s3cr3t@127.0.0.1:1/0"
COLOUR = re.compile(r"\x1b\[3[123]m")


@pytest.fixture
def run(valkey: TestServer, tmp_path: Path) -> CommandLine:
    """The command on an empty database, with every feature on and one pool."""
    return CommandLine(tmp_path, Installation(valkey.url, tmp_path).environment)


@pytest.fixture
def world(valkey: TestServer) -> Iterator[World]:
    """That database. Its clock is the real one, since the command's is."""
    db = Database(valkey.url)
    yield World(db, now=time.time())
    db.close()


def some_letters(world: World) -> None:
    letter(world, "clone", 1 * HOUR, vm="a1", pool="blue", error_class="Timeout", error_message="no answer in 120 s",
           request_id="req-1", id="id-a1")  # fmt: skip
    letter(world, "clone", 2 * HOUR, vm="a2", pool="red", error_class="Timeout", error_message="no answer in 240 s",
           id="id-a2")  # fmt: skip
    letter(world, "pending", 3 * HOUR, vm="a3", pool="blue", error_class="Purge", error_message="=stale", id="id-a3")
    letter(world, "ready", 50 * HOUR, old_form=True, vm="a4", pool="red", error_class="StandardError",
           error_message="template does not exist")  # fmt: skip


# --- purge -------------------------------------------------------------------------------------------------------


def stale_state(world: World) -> None:
    world.vm(Queue.PENDING, "p-old", 3 * HOUR)
    world.vm(Queue.PENDING, "p-new", 60)
    world.vm(Queue.READY, "r-old", 25 * HOUR)
    world.vm(Queue.COMPLETED, "c-old", 2 * HOUR, pool=POOL)
    world.vm(None, "lost", 48 * HOUR)


PURGE_FIELDS = ["dry_run", "found", "purged", "total", "errors", "entries", "duration_seconds"]


def test_a_dry_run_reports_what_it_found_and_changes_nothing(run: CommandLine, world: World) -> None:
    stale_state(world)
    before = world.snapshot()
    report = run.json("purge", "--dry-run")
    assert list(report) == PURGE_FIELDS
    assert report["dry_run"] is True
    assert report["found"] == {"pending": 1, "ready": 1, "completed": 1, "orphaned": 1, "requests": 0}
    assert set(report["purged"].values()) == {0}
    assert (report["total"], report["errors"]) == (4, [])
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
    named = re.fullmatch(r"Enqueued as task ([0-9a-f-]{36}); a worker's log tells how it goes\.\n", said.out)
    assert named
    assert run.json("purge", "--enqueue").keys() == {"task_id"}
    assert messages.waiting(world.db) == 2
    oldest = json.loads(world.client.lindex(messages.QUEUE, -1))
    assert (oldest["headers"]["task"], oldest["headers"]["id"]) == ("vmpooler_tasks.purge_stale_entries", named[1])


# --- health ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("letters", "status"), [(100, "healthy"), (101, "degraded"), (1001, "unhealthy")])
def test_the_exit_status_of_health_is_the_verdict(run: CommandLine, world: World, letters: int, status: str) -> None:
    world.client.zadd(keys.dead_letters(DeadLetterQueue.CLONE), {f'{{"vm":"{n}"}}': world.now for n in range(letters)})
    expected = ["healthy", "degraded", "unhealthy"].index(status)
    report = run.json("health", status=expected)
    assert (report["status"], report["dlq_total_size"]) == (status, letters)
    shown = run("health", "--no-check")
    assert (shown.status, shown.err) == (expected, "")
    assert shown.out.startswith(f"{status.upper()}  (checked ")
    assert ("→ see what fails most with `vmpooler-tasks dlq stats`" in shown.out) == (status != "healthy")


def test_health_as_json_is_the_hash_in_redis_decoded(run: CommandLine, world: World) -> None:
    world.vm(Queue.PENDING, "stuck", 3 * HOUR)
    world.vm(None, "lost", 48 * HOUR)
    report = run.json("health")
    stored = {name.decode(): value.decode() for name, value in world.client.hgetall(keys.HEALTH).items()}
    assert report.pop("duration_seconds") > 0
    assert report.keys() == stored.keys()
    assert report == {
        name: value if name in ("status", "last_check") else json.loads(value) for name, value in stored.items()
    }
    assert (report["stuck_vm_count"], report["orphaned_metadata_count"]) == (1, 1)
    assert run.json("health", "--no-check")["last_check"] == report["last_check"]


def test_health_without_a_check_is_unhealthy_until_there_was_one(run: CommandLine, world: World) -> None:
    report = run.json("health", "--no-check", status=2)
    assert [reason["code"] for reason in report["reasons"]] == ["stale"]
    assert world.client.exists(keys.HEALTH) == 0


def test_people_see_health_as_a_table_of_pools(run: CommandLine, world: World) -> None:
    world.vm(Queue.PENDING, "stuck", 3 * HOUR + 60)
    world.vm(Queue.READY, "fine", 2 * HOUR + 60)
    _, heading, _, row, last = run("health").out.splitlines()
    assert heading.split("  ")[0] == "POOL"
    assert re.split(r" {2,}", row) == [POOL, "1", "3h 1m", "1", "1", "2h 1m", "0"]
    assert last == "Dead letters: 0   Stuck VMs: 1   Orphaned metadata: 0"


def test_health_keeps_a_history(run: CommandLine) -> None:
    assert run("health", "--history", "24h").out == "No checks in the last 1d.\n"
    run("health")
    run("health")
    checks = run.json("health", "--history", "24h")
    assert [check["status"] for check in checks] == ["healthy", "healthy"]
    assert checks[0]["at"] < checks[1]["at"]
    heading, _, first, _ = run("health", "--history", "1h30m").out.splitlines()
    assert heading.split() == [
        *["TIME", "STATUS", "PENDING", "READY", "COMPLETED", "DLQ", "STUCK", "ORPHANED", "REASONS"]
    ]
    assert first.split()[2:] == ["healthy", "0", "0", "0", "0", "0", "0"]


def test_watched_health_goes_on_until_ctrl_c(run: CommandLine) -> None:
    with run.started("health", "--watch", "--json") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        seen = [json.loads(process.stdout.readline())["status"] for _ in range(2)]
        process.send_signal(signal.SIGINT)
        assert (process.wait(30), process.stderr.read()) == (130, "\n")
    assert seen == ["healthy", "healthy"]


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
    some_letters(world)
    page = run.json("dlq", "list", *filters.split())
    assert [entry["vm"] for entry in page["entries"]] == found
    assert page["next"] is None


def test_pages_of_dead_letters_come_to_all_of_them(run: CommandLine, world: World) -> None:
    some_letters(world)
    first = run.json("dlq", "list", "--limit", "3")
    rest = run.json("dlq", "list", "--limit", "3", "--after", first["next"])
    assert [entry["vm"] for entry in (*first["entries"], *rest["entries"])] == ["a1", "a2", "a3", "a4"]
    assert rest["next"] is None
    assert run("dlq", "list", "--limit", "3").out.endswith(f"More with --after {first['next']}\n")


def test_people_see_dead_letters_as_a_table(run: CommandLine, world: World) -> None:
    assert run("dlq", "list").out == "No dead letters.\n"
    some_letters(world)
    heading, _, *rows = run("dlq", "list").out.splitlines()
    assert re.split(r" {2,}", heading.strip()) == ["FAILED AT", "QUEUE", "VM OR TASK", "POOL", "RETRIES", "ID", "ERROR"]
    assert re.split(r" {2,}", rows[0])[1:] == ["clone", "a1", "blue", "0", "id-a1", "Timeout: no answer in 120 s"]
    assert len(rows) == 4


def test_a_dead_letter_is_shown_whole_by_its_id(run: CommandLine, world: World) -> None:
    some_letters(world)
    (shown,) = run.json("dlq", "show", "id-a1")
    assert (shown["queue"], shown["vm"], shown["request_id"]) == ("clone", "a1", "req-1")
    assert "error_message: no answer in 120 s\n" in run("dlq", "show", "id-a1").out
    old_id = run.json("dlq", "list", "--vm", "a4")["entries"][0]["id"]
    assert run.json("dlq", "show", old_id)[0]["error_message"] == "template does not exist"
    missing = run("dlq", "show", "id-a1", "id-zz")
    assert (missing.status, missing.err) == (1, "vmpooler-tasks: no dead letter with id id-zz\n")


def test_dead_letters_are_counted_by_error_whatever_the_numbers_in_it(run: CommandLine, world: World) -> None:
    some_letters(world)
    counted = run.json("dlq", "stats")
    assert counted["sizes"] == {"pending": 1, "clone": 2, "ready": 1, "tasks": 0}
    most = counted["groups"][0]
    assert (most["count"], most["error_class"], most["message"]) == (2, "Timeout", "no answer in <n> s")
    assert most["pools"] == ["blue", "red"]
    assert "In all: 1 pending, 2 clone, 1 ready, 0 tasks\n" in run("dlq", "stats").out


def test_dead_letters_are_deleted_only_after_a_yes_and_the_audit_keeps_why(run: CommandLine, world: World) -> None:
    some_letters(world)
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
    some_letters(world)
    lines = run("dlq", "export", "--queue", "clone")
    assert [json.loads(line)["vm"] for line in lines.out.splitlines()] == ["a1", "a2"]
    assert (lines.status, lines.err) == (0, "2 dead letters exported\n")
    assert run("dlq", "export", "--queue", "clone", "--json").out == lines.out
    run("dlq", "export", "--format", "csv", "--output", "letters.csv")
    rows = list(csv.DictReader(io.StringIO((run.folder / "letters.csv").read_text(encoding="utf-8"))))
    assert [row["vm"] for row in rows] == ["a1", "a2", "a3", "a4"]
    assert rows[2]["error_message"] == "'=stale", "a spreadsheet would run it as a formula"


def test_people_see_the_audit_as_a_table(run: CommandLine, world: World) -> None:
    assert run("audit").out == "Nothing was deleted or purged yet.\n"
    some_letters(world)
    run("dlq", "delete", "id-a1", "--yes", "--why", "known")
    heading, _, row = run("audit").out.splitlines()
    assert heading.split() == ["TIME", "ACTION", "WHO", "COUNT", "WHY", "DETAILS"]
    assert "delete" in row
    assert "known" in row
    assert row.endswith("queue=clone")


# --- configuration and doctor ------------------------------------------------------------------------------------


def test_the_effective_values_are_shown_without_secrets(run: CommandLine) -> None:
    values = run.json("config", "show")
    assert (values["source"], values["dlq_enabled"], values["pools"]) == ("VMPOOLER_CONFIG", "true", POOL)
    secret = run("config", "show", REDIS_URL=NOWHERE, DLQ_TTL="24")
    rows = dict(re.split(r" {2,}", line, maxsplit=1) for line in secret.out.splitlines() if "  " in line)
    assert (rows["redis"], rows["dlq_ttl"]) == ("redis://127.0.0.1:1/0", "24")
    assert "s3cr3t" not in secret.out


def doctors_findings(run: CommandLine, status: int) -> dict[str, Any]:
    return {finding["what"]: finding for finding in run.json("doctor", status=status)}


def test_doctor_tells_what_does_not_run_and_how_to_start_it(run: CommandLine) -> None:
    findings = doctors_findings(run, status=1)
    assert {what: finding["state"] for what, finding in findings.items()} == {
        "configuration": "ok", "Redis": "ok", "version": "ok", "role": "ok", "eviction": "ok", "memory": "ok",
        "persistence": "warn", "clock": "ok", "broker": "ok", "workers": "fail", "beat": "fail", "last purge": "warn",
        "health": "fail",
    }  # fmt: skip
    assert findings["workers"]["remedy"] == "start one: celery -A vmpooler_tasks worker"
    assert findings["beat"]["remedy"] == "start one: celery -A vmpooler_tasks beat"
    assert (findings["persistence"]["found"], findings["persistence"]["remedy"]) == (
        "none: a restart of Redis loses everything", "set appendonly yes",
    )  # fmt: skip
    assert findings["health"]["found"] == "unhealthy at no time: stale"


def test_doctor_warns_of_a_redis_that_evicts_or_cannot_be_written_to(run: CommandLine, tmp_path: Path) -> None:
    options = ("--maxmemory-policy", "allkeys-lru", "--maxmemory", "100mb", "--appendonly", "yes")
    with servers.running("valkey", tmp_path / "lru", options) as evicting:
        run.environment["REDIS_URL"] = evicting.url
        findings = doctors_findings(run, status=1)
        assert findings["eviction"]["state"] == "warn"
        assert findings["eviction"]["found"].startswith("allkeys-lru: ")
        assert findings["eviction"]["remedy"] == "set maxmemory-policy noeviction"
        assert findings["persistence"]["state"] == "ok"
        Database(evicting.url).call("REPLICAOF", "127.0.0.1", "1")
        assert doctors_findings(run, status=1)["role"]["remedy"] == "connect to the primary"


@pytest.mark.slow
def test_doctor_is_content_with_a_running_installation(
    valkey: TestServer, run: CommandLine, world: World, tmp_path: Path
) -> None:
    with Installation(valkey.url, tmp_path) as installation:
        worker = installation.worker()
        installation.beat()
        worker.says("[*] [purge] Completed purge cycle").says("[*] [health] Status: HEALTHY")
        until(lambda: purging.read_state(world.db).finished, "the purge is recorded")
        result = run("doctor")
    assert (result.status, result.err) == (0, "")
    assert "fail" not in result.out
    assert re.search(r"^ok    workers: +1: worker@", result.out, re.MULTILINE)
    assert re.search(r"^ok    beat: +1: \S+:\d+$", result.out, re.MULTILINE)
    assert re.search(r"^ok    health: +healthy at \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$", result.out, re.MULTILINE)


# --- terminals ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("typed", ["health", "doctor", "health --history 1h", "config check"])
def test_colours_appear_on_a_terminal_and_nowhere_else(run: CommandLine, typed: str) -> None:
    run("health")
    shown = run.on_terminal(*typed.split())
    assert COLOUR.search(shown.out)
    piped = run(*typed.split())
    assert "\x1b" not in piped.out + piped.err
    assert piped.status == shown.status


def test_a_table_fits_the_terminal_and_is_whole_in_a_pipe(run: CommandLine, world: World) -> None:
    message = "a message that is much longer than what is left of a line on this terminal"
    letter(world, "clone", 60, vm="vm", pool="p", error_class="E", error_message=message, id="0123456789abcdef")
    shown = run.on_terminal("dlq", "list", columns=110)
    assert max(map(len, shown.out.splitlines())) == 110
    assert "0123456789abcdef" in shown.out
    assert "…" in shown.out
    assert message in run("dlq", "list").out


def test_text_from_redis_cannot_move_the_cursor_or_forge_a_line(run: CommandLine, world: World) -> None:
    letter(world, "clone", 60, vm="vm\x1b[2J\nfail  forged", pool="p", error_class="E", error_message="\x1b[31mred")
    shown = run.on_terminal("dlq", "list", columns=200).out
    assert "\x1b" not in shown
    assert "\nfail" not in shown
