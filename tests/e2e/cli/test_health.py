"""`vmpooler-tasks health` as its users see it."""

import json
import re
import signal

import pytest

from tests.support.commands import CommandLine, dead_letter
from tests.support.fleet import let_run
from tests.support.processes import PATIENCE, configuration
from tests.support.world import POOL, World
from vmpooler_tasks.model.names import DeadLetterQueue, Queue
from vmpooler_tasks.store import keys

HOUR = 3600.0
TIMES = ("last_check", "last_scheduled_check")


@pytest.fixture(autouse=True)
def _running_processes(world: World) -> None:
    let_run(world)


@pytest.mark.parametrize(("dead_letters", "status"), [(100, "healthy"), (101, "degraded"), (1001, "unhealthy")])
def test_the_exit_status_is_the_health_status(run: CommandLine, world: World, dead_letters: int, status: str) -> None:
    world.client.zadd(
        keys.dead_letters(DeadLetterQueue.CLONE), {f'{{"vm":"{n}"}}': world.now for n in range(dead_letters)}
    )
    expected = ["healthy", "degraded", "unhealthy"].index(status)
    report = run.json("health", status=expected)
    assert (report["status"], report["dlq_total_size"]) == (status, dead_letters)
    shown = run("health", "--no-check")
    assert (shown.status, shown.err) == (expected, "")
    assert shown.out.startswith(f"{status.upper()}  (checked ")
    assert ("→ find the most frequent errors with `vmpooler-tasks dlq stats`" in shown.out) == (status != "healthy")


def test_health_as_json_is_the_hash_in_redis_decoded(run: CommandLine, world: World) -> None:
    world.vm(Queue.PENDING, "stuck", 3 * HOUR)
    world.vm(None, "lost", 48 * HOUR)
    report = run.json("health")
    stored = {name.decode(): value.decode() for name, value in world.client.hgetall(keys.HEALTH).items()}
    assert report.pop("duration_seconds") > 0
    assert report.keys() == stored.keys()
    assert report == {
        name: value if name in ("status", *TIMES) else json.loads(value) for name, value in stored.items()
    }
    assert (report["stuck_vm_count"], report["orphaned_metadata_count"]) == (1, 1)
    assert run.json("health", "--no-check")["last_check"] == report["last_check"]


def test_health_without_a_check_is_unhealthy_until_there_was_one(run: CommandLine, world: World) -> None:
    world.client.delete(keys.HEALTH)
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


def test_a_pool_that_is_called_dlq_shares_its_place_with_dead_letters(run: CommandLine, world: World) -> None:
    run.environment["VMPOOLER_CONFIG"] = configuration("dlq")
    world.vm(Queue.READY, "fine", 2 * HOUR + 60, pool="dlq")
    dead_letter(world, "pending", 60, vm="a1", error_class="E", error_message="told")
    for typed in ("health", "health --no-check"):
        shown = run(*typed.split())
        assert (shown.status, shown.err) == (0, "")
        assert re.split(r" {2,}", shown.out.splitlines()[3]) == ["dlq", "1", "-", "-", "1", "2h 1m", "0"]


def test_a_time_that_is_still_to_come_is_shown_as_no_age(run: CommandLine, world: World) -> None:
    world.vm(Queue.PENDING, "soon", -2 * HOUR)
    world.vm(Queue.READY, "far", -900 * 365 * 24 * HOUR)
    assert re.split(r" {2,}", run("health").out.splitlines()[3]) == [POOL, "1", "0s", "0", "1", "0s", "0"]


@pytest.mark.parametrize(
    ("fields", "row"),
    [
        ({"metrics": "nojson"}, None),
        ({"reasons": '[{"code":"x","severity":"bad"}]'}, None),
        ({"metrics": '{"queues":{"p":{"completed":{"size":1}}}}'}, ["p", "-", "-", "-", "-", "-", "1"]),
        ({"metrics": '{"queues":{"p":{"completed":5,"ready":{"size":[],"oldest_age":1e999}}}}'}, ["p", *"------"]),
        ({"metrics": '{"queues":{"p":{"completed":{},"ready":{"size":2.0}}}}'}, ["p", "-", "-", "-", "2", "-", "-"]),
    ],
)
def test_a_status_of_another_program_is_shown_as_far_as_it_is_readable(
    run: CommandLine, world: World, fields: dict[str, str], row: list[str] | None
) -> None:
    run("health")
    world.client.hset(keys.HEALTH, mapping=fields)
    shown = run("health", "--no-check")
    assert (shown.status, shown.err) == (0 if row else 2, "")
    assert ("the recorded health status cannot be read" in shown.out) == (row is None)
    if row:
        assert re.split(r" {2,}", shown.out.splitlines()[3]) == row
    assert run("health", "--no-check", "--json").status == shown.status


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


def test_an_unreadable_entry_of_the_history_hides_no_other(run: CommandLine, world: World) -> None:
    run("health")
    world.client.zadd(keys.HEALTH_HISTORY, {'{"at":1,"status":"healthy"}': world.now, "no JSON": world.now})
    done = run("health", "--history", "1h")
    assert done.status == 0
    assert len(done.out.splitlines()) == 2 + 2
    assert len(run.json("health", "--history", "1h")) == 2


def test_watched_health_goes_on_until_ctrl_c(run: CommandLine) -> None:
    with run.started("health", "--watch", "--json") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        seen = [json.loads(process.stdout.readline())["status"] for _ in range(2)]
        process.send_signal(signal.SIGINT)
        assert (process.wait(PATIENCE), process.stderr.read()) == (130, "\n")
    assert seen == ["healthy", "healthy"]
