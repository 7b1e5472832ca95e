"""Workers and beats as an operator starts them: from the repository, from a folder of their own, in bad weather."""

import ast
import json
import signal
from pathlib import Path

import pytest
from pytest_celery import CeleryTestSetup, ping

from tests.support import servers
from tests.support.failing_tasks import PREFIX
from tests.support.messages import QUEUE, message, send
from tests.support.ports import free_port
from tests.support.processes import PATIENCE, ROOT, Installation, Process, configuration, until
from tests.support.servers import TestServer
from tests.support.world import POOL, World
from vmpooler_tasks.model.names import DeadLetterQueue, Queue
from vmpooler_tasks.store import Database, fleet_keys, keys
from vmpooler_tasks.store.health import record as health_record
from vmpooler_tasks.tasks.registry import HEALTH_CHECK, PURGE

pytestmark = [pytest.mark.stage(name="fleet"), pytest.mark.slow(seconds=110)]

HOUR = 3600
CELERY = ("celery", "-A", "vmpooler_tasks")
VMPOOLERS = (keys.VM_PREFIX, b"vmpooler__pending", b"vmpooler__ready", b"vmpooler__completed")


@pytest.fixture
def stale(database: Database) -> World:
    """One stale VM in pending, one in ready, and one fresh VM in each."""
    world = World(database, now=float(database.call("TIME")[0]))
    world.vm(Queue.PENDING, "stuck", age=3 * HOUR)
    world.vm(Queue.PENDING, "fresh", age=60)
    world.vm(Queue.READY, "idle", age=25 * HOUR)
    world.vm(Queue.READY, "usable", age=60)
    return world


def finished_purges(database: Database) -> int:
    return int(database.call("XLEN", fleet_keys.AUDIT))


# --- pytest-celery's view --------------------------------------------------------------------------------------------


def test_workers_answer_and_a_killed_one_is_replaced(celery_setup: CeleryTestSetup) -> None:
    assert celery_setup.ready(ping=True, control=True)
    one, two = celery_setup.worker_cluster
    one.kill()
    two.kill()
    assert [node.container.status for node in (one, two)] == ["exited", "exited"]
    result = ping.s().apply_async(queue=QUEUE)
    one.restart()
    assert result.get(timeout=PATIENCE) == "pong"


# --- what a worker says and publishes --------------------------------------------------------------------------------


def test_the_first_lines_say_what_is_on(installation: Installation) -> None:
    installation.configure("centos", "ubuntu", purge_interval=90, health_check_enabled=False, dlq_ttl=24)
    worker = installation.worker()
    lines = [line.split("] ", 1)[1] for line in worker.log.splitlines() if line.startswith("[20")]
    address = installation.environment["REDIS_URL"]
    assert lines[:5] == [
        f"[*] [config] Read VMPOOLER_CONFIG; Redis at {address}; pools: centos, ubuntu",
        "[*] [config] dead letters: on, kept 24 h, at most 10000 and 64 MiB per queue",
        "[*] [config] purge: on, every 90 s",
        "[*] [config] pool manager: off",
        "[*] [config] health check: off",
    ]


def test_a_worker_publishes_the_effective_configuration(installation: Installation, database: Database) -> None:
    installation.environment["REDIS_PASSWORD"] = "s3cr3t"  # of no use to this server, and nobody's business
    database.call("HSET", keys.CONFIG, "left_over", "1")
    installation.configure(dlq_enabled=False, max_pending_age=600)
    installation.worker()
    until(lambda: database.call("HEXISTS", keys.CONFIG, "dlq_enabled"), "vmpooler__config is written")
    published = database.client.hgetall(keys.CONFIG)
    assert b"left_over" not in published
    assert published[b"dlq_enabled"] == b"false"
    assert published[b"purge_enabled"] == b"true"
    assert published[b"max_pending_age"] == b"600"
    assert published[b"health_thresholds.dlq_max_warning"] == b"100"
    assert b"s3cr3t" not in b"".join(published.values())


