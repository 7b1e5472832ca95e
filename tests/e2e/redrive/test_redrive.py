"""`vmpooler-tasks dlq redrive` with a worker that runs what it sends: nothing is lost, nothing is doubled."""

import ast
import json
import os
import re
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.support import servers
from tests.support.commands import CommandLine, dead_letter
from tests.support.failing_tasks import PREFIX
from tests.support.messages import message, send
from tests.support.processes import PATIENCE, Installation, Process, configuration, until
from tests.support.servers import TestServer
from tests.support.world import POOL, World
from vmpooler_tasks.model.names import DeadLetterQueue, Queue
from vmpooler_tasks.store import Database, keys
from vmpooler_tasks.tasks.registry import MAINTENANCE_QUEUE

pytestmark = pytest.mark.slow(seconds=50)

DEAD_LETTERS = keys.dead_letters(DeadLetterQueue.TASKS)
NOWHERE = "redis://127.0.0.1:1/0"


class Bench:
    """One worker for all tests of this module, and the command on the same database."""

    def __init__(self, installation: Installation, worker: Process) -> None:
        self.installation, self.worker = installation, worker
        self.world = World(Database(installation.environment["REDIS_URL"]))
        self.run = CommandLine(installation.folder, installation.environment)
        self.next_number = 1_000_000

    def empty(self) -> None:
        """Between two tests: the worker is idle, and the numbers that were used are not used again."""
        left = ("HLEN", "unacked"), ("LLEN", MAINTENANCE_QUEUE)
        until(lambda: not any(self.world.db.call(*one) for one in left), "the worker has acknowledged its messages")
        self.world.client.delete(*(keys.dead_letters(queue) for queue in DeadLetterQueue), keys.AUDIT)
        self.world.now = float(self.world.client.time()[0])
        self.next_number += 1000

    def sums(self, count: int, **fields: Any) -> list[int]:
        """So many dead letters of tasks, oldest first: each, run again, is logged with a number that no other has."""
        numbers = list(range(self.next_number, self.next_number + count))
        for place, number in enumerate(numbers):
            dead_letter(
                self.world,
                "tasks",
                1000 - place,
                id=f"{number:016d}",
                task=f"{PREFIX}.take_two",
                args=[number, 0],
                kwargs={},
                error_class="E",
                error_message="no",
                **fields,
            )
        self.next_number += count
        return numbers

    def succeeded(self, numbers: list[int]) -> Counter[int]:
        """How often each of these was run."""
        found = re.findall(r"take_two\[\S+\] succeeded in \S+: (\d+)", self.worker.log)
        return Counter(number for number in map(int, found) if number in set(numbers))

    def each_once(self, numbers: list[int]) -> None:
        until(lambda: len(self.succeeded(numbers)) == len(numbers), lambda: f"all run; did: {self.succeeded(numbers)}")
        assert set(self.succeeded(numbers).values()) <= {1}
        assert self.dead_letters() == []

    def dead_letters(self) -> list[dict[str, Any]]:
        return [json.loads(raw) for raw in self.world.client.zrange(DEAD_LETTERS, 0, -1)]

    def dead_letter_of(self, task: str, number: int) -> dict[str, Any]:
        """The dead letter of this task with this argument, as soon as there is one."""

        def there() -> list[dict[str, Any]]:
            return [one for one in self.dead_letters() if one.get("task") == task and one["args"] == [number]]

        [found] = until(there, f"{task}({number}) fails")
        return found


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    folder: Path = tmp_path_factory.mktemp("redrive")
    with servers.running("valkey", folder / "server") as server, Installation(server.url, folder) as installation:
        own = Bench(installation, installation.worker("-P", "threads", tasks=PREFIX, worker_concurrency=4))
        yield own
        own.world.db.close()


@pytest.fixture
def bench(shared: Bench) -> Bench:
    shared.empty()
    return shared


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
                "error": "E: no",
                "count": 3,
                "expected": {"redriven": 3, "obsolete": 0, "kept": 0},
                "reasons": [],
            }
        ],
    }
    heading, _, row, last, poison = bench.run("dlq", "redrive", "--all", "--dry-run").out.splitlines()
    assert heading.split() == ["COUNT", "RUN", "CLOSE", "KEEP", "QUEUE", "POOL", "ERROR"]
    assert row.split() == ["3", "3", "0", "0", "tasks", "a", "E:", "no"]
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


