"""Runs of redrives that are interrupted, shared, listed, or stopped: nothing is lost, nothing is doubled."""

import re
import signal
import subprocess
from functools import partial

import pytest

from tests.support.commands import dead_letter
from tests.support.failing_tasks import PREFIX
from tests.support.messages import message, send
from tests.support.processes import PATIENCE, until
from tests.support.redrive_bench import Bench
from vmpooler_tasks.store import keys

pytestmark = pytest.mark.slow(seconds=25)


def redriven(bench: Bench, run: str) -> int:
    return int(bench.world.client.hget(f"vmpooler_tasks__redrive__{run}", "redriven") or 0)


def has_run(bench: Bench, run: str, count: int) -> bool:
    return redriven(bench, run) >= count


def newest_run(bench: Bench) -> str:
    """The id of the newest run; '' before the first one."""
    found = bench.world.client.zrange(keys.REDRIVES, -1, -1)
    return found[0].decode() if found else ""


def started_run(bench: Bench, process: "subprocess.Popen[str]", before: str, count: int) -> str:
    """The id of the run that this process started, once it has run so many dead letters."""
    until(lambda: newest_run(bench) != before or process.poll() is not None, "it has started")
    run = newest_run(bench)
    until(
        lambda: redriven(bench, run) >= count,
        lambda: f"it has run {count} dead letters, and has {redriven(bench, run)}",
    )
    return run


def test_a_command_that_is_killed_again_and_again_can_be_resumed(bench: Bench) -> None:
    before, numbers = newest_run(bench), bench.sums(60)
    with bench.run.started("dlq", "redrive", "--all", "--yes", "--rate", "40") as process:
        run = started_run(bench, process, before, 10)
        process.kill()
    for count in (25, 40):
        with bench.run.started("dlq", "redrive", "--resume", run) as process:
            until(partial(has_run, bench, run, count), "it goes on")
            process.kill()
    assert bench.run.json("dlq", "redrive", "--status", run)["state"] == "running"
    assert bench.run.json("dlq", "redrive", "--resume", run)["redriven"] == 60
    bench.each_once(numbers)
    assert len([entry for entry in bench.run.json("audit") if entry["run"] == run]) == 1


def test_a_run_that_two_drive_at_once_is_shared(bench: Bench) -> None:
    before, numbers = newest_run(bench), bench.sums(60)
    with bench.run.started("dlq", "redrive", "--all", "--yes", "--rate", "20") as process:
        run = started_run(bench, process, before, 3)
        bench.run("dlq", "redrive", "--resume", run)
        assert process.wait(PATIENCE) == 0
    bench.each_once(numbers)


def test_a_worker_goes_on_with_a_run_that_was_interrupted(bench: Bench) -> None:
    before, numbers = newest_run(bench), bench.sums(30)
    with bench.run.started("dlq", "redrive", "--all", "--yes", "--rate", "20") as process:
        run = started_run(bench, process, before, 5)
        process.kill()
    bench.run("dlq", "redrive", "--resume", run, "--enqueue")
    bench.each_once(numbers)


def test_ctrl_c_says_how_to_go_on(bench: Bench) -> None:
    before, numbers = newest_run(bench), bench.sums(40)
    with bench.run.started("dlq", "redrive", "--all", "--yes", "--rate", "10") as process:
        run = started_run(bench, process, before, 2)
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 130
        assert process.stderr is not None
        errors = process.stderr.read()
    assert f"Interrupted. Continue with `vmpooler-tasks dlq redrive --resume {run}`" in errors
    assert "Traceback" not in errors
    assert bench.run.json("dlq", "redrive", "--cancel", run) == {"cancelled": True}
    assert bench.run("dlq", "redrive", "--cancel", run).out == "It had ended before.\n"
    assert bench.run("dlq", "redrive", "--resume", run).out.startswith(f"Run {run} is cancelled: ")
    assert len(bench.dead_letters()) == len(numbers) - redriven(bench, run)


def test_runs_are_listed_with_who_ordered_them_and_why(bench: Bench) -> None:
    numbers = bench.sums(1)
    shown = bench.run.json("dlq", "redrive", "--all", "--yes", "--why", "so it is")
    bench.each_once(numbers)
    newest = bench.run.json("dlq", "redrive", "--runs")[0]
    assert newest == shown
    heading, _, row, *_ = bench.run("dlq", "redrive", "--runs").out.splitlines()
    assert heading.split() == [
        "ID",
        "TIME",
        "STATE",
        "SELECTED",
        "REDRIVEN",
        "OBSOLETE",
        "KEPT",
        "GONE",
        "FAILED",
        "WHO",
        "WHY",
    ]
    assert row.startswith(shown["run"])
    assert row.endswith("so it is")
    text = bench.run("dlq", "redrive", "--status", shown["run"]).out
    assert text == f"Run {shown['run']} is done: 1 of 1 dead letters; 1 redriven.\n"


def failed_again(bench: Bench, run: str) -> int:
    return int(bench.run.json("dlq", "redrive", "--status", run)["failed_again"])


def test_a_task_that_fails_again_and_again_counts_up_until_only_its_id_runs_it(bench: Bench) -> None:
    task, number = f"{PREFIX}.raise_an_error", bench.next_number
    send(bench.world.db, message(task, number))
    found = bench.dead_letter_of(task, number)
    assert "redrives" not in found
    for times in (1, 2, 3):
        shown = bench.run.json("dlq", "redrive", "--all", "--yes")
        assert shown["redriven"] == 1
        former, found = found, bench.dead_letter_of(task, number)
        assert found["id"] != former["id"]
        assert found["task_id"] != former["task_id"]
        assert (found["redrives"], found["retry_count"], found["redrive_of"]) == (times, times, former["id"])
        assert (len(found["attempts"]), found["attempts"][-1]["id"]) == (times, former["id"])
        assert found["attempts"][-1]["run"] == shown["run"]
        until(partial(failed_again, bench, shown["run"]), "its run knows")
    assert bench.run.json("dlq", "redrive", "--all", "--yes")["selected"] == 0
    assert bench.run.json("dlq", "redrive", found["id"], "--yes")["redriven"] == 1
    assert bench.dead_letter_of(task, number)["redrives"] == 4


def test_a_run_stops_when_its_tasks_fail_again(bench: Bench) -> None:
    for number in range(40):
        dead_letter(
            bench.world,
            "tasks",
            100 - number,
            id=f"fail-{number}",
            task=f"{PREFIX}.raise_an_error",
            args=[number],
            kwargs={},
            error_class="E",
            error_message="no",
        )
    result = bench.run("dlq", "redrive", "--all", "--yes", "--rate", "10", "--max-failed", "20")
    assert result.status == 0
    assert re.search(
        r"Run \w+ is stopped: [123]\d of 40 dead letters; [123]\d redriven, \d+ failed again\.\n", result.out
    )
    assert "! More than 20 % failed again: fix the cause, then start a new run.\n" in result.out
    until(lambda: len(bench.dead_letters()) == 40, "those that failed again, and those that were never tried")