def test_a_managing_worker_names_options_without_effect_once(installation: Installation, database: Database) -> None:
    """With the example file that VMPooler ships for its dummy."""
    example = ROOT / "tests" / "data" / "vmpooler" / "examples" / "vmpooler.yaml.dummy-example"
    del installation.environment["VMPOOLER_CONFIG"]
    installation.environment |= {"VMPOOLER_CONFIG_FILE": str(example), "MANAGE_POOLS": "true", "MIGRATION_LIMIT": "5"}
    installation.environment["CHECK_LOOP_DELAY_MIN"] = "1"  # the watch for another manager takes two of them
    worker = installation.worker()
    installation.beat()
    lines = [line for line in worker.log.splitlines() if "[!] [config]" in line]
    [line] = lines
    assert line.partition("[!] ")[2] == (
        "[config] options of VMPooler without effect here: config.logfile, config.migration_limit (from "
        "MIGRATION_LIMIT), providers.dummy.filename (`vmpooler-tasks config check` says why)"
    )
    until(lambda: database.call("HEXISTS", keys.CONFIG, "clone_target"), "vmpooler__config is written")
    assert b"None" not in database.client.hgetall(keys.CONFIG).values()


# --- ad-hoc runs -----------------------------------------------------------------------------------------------------


def test_celery_call_and_celery_result(installation: Installation, database: Database, stale: World) -> None:
    worker = installation.worker()
    before = {key: value for key, value in stale.snapshot().items() if key.startswith(VMPOOLERS)}
    dry = ast.literal_eval(installation.run(*CELERY, "result", installation.call(PURGE, dry_run=True)))
    assert (dry["dry_run"], dry["total"], dry["found"]["pending"], dry["purged"]["pending"]) == (True, 2, 1, 0)
    worker.says("[*] [purge][dry-run] Would purge stale pending VM 'stuck' (age: 108")
    after = stale.snapshot()
    assert {key: after.get(key) for key in before} == before

    real = ast.literal_eval(
        installation.run(*CELERY, "result", installation.call(PURGE, queues=["pending"], why="test"))
    )
    assert (real["dry_run"], real["total"], real["errors"]) == (False, 1, [])
    assert stale.members(Queue.PENDING) == {b"fresh"}
    assert stale.members(Queue.READY) == {b"idle", b"usable"}
    entries = [json.loads(raw) for raw in database.call("ZRANGE", keys.dead_letters(DeadLetterQueue.PENDING), 0, -1)]
    assert [entry["vm"] for entry in entries] == ["stuck"]

    check = ast.literal_eval(installation.run(*CELERY, "result", installation.call(HEALTH_CHECK)))
    assert check["dlq_total_size"] == 1
    assert health_record.read_status(database)["status"] == check["status"] == "unhealthy"
    assert "no_beat" in [reason["code"] for reason in check["reasons"]], "no beat runs here"


def test_arguments_that_cannot_be_meant_fail_the_task_and_purge_nothing(
    installation: Installation, database: Database, stale: World
) -> None:
    worker = installation.worker()
    for order in ({"pools": POOL}, {"pools": ["nope"]}, {"queues": ["pendng"]}, {"dry_run": "false"}):
        installation.call(PURGE, **order)
    tasks = keys.dead_letters(DeadLetterQueue.TASKS)
    until(lambda: database.call("ZCARD", tasks) == 4, lambda: f"four dead letters; the worker said:\n{worker.log}")
    dead_letters = [json.loads(raw) for raw in database.call("ZRANGE", tasks, 0, -1)]
    assert {dead_letter["error_class"] for dead_letter in dead_letters} == {"InvalidInputError"}
    assert sorted(
        dead_letter["error_message"].removeprefix("The input is not valid: ") for dead_letter in dead_letters
    ) == [
        "dry_run must be true or false, not 'false'",
        f"no pool 'nope'; there are {POOL}",
        "no queue 'pendng'; did you mean pending?",
        f"pools must be a list of names, not '{POOL}'",
    ]
    assert stale.members(Queue.PENDING) == {b"stuck", b"fresh"}
    assert finished_purges(database) == 0


def test_purge_enqueue_hands_the_cycle_to_a_worker(
    installation: Installation, database: Database, stale: World
) -> None:
    sent = json.loads(installation.run("vmpooler-tasks", "purge", "--enqueue", "--why", "too full", "--json"))
    assert finished_purges(database) == 0  # nobody is there to do it
    worker = installation.worker()
    until(lambda: finished_purges(database), "the worker purges")
    worker.says(f"{PURGE}[{sent['task_id']}] succeeded")
    assert stale.members(Queue.PENDING) == {b"fresh"}
    assert stale.members(Queue.READY) == {b"usable"}
    trail = json.loads(installation.run("vmpooler-tasks", "audit", "--json"))
    assert "too full" in json.dumps(trail)