def redriven(bench: Bench, run: str) -> int:
    return int(bench.world.client.hget(f"vmpooler_tasks__redrive__{run}", "redriven") or 0)


def has_run(bench: Bench, run: str, count: int) -> bool:
    return redriven(bench, run) >= count


def newest_run(bench: Bench) -> str:
    return str(bench.world.client.zrange(keys.REDRIVES, -1, -1)[0].decode())


def started_run(bench: Bench, process: "subprocess.Popen[str]", before: str, count: int) -> str:
    """The id of the run that this process started, once it has run so many dead letters."""
    until(lambda: newest_run(bench) != before or process.poll() is not None, "it has started")
    run = newest_run(bench)
    until(
        lambda: redriven(bench, run) >= count,
        lambda: f"it has run {count} dead letters, and has {redriven(bench, run)}",
    )
    return run


def any_run(bench: Bench) -> str:
    """One that is there before: `redrive` of nothing is a run as well."""
    bench.run("dlq", "redrive", "--vm", "nobody", "--yes")
    return newest_run(bench)


def test_a_command_that_is_killed_again_and_again_can_be_resumed(bench: Bench) -> None:
    before, numbers = any_run(bench), bench.sums(60)
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
    before, numbers = any_run(bench), bench.sums(60)
    with bench.run.started("dlq", "redrive", "--all", "--yes", "--rate", "20") as process:
        run = started_run(bench, process, before, 3)
        bench.run("dlq", "redrive", "--resume", run)
        assert process.wait(PATIENCE) == 0
    bench.each_once(numbers)


def test_a_worker_goes_on_with_a_run_that_was_interrupted(bench: Bench) -> None:
    before, numbers = any_run(bench), bench.sums(30)
    with bench.run.started("dlq", "redrive", "--all", "--yes", "--rate", "20") as process:
        run = started_run(bench, process, before, 5)
        process.kill()
    bench.run("dlq", "redrive", "--resume", run, "--enqueue")
    bench.each_once(numbers)


def test_ctrl_c_says_how_to_go_on(bench: Bench) -> None:
    before, numbers = any_run(bench), bench.sums(40)
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


# --- what fails again ------------------------------------------------------------------------------------------------


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


# --- mistakes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "complaint"),
    [
        ("", "name ids or filters, or say --all"),
        ("--queue clone", "queues alone are not enough: name ids or filters as well, or say --all"),
        ("--resume nowhere", "there is no run 'nowhere', or not any more"),
        ("--cancel nowhere", "there is no run 'nowhere', or not any more"),
        ("--status nowhere", "there is no run 'nowhere', or not any more"),
        ("--all --rate -1", "Invalid value for '--rate': -1.0 is not in the range x>=0."),
        ("--all --rate soon", "Invalid value for '--rate': 'soon' is not a valid float range."),
        ("--all --limit 0", "Invalid value for '--limit': 0 is not in the range x>=1."),
        ("--all --max-failed 101", "Invalid value for '--max-failed': 101.0 is not in the range 0<=x<=100."),
        ("--quue clone", "No such option '--quue'. (Did you mean one of: '--enqueue', '--queue', '--request'?)"),
    ],
)
def test_a_mistake_is_answered_by_one_line(run: CommandLine, typed: str, complaint: str) -> None:
    result = run("dlq", "redrive", *typed.split())
    assert (result.status, result.out) == (os.EX_USAGE, "")
    program = "vmpooler-tasks dlq redrive"
    assert result.err == f"{program}: {complaint} (see {program} --help)\n"


@pytest.mark.parametrize(
    "typed", ["--all --yes", "--all --dry-run", "--resume x", "--cancel x", "--status x", "--runs"]
)
def test_without_redis_each_form_names_its_address_in_one_line(run: CommandLine, typed: str) -> None:
    result = run("dlq", "redrive", *typed.split(), REDIS_URL=NOWHERE)
    assert (result.status, result.out) == (os.EX_UNAVAILABLE, "")
    assert re.fullmatch(r"vmpooler-tasks: Redis does not reply: redis://127\.0\.0\.1:1/0: [^\n]+\n", result.err)


