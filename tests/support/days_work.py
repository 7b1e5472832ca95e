"""Do everything that the product does with Redis once, with real processes, for any address of Redis."""

import ast
import json
from typing import Any

import httpx

from tests.support import deployment
from tests.support.commands import CommandLine, dead_letter
from tests.support.ports import free_port
from tests.support.processes import Installation, configuration, until
from tests.support.world import POOL, World
from vmpooler_tasks.model.names import WORK_QUEUES, Queue
from vmpooler_tasks.model.timestamps import moment, ruby_utc
from vmpooler_tasks.store import Database, fleet_keys, keys
from vmpooler_tasks.store.health import record as health_record
from vmpooler_tasks.tasks.registry import HEALTH_CHECK, PURGE

SIZE = 2
FLOWER_LOGIN = ("operator", "a long password")
STARTED = {"worker": " ready.", "beat": "beat: Starting..."}
HOUR = 3600


def managed(**options: Any) -> str:
    """Return a configuration with one small pool, whose VMs are ready at once."""
    quick = {"manage_pools": True, "check_loop_delay_min": 0.5, "health_check_interval": 2, "purge_interval": 2}
    whole = json.loads(configuration(**{**quick, **options}))
    whole[":providers"] = {"dummy": {"clone_seconds": 0.1, "boot_seconds": 0.1, "destroy_seconds": 0.1}}
    whole[":pools"] = [{"name": POOL, "alias": ["centos-7"], "size": SIZE, "template": "t"}]
    return json.dumps(whole)


def ready(database: Database) -> int:
    return int(database.call("SCARD", keys.queue(Queue.READY, POOL)))


def start(installation: Installation) -> None:
    """Start workers and a beat with the command lines of `deploy/compose.yaml`."""
    installation.environment["VMPOOLER_CONFIG"] = managed()
    lines = [line for line in deployment.command_lines() if line.where.startswith("compose ")]
    started = [
        (line.role, installation.start_literally(line.words, line.where.removeprefix("compose ")))
        for line in lines
        if line.role in STARTED
    ]
    for role, process in started:
        process.says(STARTED[role])


def work(installation: Installation, database: Database) -> None:
    """Do the work. `database` reads the state, and writes what VMPooler would write."""
    start(installation)
    run = CommandLine(installation.folder, installation.environment)
    world = World(database, now=float(database.call("TIME")[0]))
    until(lambda: ready(database) == SIZE, "the pool is full")
    until(
        lambda: health_record.read_status(database) and database.call("XLEN", fleet_keys.AUDIT), "a check and a purge"
    )
    world.vm(None, "orphan", age=48 * HOUR)
    told = {finding["what"]: finding for finding in json.loads(run("doctor", "--json").out)}
    failed = {what: finding for what, finding in told.items() if finding["state"] == "fail" and what != "health"}
    assert not failed
    _request_vm(run)
    _order_disk(world)
    _redrive(run, world)
    _celery(installation)
    _web(installation)


def _request_vm(run: CommandLine) -> None:
    for command in ("pools", "audit", "config show", "purge --dry-run", "purge --why test", "purge --enqueue"):
        assert run(*command.split()).status == 0, command
    for command in ("health", "health --no-check", "health --history 1h"):
        assert run(*command.split()).status in {0, 1, 2}, command
    for order in ("pause", "resume", "retry", "keep", "confirm"):
        assert run("pools", order, POOL, *([] if order == "retry" else ["--why", "test"])).status == 0, order
    for command in ("config check --online", "pools --json"):
        assert run(*command.split()).status == 0, command
    asked = run("request", "centos-7=1", "--wait")
    assert asked.status == 0, asked
    for command in ("request list", "dlq list", "dlq stats", "dlq export"):
        assert run(*command.split()).status == 0, command


def _order_disk(world: World) -> None:
    """Order a disk for a running VM and a snapshot of it, as users of VMPooler's API do."""
    vm = next(iter(sorted(world.members(Queue.READY))))
    world.db.call("SMOVE", keys.queue(Queue.READY, POOL), keys.queue(Queue.RUNNING, POOL), vm)
    world.db.call("HSET", keys.vm(vm), "checkout", ruby_utc(moment(world.now)))
    world.db.call("SADD", keys.DISK_ORDERS, vm + b":8")
    world.db.call("SADD", keys.SNAPSHOT_ORDERS, vm + b":before")
    until(lambda: world.db.call("HGET", keys.vm(vm), "disk"), "the disk is attached")
    until(lambda: world.db.call("HGET", keys.vm(vm), "snapshot:before"), "the snapshot is taken")


def _redrive(run: CommandLine, world: World) -> None:
    for place, vm in enumerate(("gone", "lost")):
        dead_letter(
            world, "clone", 600 + place, vm=vm, pool=POOL, error_class="E", error_message="no", id=f"{place:016d}"
        )
    dead_letter(world, "tasks", 600, id="9" * 16, task=PURGE, args=[], kwargs={"dry_run": True}, error_class="E")
    assert run("dlq", "show", "0" * 16).status == 0
    assert run("dlq", "delete", "0" * 16, "--yes").status == 0
    for options in (["--dry-run"], ["--yes"], ["--runs"]):
        done = run("dlq", "redrive", *([] if options == ["--runs"] else ["--all"]), *options)
        assert done.status == 0, done
    assert run("audit").status == 0


def _celery(installation: Installation) -> None:
    checked = installation.run("celery", "-A", "vmpooler_tasks", "result", installation.call(HEALTH_CHECK))
    assert ast.literal_eval(checked)["status"]
    answers = installation.run("celery", "-A", "vmpooler_tasks", "inspect", "active_queues")
    assert "3 nodes online" in answers
    _flower(installation)


def _flower(installation: Installation) -> None:
    """Check that Flower sees a task by the events of a worker."""
    port = free_port()
    installation.environment["FLOWER_BASIC_AUTH"] = ":".join(FLOWER_LOGIN)
    flower = installation.celery("flower", "--address=127.0.0.1", f"--port={port}", name="flower")
    flower.start().says("Visit me at")

    def is_seen() -> bool:
        task = installation.call(HEALTH_CHECK)
        tasks = httpx.get(f"http://127.0.0.1:{port}/api/tasks", auth=FLOWER_LOGIN, timeout=30).json()
        return any(one["state"] == "SUCCESS" and name != task for name, one in tasks.items())

    until(is_seen, "Flower sees a task that has finished")
    lengths = httpx.get(f"http://127.0.0.1:{port}/api/queues/length", auth=FLOWER_LOGIN, timeout=30).json()
    assert {queue["name"] for queue in lengths["active_queues"]} == set(WORK_QUEUES)


def _web(installation: Installation) -> None:
    """Check that the web process reads what the others wrote."""
    port = free_port()
    installation.environment["WEB_PORT"] = str(port)
    installation.start_literally(("vmpooler-tasks", "web"), "web").says("[*] [web] Serving ")
    for path in ("readyz", "metrics", "api/v1/queue/overview", "api/v1/queue/history", "api/v1/queue/dlq"):
        got = httpx.get(f"http://127.0.0.1:{port}/{path}", timeout=30)
        assert got.status_code == 200, (path, got.text)
