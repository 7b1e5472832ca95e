"""`vmpooler-tasks dlq redrive` with a worker that runs what it sends: what is chosen, forecast and run."""

import ast
import json
import re
from typing import Any

import pytest

from tests.support.commands import dead_letter
from tests.support.processes import PATIENCE, until
from tests.support.redrive_bench import DEAD_LETTERS, Bench
from tests.support.world import POOL

pytestmark = pytest.mark.slow(seconds=20)


def test_filtered_dead_letters_are_run_again_and_recorded_in_the_audit(bench: Bench) -> None:
    numbers = bench.sums(3, pool="a")
    others = bench.sums(2, pool="b")
    result = bench.run("dlq", "redrive", "--pool", "a", "--yes", "--why", "template is back", "--rate", "0")
    assert (result.status, result.err) == (0, "")
    assert re.fullmatch(r"Run [0-9a-f]{12} is done: 3 of 3 dead letters; 3 redriven\.\n", result.out)
    until(lambda: len(bench.succeeded(numbers)) == 3, "they are run")
    assert sorted(one["args"][0] for one in bench.dead_letters()) == others
    [entry] = bench.run.json("audit")
    assert (entry["action"], entry["count"], entry["why"], entry["state"]) == (
        "redrive",
        "3",
        "template is back",
        "done",
    )
    assert "@" in entry["who"]
    bench.run("dlq", "redrive", "--pool", "b", "--yes", "--rate", "0")
    bench.each_once(numbers + others)


def test_the_json_of_a_run_says_what_became_of_its_dead_letters(bench: Bench) -> None:
    numbers = bench.sums(2)
    dead_letter(bench.world, "clone", 5, vm="v", pool="retired", error_class="E", error_message="no", id="a" * 16)
    dead_letter(
        bench.world, "tasks", 5, id="b" * 16, error_class="UndecodableMessage", error_message="no", args=["eA=="]
    )
    shown = bench.run.json("dlq", "redrive", "--all", "--yes", "--rate", "0")
    assert re.fullmatch("[0-9a-f]{12}", shown.pop("run"))
    assert "@" in shown.pop("who")
    assert shown == {
        "state": "done",
        "selected": 4,
        "position": 4,
        "redriven": 2,
        "obsolete": 1,
        "kept": 1,
        "gone": 0,
        "failed_again": 0,
        "why": None,
    }
    bench.world.client.zremrangebyrank(DEAD_LETTERS, 0, -1)
    bench.each_once(numbers)


def failed_purge(bench: Bench, **kwargs: Any) -> str:
    """Add the dead letter of a purge with these arguments, and return its id."""
    fields: dict[str, Any] = {
        "id": "e" * 16,
        "task": "vmpooler_tasks.purge_stale_entries",
        "args": [],
        "kwargs": {"who": "beat", **kwargs},
        "error_class": "InvalidInputError",
        "error_message": "no pool 'centso'",
    }
    dead_letter(bench.world, "tasks", 5, **fields)
    return "e" * 16


def test_a_failed_task_is_run_again_with_changed_arguments(bench: Bench) -> None:
    one = failed_purge(bench, pools=["centso"])
    edited = json.dumps({"who": "beat", "pools": [POOL], "dry_run": True})
    wrong = bench.run("dlq", "redrive", one, "--kwargs", '{"who": "beat", "pool": "x"}', "--yes")
    assert (wrong.status, "unexpected keyword argument 'pool'" in wrong.err) == (64, True)
    assert bench.run("dlq", "redrive", one, "--kwargs", "{", "--yes").status == 64
    checked = bench.run("dlq", "redrive", one, "--kwargs", edited, "--dry-run")
    assert checked.out == "Would run vmpooler_tasks.purge_stale_entries with these arguments.\n"
    done = bench.run("dlq", "redrive", one, "--kwargs", edited, "--yes", "--why", "a typing error")
    assert (done.status, done.out) == (0, "vmpooler_tasks.purge_stale_entries is sent to the workers.\n")
    assert bench.dead_letters() == []
    [entry] = bench.run.json("audit")
    assert (entry["action"], entry["why"], json.loads(entry["before"])["kwargs"]["pools"]) == (
        "edit",
        "a typing error",
        ["centso"],
    )
    assert bench.run("dlq", "redrive", one, "--kwargs", edited, "--yes").status == 1, "it is gone"
    until(lambda: re.search(r"purge_stale_entries\[\S+\] succeeded", bench.worker.log), "the worker has run it")