def test_a_run_that_an_unreachable_broker_stopped_can_be_resumed(run: CommandLine, world: World) -> None:
    dead_letter(world, "tasks", 60, id="a" * 16, task="t", args=[], kwargs={}, error_class="E", error_message="no")
    result = run("dlq", "redrive", "--all", "--yes", CELERY_BROKER_URL="redis://127.0.0.1:1/1")
    assert (result.status, result.out) == (os.EX_UNAVAILABLE, "")
    assert "redis://127.0.0.1:1/1" in result.err
    assert "Traceback" not in result.err
    assert world.client.zcard(DEAD_LETTERS) == 1
    [stood] = run.json("dlq", "redrive", "--runs")
    assert (stood["state"], stood["position"]) == ("running", 0)
    assert run.json("dlq", "redrive", "--resume", stood["run"])["redriven"] == 1


def test_help_has_an_example_and_names_every_way(run: CommandLine) -> None:
    shown = run("dlq", "redrive", "--help").out
    for words in ("Example: vmpooler-tasks dlq redrive", "--resume RUN", "--cancel RUN", "--status RUN", "--runs"):
        assert words in shown


# --- other installations ---------------------------------------------------------------------------------------------


def test_messages_may_go_to_another_server(installation: Installation, world: World, tmp_path: Path) -> None:
    with servers.running("valkey", tmp_path / "broker") as broker:
        installation.environment["CELERY_BROKER_URL"] = broker.url
        bench = Bench(installation, installation.worker("-P", "threads", tasks=PREFIX))
        bench.empty()
        numbers = bench.sums(5)
        assert bench.run.json("dlq", "redrive", "--all", "--yes", "--rate", "0")["redriven"] == 5
        bench.each_once(numbers)
        more = bench.sums(3)
        bench.run("dlq", "redrive", "--all", "--yes", "--rate", "0", "--enqueue")
        bench.each_once(more)
        assert not world.client.exists("vmpooler.maintenance")
        bench.world.db.close()


def managed(**options: Any) -> str:
    whole = json.loads(configuration(**{"manage_pools": True, **options}))
    whole[":pools"] = [{"name": POOL, "size": 3}]
    whole[":providers"] = {"dummy": {}}
    return json.dumps(whole)


def test_clones_are_run_again_until_the_pool_is_full(valkey: TestServer, world: World, tmp_path: Path) -> None:
    with Installation(valkey.url, tmp_path, managed()) as installation:
        for number in range(4):
            dead_letter(world, "clone", 60 + number, vm=f"v{number}", pool=POOL, error_class="E", error_message="no")
        worker = installation.worker("-P", "threads", worker_concurrency=4)
        shown = CommandLine(tmp_path, installation.environment).json("dlq", "redrive", "--all", "--yes", "--rate", "0")
        assert (shown["redriven"], shown["obsolete"]) == (3, 1)
        worker.says("moved from 'pending' to 'ready' queue", 3)
        assert len(world.members(Queue.READY)) == 3


def test_a_run_that_waits_says_once_why(valkey: TestServer, world: World, tmp_path: Path) -> None:
    with Installation(valkey.url, tmp_path, managed(task_limit=1)) as installation:
        for number in range(2):
            dead_letter(world, "clone", 60 + number, vm=f"v{number}", pool=POOL, error_class="E", error_message="no")
        run = CommandLine(tmp_path, installation.environment)
        with run.started("dlq", "redrive", "--all", "--yes", "--rate", "0", "--json") as process:
            assert process.stderr is not None
            assert process.stdout is not None
            said = process.stderr.readline()
            worker = installation.worker("-P", "threads", worker_concurrency=4)
            assert process.wait(PATIENCE) == 0
            assert json.loads(process.stdout.read())["redriven"] == 2
            assert process.stderr.read() == ""
        assert said == (
            "Waits at dead letter 2 of 2: no slot for a clone is free (task_limit, ondemand_clone_limit), and no worker"
            " takes vmpooler.clone: start one. Ctrl-C interrupts it.\n"
        )
        worker.says("moved from 'pending' to 'ready' queue", 2)


def test_a_run_that_waits_for_a_slot_lets_the_only_worker_free_it(
    valkey: TestServer, world: World, tmp_path: Path
) -> None:
    with Installation(valkey.url, tmp_path, managed(task_limit=1)) as installation:
        for number in range(3):
            dead_letter(world, "clone", 60 + number, vm=f"v{number}", pool=POOL, error_class="E", error_message="no")
        worker = installation.worker()
        run = CommandLine(tmp_path, installation.environment)
        shown = run.json("dlq", "redrive", "--all", "--yes", "--rate", "0", "--enqueue")
        worker.says("moved from 'pending' to 'ready' queue", 3)
        until(lambda: run.json("dlq", "redrive", "--status", shown["run"])["state"] == "done", "it is over")


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
