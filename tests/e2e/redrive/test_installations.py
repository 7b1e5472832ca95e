"""Redrives where the broker is another server, and where these workers fill the pools."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support import servers
from tests.support.commands import CommandLine, dead_letter
from tests.support.failing_tasks import PREFIX
from tests.support.processes import PATIENCE, Installation, configuration, until
from tests.support.redrive_bench import Bench
from tests.support.servers import TestServer
from tests.support.world import POOL, World
from vmpooler_tasks.model.names import Queue

pytestmark = pytest.mark.slow(seconds=15)


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
