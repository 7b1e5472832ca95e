"""Workers, beats and commands that log in JSON: every line is an object, from the first to the last."""

import json
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.commands import CommandLine
from tests.support.failing_tasks import PREFIX
from tests.support.guide import fences
from tests.support.messages import message, send
from tests.support.processes import ROOT, Installation, Process, configuration, until
from tests.support.servers import required
from tests.support.world import POOL, World
from vmpooler_tasks.model.names import Queue
from vmpooler_tasks.store import Database
from vmpooler_tasks.tasks.registry import HEALTH_CHECK, PURGE

pytestmark = pytest.mark.slow(seconds=50)

JSON = ("--log-format", "json")
VARIABLE = "VMPOOLER_LOG_FORMAT"
FORGED = "x\n[2026-01-01 00:00:00,000: INFO/MainProcess] [*] [purge] all is well"
HOUR = 3600


def objects(process: Process) -> list[dict[str, Any]]:
    """Return its whole output. A line that is not an object fails the test."""
    return [json.loads(line) for line in process.log.splitlines()]


def about(said: list[dict[str, Any]], **fields: Any) -> list[dict[str, Any]]:
    return [line for line in said if fields.items() <= line.items()]


@pytest.fixture
def stale(database: Database) -> World:
    world = World(database, now=float(database.call("TIME")[0]))
    world.vm(Queue.PENDING, "stuck", age=3 * HOUR)
    world.vm(Queue.READY, "idle", age=25 * HOUR)
    return world


@pytest.fixture
def worker(installation: Installation) -> Process:
    """Start a worker with `--log-format json` and the tests' own tasks."""
    return installation.worker(*JSON, tasks=PREFIX)


def ended(process: Process) -> list[dict[str, Any]]:
    """Return its output until its end."""
    process.signal(signal.SIGTERM)
    assert process.exit_status() == 0
    return objects(process)


def test_every_line_of_a_worker_and_a_beat_is_an_object(
    installation: Installation, stale: World, worker: Process
) -> None:
    beat = installation.celery("beat", *JSON, "--loglevel", "INFO", name="beat").start()
    worker.says("[*] [purge] Completed purge cycle").says("[*] [health] Status: ")
    send(stale.db, failing := message(f"{PREFIX}.raise_an_error", FORGED))
    send(stale.db, printing := message(f"{PREFIX}.print_lines"))
    worker.says("raised unexpected").says("one\\ntwo").says(f"{PREFIX}.print_lines[{printing['headers']['id']}] succ")
    sent, said = ended(beat), ended(worker)
    assert {line["task"] for line in about(sent, logger="vmpooler_tasks.beat")} == {PURGE, HEALTH_CHECK}
    assert said[-1]["message"] == "worker: Warm shutdown (MainProcess)"
    assert not [line for line in said if "-----" in line["message"]], "a banner"

    (begun,) = [line for line in said if line["message"] == "[*] [purge] Starting stale queue entry purge cycle"]
    purge = {"task": PURGE, "task_id": begun["task_id"]}
    assert begun["process"] == "ForkPoolWorker-1"
    for queue, vm in (("pending", "stuck"), ("ready", "idle")):
        (told,) = about(said, **purge, vm=vm, pool=POOL, queue=queue)
        assert told["message"].startswith("[!] [purge] ")
    assert about(said, task=HEALTH_CHECK, logger="vmpooler_tasks.health", status="healthy")

    failure = {"task": f"{PREFIX}.raise_an_error", "task_id": failing["headers"]["id"]}
    assert {line["process"] for line in about(said, **failure)} == {"MainProcess", "ForkPoolWorker-1"}
    (kept,) = about(said, **failure, logger="vmpooler_tasks.dlq")
    assert kept["dead_letter"] in kept["message"]
    (raised,) = [line for line in about(said, **failure) if "traceback" in line]
    assert raised["exception"].startswith("TemplateNotFoundError: ")
    assert "hunter2" not in worker.log


