"""The users of `deploy/redis/users.acl`, on real servers: what the product needs they may, and nothing else."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.support import days_work, deployment
from tests.support.acl import FILE, PASSWORDS, USERS, as_tasks, filled, refusals, with_users
from tests.support.deployment import DEPLOY
from tests.support.messages import send
from tests.support.processes import Installation, until
from tests.support.servers import KINDS, TestServer
from vmpooler_tasks.jobs.health.server import check_server
from vmpooler_tasks.model.names import DeadLetterQueue
from vmpooler_tasks.store import Database, fleet_keys, keys
from vmpooler_tasks.store.redis.server import facts
from vmpooler_tasks.tasks.registry import HEALTH_CHECK, PURGE, QUEUES

pytestmark = pytest.mark.stage(name="deployment")

TASK_DEAD_LETTERS = keys.dead_letters(DeadLetterQueue.TASKS)


@pytest.mark.parametrize(("kind", "number"), [("valkey", 0), ("redis", 11)])
def test_the_whole_product_works_as_its_user_and_is_refused_nothing(kind: str, number: int, tmp_path: Path) -> None:
    with with_users(kind, tmp_path) as server:
        database = Database(f"{server.url.removesuffix('/0')}/{number}")
        with Installation(as_tasks(server, number), tmp_path) as installation:
            days_work.work(installation, database)
        database.close()
        assert not refusals(server)


WORKERS = {line.words: line for line in [*deployment.command_lines(), *deployment.procfile()] if line.role == "worker"}
"""Each command line once: what several places start in the same way is the same."""


@pytest.mark.parametrize("words", WORKERS, ids=lambda words: WORKERS[words].where)
def test_a_deployed_worker_finishes_tasks_of_each_queue_that_it_takes(words: tuple[str, ...], tmp_path: Path) -> None:
    queues = words[words.index("-Q") + 1].split(",") if "-Q" in words else QUEUES
    with with_users("valkey", tmp_path) as server:
        database = Database(server.url)
        with Installation(as_tasks(server), tmp_path) as installation:
            worker = installation.start_literally(words, "worker").says(" ready.")
            for queue in queues:
                for task in (HEALTH_CHECK, PURGE):
                    installation.run("celery", "-A", "vmpooler_tasks", "call", task, "--queue", queue)
                send(database, b"not a message", queue)
                until(lambda: database.call("EXISTS", keys.HEALTH), "the health check is recorded")
                until(lambda: database.call("XLEN", fleet_keys.AUDIT), "the purge is recorded")
                until(lambda: database.call("ZCARD", TASK_DEAD_LETTERS), "there is a dead letter")
                database.call("DEL", keys.HEALTH, fleet_keys.AUDIT, TASK_DEAD_LETTERS)
            assert "1 node online" in installation.run("celery", "-A", "vmpooler_tasks", "inspect", "ping")
            assert database.call("PUBSUB", "NUMPAT") == 1, "a worker listens to remote control alone"
            assert "mingle" not in worker.log
        database.close()
        assert not refusals(server)


def test_a_refused_channel_is_named_in_the_log_and_the_work_goes_on(tmp_path: Path) -> None:
    with (
        with_users("valkey", tmp_path, without=r" &/3\S+") as server,
        Installation(as_tasks(server, 3), tmp_path) as own,
    ):
        own.environment["FLOWER_BASIC_AUTH"] = "operator:a long password"
        started = {line.where: own.start_literally(line.here(), line.where) for line in deployment.procfile("celery")}
        refused = "Redis does not let this user {} the channel /3.{}"
        for where, process in started.items():
            subscribed = "celeryev/*" if "flower" in where else "celery.pidbox"
            if "beat" not in where:
                process.says(refused.format("subscribe to", subscribed))
            process.says(refused.format("publish to", "celery.pidbox" if "flower" in where else "celeryev/"))
        started["Procfile worker"].says(f"{HEALTH_CHECK}[").says("succeeded in")
        for process in started.values():
            assert process.running
            assert process.log.count("Redis does not let") <= 2, process.log
            assert "Connection to broker lost" not in process.log


def test_every_user_waits_for_a_password_of_yours() -> None:
    lines = FILE.read_text(encoding="utf-8").splitlines()
    found = {match[1]: match[2] for line in lines if (match := re.match(r"user (\S+) on \S+ #@(\w+)@ ", line))}
    assert found == USERS
    assert len(found) == len(lines)


def test_compose_fills_them_in(tmp_path: Path) -> None:
    (script,) = deployment.compose()["services"]["redis"]["command"]
    script = script.replace("$$", "$").replace("/etc/redis", str(FILE.parent)).replace("/run/redis", str(tmp_path))
    script = script.replace("exec redis-server", "echo")
    environment = {
        "PATH": os.environ["PATH"],
        "REDIS_PASSWORD": PASSWORDS["TASKS"],
        "VMPOOLER_REDIS_PASSWORD": PASSWORDS["VMPOOLER"],
        "MONITOR_REDIS_PASSWORD": PASSWORDS["MONITOR"],
    }
    done = subprocess.run(["/bin/sh", "-euc", script], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == f"{FILE.parent}/redis.conf --aclfile {tmp_path}/users.acl\n"
    assert (tmp_path / "users.acl").read_text(encoding="utf-8") == filled()


@pytest.mark.parametrize("kind", KINDS)
def test_the_server_takes_its_configuration(kind: str, tmp_path: Path) -> None:
    text = (DEPLOY / "redis" / "redis.conf").read_text(encoding="utf-8").replace("dir /data", f"dir {tmp_path}")
    (tmp_path / "redis.conf").write_text(re.sub(r"^(port|bind) .*$", "", text, flags=re.MULTILINE), encoding="utf-8")
    server = TestServer(kind, tmp_path)
    server._command = [server._command[0], str(tmp_path / "redis.conf"), *server._command[1:7]]
    try:
        database = Database(server.start().url)
        findings = {finding.what: finding.state for finding in check_server(facts(database))}
        database.close()
    finally:
        server.stop()
    assert set(findings.values()) == {"ok"}