# --- a folder with celeryconfig.py -----------------------------------------------------------------------------------


def test_plain_celery_in_a_folder_with_celeryconfig_does_the_same(
    installation: Installation, database: Database, stale: World
) -> None:
    folder = installation.deploy()
    worker = installation.celery("worker", "--loglevel", "INFO", name="worker", app=()).start()
    worker.says("[*] [config] purge: on").says(" ready.")
    assert "mingle" not in worker.log
    beat = installation.celery("beat", "--loglevel", "INFO", name="beat", app=()).start()
    beat.says(f"[*] [beat] Sent {PURGE}").says(f"[*] [beat] Sent {HEALTH_CHECK}")
    until(lambda: finished_purges(database) and health_record.read_status(database), "purge and health check ran")
    assert stale.members(Queue.PENDING) == {b"fresh"}
    assert not list(folder.glob("celerybeat*"))  # no state on the disk
    task_id = installation.run("celery", "call", PURGE, "--kwargs", '{"dry_run": true}').strip()
    assert ast.literal_eval(installation.run("celery", "result", task_id))["dry_run"] is True


def test_plain_flower_in_that_folder_knows_our_tasks(installation: Installation) -> None:
    installation.deploy()
    options = ("--address=127.0.0.1", f"--port={free_port()}")
    flower = installation.celery("flower", *options, name="flower", app=()).start()
    flower.says("Visit me at").says(PURGE).says(HEALTH_CHECK)


def test_the_procfile_runs_workers_beat_web_and_flower(installation: Installation, database: Database) -> None:
    lines = (ROOT / "Procfile").read_text(encoding="utf-8").splitlines()
    commands = dict(line.split(": ", 1) for line in lines)
    assert set(commands) == {"worker", "checks", "clones", "web", "beat", "flower"}
    assert commands.pop("web") == "vmpooler-tasks web"
    port = str(free_port())
    web = Process(
        [str(installation.programs / "vmpooler-tasks"), "web"],
        folder=installation.folder,
        environment={**installation.environment, "WEB_PORT": port},
        log=installation.folder / "web.log",
    )
    installation.keep(web)
    web.start().says(f"[*] [web] Serving http://127.0.0.1:{port}/")
    for name, command in commands.items():
        program, app, module, *arguments = command.split()
        assert (program, app, module) == ("celery", "-A", "vmpooler_tasks")
        arguments = [f"--port={free_port()}" if argument.startswith("--port=") else argument for argument in arguments]
        installation.celery(*arguments, name=name).start()
    until(lambda: finished_purges(database) and health_record.read_status(database), "purge and health check ran")


def test_celeryconfig_is_where_a_deployment_tunes_celery(installation: Installation) -> None:
    installation.deploy("worker_concurrency = 3")
    worker = installation.celery("worker", "--loglevel", "INFO", name="worker").start().says(" ready.")
    assert "concurrency: 3 (prefork)" in worker.log


# --- stopping ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_a_worker_that_is_told_to_stop_finishes_its_task(
    installation: Installation, database: Database, pool: str
) -> None:
    worker = installation.worker("-P", pool, tasks=PREFIX)
    gate = installation.folder / "gate"
    send(database, message(f"{PREFIX}.wait_for_file", str(gate)))
    send(database, message(f"{PREFIX}.succeed"))
    worker.says("the task waits")  # received is not enough: a task that has not started is returned
    worker.signal(signal.SIGTERM)
    worker.says("Warm shutdown")
    gate.touch()
    assert worker.exit_status() == 0
    assert f"{PREFIX}.wait_for_file[" in worker.log.split("Warm shutdown")[1]
    assert database.call("LLEN", QUEUE) == 1  # the next one is for somebody else
    assert database.call("HLEN", "unacked") == 0