def test_an_editor_changes_the_arguments(bench: Bench) -> None:
    one = failed_purge(bench, pools=["centso"])
    right = bench.run("dlq", "redrive", one, "--edit", "--yes", EDITOR=f"sed -i s/centso/{POOL}/")
    assert (right.status, right.err) == (0, "")
    assert bench.dead_letters() == []
    one = failed_purge(bench, pools=["centso"])
    again = bench.run("dlq", "redrive", one, "--edit", typed="n\n", EDITOR="sed -i s/pools/pool/")
    assert (again.status, "Edit again?" in again.err) == (130, True)
    left = bench.run("dlq", "redrive", one, "--edit", "--yes", EDITOR="true")
    assert (left.status, "nothing was done" in left.err) == (130, True)
    assert len(bench.dead_letters()) == 1


@pytest.mark.parametrize("arguments", [("--edit", "--all"), ("a", "b", "--edit"), ("a", "--edit", "--pool", "p")])
def test_an_edit_is_of_one_dead_letter(bench: Bench, arguments: tuple[str, ...]) -> None:
    result = bench.run("dlq", "redrive", *arguments)
    assert (result.status, "--edit" in result.err) == (64, True)


def test_a_preview_counts_by_queue_pool_and_error_and_runs_nothing(bench: Bench) -> None:
    bench.sums(3, pool="a")
    bench.sums(1, redrives=3)
    before = bench.world.snapshot_of_vmpooler()
    assert bench.run.json("dlq", "redrive", "--all", "--dry-run") == {
        "dry_run": True,
        "selected": 3,
        "poisoned": 1,
        "to_confirm": 0,
        "expected": {"redriven": 3, "obsolete": 0, "kept": 0},
        "reasons": [],
        "groups": [
            {
                "queue": "tasks",
                "pool": "a",
                "error": "Outage: attempt <n> failed",
                "count": 3,
                "expected": {"redriven": 3, "obsolete": 0, "kept": 0},
                "reasons": [],
            }
        ],
    }
    heading, _, row, last, poison = bench.run("dlq", "redrive", "--all", "--dry-run").out.splitlines()
    assert heading.split() == ["COUNT", "RUN", "CLOSE", "KEEP", "QUEUE", "POOL", "ERROR"]
    assert row.split() == ["3", "3", "0", "0", "tasks", "a", "Outage:", "attempt", "<n>", "failed"]
    assert last == "Would run 3 dead letters again."
    assert poison == "! 1 came back too often and are left out: name them by id"
    assert bench.world.snapshot_of_vmpooler() == before


def test_a_number_of_ids_and_a_limit_choose(bench: Bench) -> None:
    numbers = bench.sums(4)
    first = bench.run.json("dlq", "redrive", f"{numbers[2]:016d}", "--yes")
    assert (first["selected"], first["redriven"]) == (1, 1)
    assert bench.run.json("dlq", "redrive", "--all", "--limit", "2", "--yes", "--rate", "0")["redriven"] == 2
    assert [one["args"][0] for one in bench.dead_letters()] == [numbers[3]], "the oldest came first"
    bench.run("dlq", "redrive", "--all", "--yes")
    bench.each_once(numbers)


def test_an_id_that_is_not_there_is_told_and_nothing_is_run(bench: Bench) -> None:
    numbers = bench.sums(1)
    result = bench.run("dlq", "redrive", f"{numbers[0]:016d}", "nowhere", "--yes")
    assert (result.status, result.out) == (1, "")
    assert result.err == "vmpooler-tasks: no dead letter with id nowhere\n"
    assert len(bench.dead_letters()) == 1