def test_the_lines_of_threads_name_their_task_and_what_it_is_about(
    installation: Installation, database: Database
) -> None:
    installation.environment["VMPOOLER_CONFIG"] = managed()
    worker = installation.worker("-P", "threads", *JSON, worker_concurrency=4)
    installation.beat(*JSON)
    worker.says("cloned in", 2)
    worker.stop()
    said = objects(worker)
    cloned = [line for line in said if "cloned in" in line["message"]]
    for line in cloned:
        assert line["task"] == "vmpooler_tasks.clone_vm"
        assert line["task_id"]
        assert line["thread"] != "MainThread"
        assert (line["pool"], f"'{line['vm']}'" in line["message"]) == (POOL, True)
    assert len({line["task_id"] for line in cloned}) == len(cloned)


def managed() -> str:
    """Return a configuration with pools of the dummy provider, whose VMs are ready at once."""
    config = json.loads(configuration(manage_pools=True, check_loop_delay_min=1))
    config[":providers"] = {"dummy": {"clone_seconds": 0}}
    config[":pools"] = [{"name": POOL, "template": "t", "size": 2, "provider": "dummy"}]
    return json.dumps(config)


def test_text_line_starts_with_its_task(installation: Installation, stale: World) -> None:
    worker = installation.worker(tasks=PREFIX)
    purge = installation.call(PURGE, dry_run=True)
    send(stale.db, failing := message(f"{PREFIX}.raise_an_error", FORGED))
    worker.says("Completed purge cycle").says("raised unexpected")
    worker.stop()
    lines = worker.log.split("[config]")[-1].splitlines()
    sentence = "[*] [purge][dry-run] Would purge stale pending VM 'stuck' (age: "
    (line,) = [line for line in lines if sentence in line]
    assert f"] {PURGE}[{purge}] pool={POOL}: {sentence}" in line
    (kept,) = [line for line in lines if "Kept dead letter" in line]
    assert f"] {PREFIX}.raise_an_error[{failing['headers']['id']}]: [!] [dlq] Kept" in kept
    assert not [line for line in lines if line.startswith("[2026-01-01")]


# --- what goes wrong before it has begun -----------------------------------------------------------------------------


@pytest.mark.parametrize("program", ["worker", "beat"])
def test_mistakes_in_the_configuration_are_an_object(installation: Installation, program: str) -> None:
    installation.environment |= {"VMPOOLER_CONFIG": configuration(purge_interval=-1), VARIABLE: "json"}
    process = installation.celery(program, name=program).start()
    assert process.exit_status() == 78
    (said,) = objects(process)
    assert said["level"] == "CRITICAL"
    assert "config.purge_interval: -1" in said["message"]


@pytest.mark.parametrize("program", ["worker", "beat"])
@pytest.mark.parametrize(("variable", "option", "status"), [("xml", (), 78), ("", ("--log-format", "xml"), 64)])
def test_another_format_is_one_line(
    installation: Installation, program: str, variable: str, option: tuple[str, ...], status: int
) -> None:
    installation.environment[VARIABLE] = variable
    process = installation.celery(program, *option, name=program).start()
    assert process.exit_status() == status
    named = "--log-format" if option else VARIABLE
    said = f"vmpooler-tasks: No such log format: {named} is 'xml'; it is either text or json\n"
    assert process.log == said


def test_an_exception_that_ends_a_worker_is_an_object(installation: Installation) -> None:
    installation.environment[VARIABLE] = "json"
    worker = installation.celery("worker", name="worker", include=["tests.support.no_such_module"]).start()
    assert worker.exit_status() != 0
    assert objects(worker)[-1]["exception"].startswith("ModuleNotFoundError: ")


@pytest.mark.parametrize("program", ["worker", "beat"])
def test_celery_with_celeryconfig_reads_the_variable(installation: Installation, program: str) -> None:
    installation.deploy()
    installation.environment[VARIABLE] = "json"
    process = installation.celery(program, "--loglevel", "INFO", name=program, app=()).start()
    process.says("celery@" if program == "worker" else "[*] [beat] Sent")
    said = ended(process)
    assert not [line for line in said if "-----" in line["message"] or "is starting" in line["message"]]