def test_a_worker_that_has_to_stop_at_once_gives_its_task_back(installation: Installation, database: Database) -> None:
    installation.deploy("worker_soft_shutdown_timeout = 1")
    worker = installation.worker(tasks=PREFIX)
    entry = message(f"{PREFIX}.sleep", 60)
    send(database, entry)
    worker.says(f"{PREFIX}.sleep[{entry['headers']['id']}] received")
    worker.signal(signal.SIGQUIT)
    worker.exit_status()
    assert [json.loads(raw)["headers"]["id"] for raw in database.call("LRANGE", QUEUE, 0, -1)] == [
        entry["headers"]["id"]
    ]
    assert database.call("HLEN", "unacked") == 0
    assert database.call("EXISTS", keys.dead_letters(DeadLetterQueue.TASKS)) == 0


# --- bad weather -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("program", ["worker", "beat"])
@pytest.mark.parametrize("app", [("-A", "vmpooler_tasks"), ()], ids=["-A", "celeryconfig.py"])
def test_an_invalid_configuration_ends_it_with_every_problem(
    installation: Installation, program: str, app: tuple[str, ...]
) -> None:
    installation.environment["VMPOOLER_CONFIG"] = configuration(
        "twice", "twice", purge_interval=-1, dlq_ttl="soon", max_pending_agee=5
    )
    process = installation.celery(program, name=program, app=app).start()
    assert process.exit_status() == 78
    assert "Traceback" not in process.log
    problems = [line for line in process.log.splitlines() if line.startswith("  ")]
    for path in ("config.purge_interval: -1", "config.dlq_ttl: 'soon'", "config.max_pending_agee"):
        assert [path in problem for problem in problems].count(True) == 1, process.log
    assert "did you mean max_pending_age?" in process.log


@pytest.mark.parametrize("program", ["worker", "beat"])
def test_without_redis_it_keeps_trying_and_then_works(program: str, tmp_path: Path) -> None:
    server = TestServer("valkey", tmp_path)
    with Installation(server.url, tmp_path) as installation:
        process = installation.celery(program, "--loglevel", "INFO", name=program).start()
        process.says("Connection refused")
        assert "Traceback" not in process.log
        assert f"127.0.0.1:{server.port}" in process.log
        try:
            server.start()
            process.says(" ready." if program == "worker" else f"[*] [beat] Sent {PURGE}")
        finally:
            process.stop()
            server.stop()


@pytest.mark.parametrize(
    ("program", "login", "said"),
    [
        ("worker", ":wr0ng@", "invalid username-password pair"),
        ("worker", "", "it wants a password"),
        ("beat", ":wr0ng@", "invalid username-password pair"),
        ("beat", "", "it wants a password"),
    ],
)
def test_a_wrong_or_missing_password_is_one_clear_line(program: str, login: str, said: str, tmp_path: Path) -> None:
    with servers.running("valkey", tmp_path / "server", password="r1ght") as server:
        address = f"127.0.0.1:{server.port}"
        with Installation(f"redis://{login}{address}/0", tmp_path) as installation:
            process = installation.celery(program, "--loglevel", "INFO", name=program).start().says(said)
            line = next(line for line in process.log.splitlines() if said in line)
            assert address in line
            assert "Traceback" not in process.log
            assert "wr0ng" not in process.log


# --- broadcasts ------------------------------------------------------------------------------------------------------


def test_junk_on_the_channel_of_remote_control_ends_no_worker(installation: Installation, database: Database) -> None:
    worker = installation.worker()
    channel = "/0.celery.pidbox"
    until(lambda: database.call("PUBSUB", "NUMPAT") == 1, "the worker listens")
    for junk in (
        *("5",) * 20,
        "[]",
        "null",
        '"election"',
        "{}",
        '{"method": "election"}',
        "[" * 100_000,
        "no JSON",
        "\x00",
    ):
        assert database.call("PUBLISH", channel, junk) == 1, "the worker still listens"
    worker.says("Ignored a broadcast on celery.pidbox: the message is nested too deeply")
    worker.says("Ignored a broadcast on celery.pidbox: the message is a JSON int, not an object")
    assert worker.log.count("the message is a JSON int") == 1, "once a minute"
    assert "pong" in installation.run("celery", "-A", "vmpooler_tasks", "inspect", "--timeout", "10", "ping")
    assert worker.running
    send(database, message(HEALTH_CHECK))
    until(lambda: database.call("EXISTS", keys.HEALTH), "the worker still takes tasks")