def test_the_rate_is_kept(bench: Bench) -> None:
    numbers = bench.sums(4)
    with bench.run.started("dlq", "redrive", "--all", "--yes", "--rate", "4") as process:
        until(lambda: len(bench.dead_letters()) == 3, "the first is run")
        started_at = bench.world.client.time()
        until(lambda: not bench.dead_letters(), "all are run")
        ended = bench.world.client.time()
        assert process.wait(PATIENCE) == 0
    assert 0.5 < (ended[0] - started_at[0]) + (ended[1] - started_at[1]) / 1e6 < 10
    bench.each_once(numbers)


def test_it_asks_before_it_does_anything(bench: Bench) -> None:
    numbers = bench.sums(2)
    refused = bench.run("dlq", "redrive", "--all", typed="n\n")
    assert refused.status == 130
    assert "Run 2 dead letters again? [y/N]" in refused.err
    assert len(bench.dead_letters()) == 2
    assert bench.run("dlq", "redrive", "--all", "--rate", "0", typed="y\n").status == 0
    bench.each_once(numbers)


def test_a_worker_can_do_it(bench: Bench) -> None:
    numbers = bench.sums(5)
    shown = bench.run.json("dlq", "redrive", "--all", "--yes", "--rate", "0", "--enqueue")
    assert set(shown) == {"run", "task_id"}
    bench.each_once(numbers)
    until(lambda: bench.run.json("dlq", "redrive", "--status", shown["run"])["state"] == "done", "it is over")
    bench.worker.says(f"vmpooler_tasks.redrive[{shown['task_id']}] succeeded")


def test_what_is_kept_is_explained(bench: Bench) -> None:
    dead_letter(
        bench.world, "tasks", 5, id="b" * 16, error_class="UndecodableMessage", error_message="no", args=["eA=="]
    )
    result = bench.run("dlq", "redrive", "--all", "--yes")
    assert (
        "! kept: it cannot be run again, since no worker knows it as a task, its arguments were redacted, or VMPooler"
        " fills its pool itself\n" in result.out
    )


def test_the_preview_and_the_confirmation_forecast_the_outcomes(bench: Bench) -> None:
    dead_letter(
        bench.world, "tasks", 5, id="b" * 16, error_class="UndecodableMessage", error_message="no", args=["eA=="]
    )
    dead_letter(bench.world, "tasks", 5, id="c" * 16, task="vmpooler_tasks.gone", error_class="E", error_message="no")
    dead_letter(bench.world, "clone", 5, id="a" * 16, vm="v", pool="retired", error_class="E", error_message="no")
    numbers = bench.sums(1)
    text = "run 1 of 4 dead letters again, close 1 as obsolete, keep 2"
    assert bench.run("dlq", "redrive", "--all", "--dry-run").out.splitlines()[-1] == f"Would {text}."
    assert bench.run.json("dlq", "redrive", "--all", "--dry-run")["expected"] == {
        "redriven": 1,
        "obsolete": 1,
        "kept": 2,
    }
    refused = bench.run("dlq", "redrive", "--all", typed="n\n")
    assert f"{text.capitalize()}? [y/N]" in refused.err
    shown = bench.run.json("dlq", "redrive", "--all", "--yes")
    assert (shown["redriven"], shown["obsolete"], shown["kept"]) == (1, 1, 2)
    bench.world.client.zremrangebyrank(DEAD_LETTERS, 0, -1)
    bench.each_once(numbers)


def test_the_task_takes_the_same_filters_and_previews(bench: Bench) -> None:
    numbers = bench.sums(3, pool="a")
    call = ("celery", "-A", "vmpooler_tasks", "call", "vmpooler_tasks.redrive", "--kwargs")
    answers = []
    for order in ({"pool": "a", "dry_run": True}, {"pool": "a", "why": "fixed", "rate": 0}):
        task = bench.installation.run(*call, json.dumps(order)).strip()
        bench.worker.says(f"vmpooler_tasks.redrive[{task}] succeeded")
        answers.append(ast.literal_eval(bench.installation.run("celery", "-A", "vmpooler_tasks", "result", task)))
    preview, run = answers
    assert (preview["dry_run"], preview["selected"]) == (True, 3)
    assert (run["state"], run["redriven"], run["why"]) == ("done", 3, "fixed")
    bench.each_once(numbers)