def test_a_worker_without_redis_says_so_in_objects(installation: Installation) -> None:
    installation.environment |= {"REDIS_URL": "redis://127.0.0.1:1/0", VARIABLE: "json"}
    worker = installation.celery("worker", name="worker").start().says("Connection refused")
    worker.kill()
    assert {line["level"] for line in objects(worker)} >= {"ERROR"}


# --- the commands ----------------------------------------------------------------------------------------------------


def test_command_writes_its_log_in_the_chosen_format(run: CommandLine, world: World) -> None:
    world.vm(Queue.PENDING, "stuck", age=3 * HOUR)
    result = run("--log-format", "json", "-v", "purge", "--dry-run", "--json")
    assert json.loads(result.out)["total"] == 1
    said = [json.loads(line) for line in result.err.splitlines()]
    assert about(said, vm="stuck", pool=POOL, queue="pending")
    again = run("-v", "purge", "--dry-run", "--json", VMPOOLER_LOG_FORMAT="json")
    assert json.loads(again.err.splitlines()[0])["message"] == said[0]["message"]
    text = run("--log-format", "text", "-v", "purge", "--dry-run", VMPOOLER_LOG_FORMAT="json").err
    assert f" INFO pool={POOL}: [*] [purge][dry-run] Would purge stale pending VM 'stuck'" in text


@pytest.mark.parametrize(
    ("option", "variable", "status", "named"),
    [(("--log-format", "xml"), "", 64, "--log-format"), ((), "xml", 78, VARIABLE)],
)
def test_a_command_refuses_another_format(
    run: CommandLine, option: tuple[str, ...], variable: str, status: int, named: str
) -> None:
    result = run(*option, "config", "show", VMPOOLER_LOG_FORMAT=variable)
    assert (result.status, result.out) == (status, "")
    assert result.err == f"vmpooler-tasks: No such log format: {named} is 'xml'; it is either text or json\n"


def test_the_jq_lines_of_the_documentation_work_on_a_workers_log(
    installation: Installation, stale: World, worker: Process, tmp_path: Path
) -> None:
    for tool in ("jq", "bash"):
        required(tool)
    stale.vm(Queue.PENDING, "pooler-happy-elephant", age=3 * HOUR)
    installation.call(PURGE)
    send(stale.db, message(f"{PREFIX}.raise_an_error"))
    worker.says("raised unexpected").says("Completed purge cycle")
    ended(worker)
    (block,) = [
        fence.text for fence in fences((ROOT / "docs/logging.md").read_text("utf-8")) if fence.language == "bash"
    ]
    first, *lines = block.splitlines()
    assert first.endswith("2> tasks.log")
    printed = [shell(first, installation, tmp_path)]
    (tmp_path / "tasks.log").write_text(worker.log, encoding="utf-8")
    printed = [shell(line, installation, tmp_path) for line in lines]
    assert all(printed), printed
    assert "ERROR" in printed[0]
    assert "Purged stale pending VM 'pooler-happy-elephant'" in printed[1]
    assert f"{PURGE}[" in printed[2]
    assert "TemplateNotFoundError" in printed[3]
    assert f'"{POOL}"' in printed[4]


def shell(line: str, installation: Installation, folder: Path) -> str:
    done = subprocess.run(
        ["bash", "-ec", line], cwd=folder, env=installation.environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, ""), line
    return done.stdout


def test_the_first_line_comes_without_waiting(installation: Installation) -> None:
    """There is no banner, and nothing is printed before the log is set up."""
    beat = installation.celery("beat", *JSON, "--loglevel", "INFO", name="beat").start()
    until(lambda: "\n" in beat.log, "beat says something")
    assert objects(beat)[0]["message"] == "beat: Starting..."
