"""The users of `deploy/redis/users.acl`, on real servers: what the product needs they may, and nothing else."""

import hashlib
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.support import days_work, deployment
from tests.support.deployment import DEPLOY
from tests.support.messages import send
from tests.support.processes import Installation, until
from tests.support.servers import KINDS, TestServer
from vmpooler_tasks.jobs.health.server import check_server
from vmpooler_tasks.model.names import DeadLetterQueue
from vmpooler_tasks.store import Database, keys
from vmpooler_tasks.store.redis.server import facts
from vmpooler_tasks.tasks.registry import HEALTH_CHECK, PURGE, QUEUES

pytestmark = pytest.mark.stage(name="deployment")

FILE = DEPLOY / "redis" / "users.acl"
PASSWORDS = {"TASKS": "tasks-s3cr3t", "VMPOOLER": "vmpooler-s3cr3t", "MONITOR": "monitor-s3cr3t"}
USERS = {"vmpooler-tasks": "TASKS", "default": "VMPOOLER", "vmpooler-monitor": "MONITOR"}
TASK_DEAD_LETTERS = keys.dead_letters(DeadLetterQueue.TASKS)
ADMIN = "user admin on >admin-s3cr3t ~* &* +@all\n"


@contextmanager
def with_users(kind: str, folder: Path) -> Iterator[TestServer]:
    """A server with these users, and one for the tests."""
    (folder / "users.acl").write_text(filled() + ADMIN, encoding="utf-8")
    server = TestServer(kind, folder, ["--aclfile", str(folder / "users.acl")])
    server.url = server.url.replace("//", "//admin:admin-s3cr3t@")
    try:
        yield server.start()
    finally:
        server.stop()


def filled() -> str:
    """The file with the passwords' digests."""
    text = FILE.read_text(encoding="utf-8")
    for name, password in PASSWORDS.items():
        text = text.replace(f"@{name}@", hashlib.sha256(password.encode()).hexdigest())
    return text


@pytest.fixture(params=KINDS)
def guarded(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[TestServer]:
    with with_users(request.param, tmp_path) as server:
        yield server


@pytest.fixture(scope="module")
def acl_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestServer]:
    """One Redis for what changes nothing."""
    with with_users("redis", tmp_path_factory.mktemp("acl")) as server:
        yield server


def as_tasks(server: TestServer) -> str:
    """The address with the login of this project's processes."""
    return f"redis://vmpooler-tasks:{PASSWORDS['TASKS']}@127.0.0.1:{server.port}/0"


def client(server: TestServer, user: str) -> Any:
    return redis.Redis(port=server.port, username=user, password=PASSWORDS[USERS[user]])


def refusals(server: TestServer) -> list[str]:
    """Return what the server refused users, as it recorded it. CONFIG GET is left out: it is tried, but not needed."""
    admin = redis.Redis.from_url(server.url)
    found = [f"{entry['reason']} {entry['object']} of {entry['username']}" for entry in admin.acl_log()]
    return [refusal for refusal in found if "config|get" not in refusal]


def test_the_whole_product_works_as_its_user_and_is_refused_nothing(guarded: TestServer, tmp_path: Path) -> None:
    database = Database(guarded.url)
    with Installation(as_tasks(guarded), tmp_path) as installation:
        days_work.work(installation, database)
    database.close()
    assert not refusals(guarded)


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
                until(lambda: database.call("XLEN", keys.AUDIT), "the purge is recorded")
                until(lambda: database.call("ZCARD", TASK_DEAD_LETTERS), "there is a dead letter")
                database.call("DEL", keys.HEALTH, keys.AUDIT, TASK_DEAD_LETTERS)
            assert "1 node online" in installation.run("celery", "-A", "vmpooler_tasks", "inspect", "ping")
            assert database.call("PUBSUB", "NUMPAT") == 1, "a worker listens to remote control alone"
            assert "mingle" not in worker.log
        database.close()
        assert not refusals(server)


@pytest.mark.parametrize(
    "command",
    [
        "FLUSHALL",
        "FLUSHDB",
        "KEYS *",
        "CONFIG GET *",
        "CONFIG SET maxmemory 1",
        "SHUTDOWN",
        "SAVE",
        "MONITOR",
        "ACL LIST",
        "ACL SETUSER x on nopass +@all",
        "CLIENT KILL TYPE normal",
        "CLIENT LIST",
        "REPLICAOF NO ONE",
        "SCRIPT FLUSH",
        "FUNCTION FLUSH",
        "MODULE LIST",
        "SWAPDB 0 1",
        "GET other",
        "SET other 1",
        "DEL other",
        "LPUSH celery x",
        "SUBSCRIBE other",
        "PUBLISH other x",
        "RENAME vmpooler__a other",
        "MIGRATE h 1 vmpooler__a 0 1",
    ],
)
def test_nothing_else_is_granted(command: str, acl_server: TestServer) -> None:
    connection = client(acl_server, "vmpooler-tasks")
    with pytest.raises(redis.exceptions.NoPermissionError):
        connection.execute_command(*command.split())


@pytest.mark.parametrize(
    "script",
    ["return redis.call('GET', 'other')", "return redis.call('FLUSHALL')", "return redis.call('KEYS', '*')"],
)
def test_a_script_may_no_more_than_its_user(script: str, acl_server: TestServer) -> None:
    with pytest.raises(redis.exceptions.ResponseError, match="The user executing the script can't"):
        client(acl_server, "vmpooler-tasks").eval(script, 0)


def test_the_monitor_reads_and_writes_nothing(acl_server: TestServer) -> None:
    writer, monitor = client(acl_server, "vmpooler-tasks"), client(acl_server, "vmpooler-monitor")
    writer.hset("vmpooler__health", "status", "healthy")
    assert monitor.hget("vmpooler__health", "status") == b"healthy"
    assert monitor.zcard("vmpooler__dlq__clone") == monitor.llen("vmpooler.clone") == monitor.hlen("unacked") == 0
    assert monitor.info("memory")
    for command in ("SET vmpooler__a 1", "DEL vmpooler__health", "LPOP vmpooler.clone", "GET other", "EVAL x 0"):
        with pytest.raises(redis.exceptions.NoPermissionError):
            monitor.execute_command(*command.split())


def test_vmpooler_has_its_own_keys_alone(acl_server: TestServer) -> None:
    vmpooler = client(acl_server, "default")
    assert vmpooler.sadd("vmpooler__ready__x", "vm") in {0, 1}
    assert isinstance(vmpooler.keys("vmpooler__*"), list)
    for command in ("FLUSHALL", "GET other", "LPUSH vmpooler.clone x", "HSET vmpooler_tasks__counters a 1"):
        with pytest.raises(redis.exceptions.NoPermissionError):
            vmpooler.execute_command(*command.split())


def test_nobody_comes_in_without_a_password(acl_server: TestServer) -> None:
    with pytest.raises(redis.exceptions.AuthenticationError):
        redis.Redis(port=acl_server.port).ping()


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
