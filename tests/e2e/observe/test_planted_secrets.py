"""Secrets are planted wherever one can stand, and looked for wherever text comes out."""

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil  # type: ignore[import-untyped]
import pytest

from tests.support.commands import CommandLine
from tests.support.failing_tasks import PREFIX
from tests.support.messages import QUEUE
from tests.support.ports import free_port
from tests.support.processes import Installation, configuration, until
from tests.support.servers import TestServer
from vmpooler_tasks.model.names import DeadLetterQueue
from vmpooler_tasks.store import Database, keys

pytestmark = [pytest.mark.stage(name="deployment"), pytest.mark.timeout(600)]

PLANTED = {
    "password of Redis": "redis-planted-1",
    "password of a user": "user-planted-2",
    "token of a program": "token-planted-3",
    "address of a notification": "hook-planted-4",
    "header of a notification": "header-planted-5",
    "option of a provider": "provider-planted-6",
    "argument": "argument-planted-7",
    "option of a command line": "option-planted-8",
    "cookie": "cookie-planted-9",
    "key of several lines": "pem-planted-10",
    "message that is not valid": "junk-planted-11",
    "error and traceback": "hunter2",
}
ARGUMENTS = {
    "password": PLANTED["argument"],
    "command": ["run", "--api-key", PLANTED["option of a command line"]],
    "headers": [f"Cookie: a=1; b={PLANTED['cookie']}"],
    "file": f"-----BEGIN RSA PRIVATE KEY-----\n{PLANTED['key of several lines']}\n-----END RSA PRIVATE KEY-----",
}
COMMANDS = ("dlq list", "dlq stats", "dlq export", "dlq list --json", "audit", "doctor", "config show", "config check")
PATHS = (
    "/",
    "/metrics",
    "/health",
    "/openapi.json",
    "/api/v1/queue/dlq",
    "/api/v1/queue/audit",
    "/api/v1/queue/overview",
)
INSPECTED = ("stats", "conf", "active", "registered")


def configured() -> str:
    whole = json.loads(configuration(dlq_enabled=True))
    whole[":web"] = {
        "users": [{"name": "olga", "role": "operate", "secret": PLANTED["password of a user"]}],
        "tokens": [{"name": "prometheus", "role": "read", "secret": PLANTED["token of a program"]}],
    }
    hook = f"http://127.0.0.1:9/{PLANTED['address of a notification']}"
    headers = {"X-Auth": PLANTED["header of a notification"]}
    whole[":notify"] = {"targets": [{"type": "webhook", "url": hook, "headers": headers}]}
    whole[":providers"] = {"vsphere": {"server": "vc", "password": PLANTED["option of a provider"]}}
    return json.dumps(whole)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[TestServer]:
    (tmp_path / "redis").mkdir()
    own = TestServer("valkey", tmp_path / "redis", password=PLANTED["password of Redis"])
    own.start()
    yield own
    own.kill()


def test_no_planted_secret_comes_out(server: TestServer, tmp_path: Path) -> None:
    shown: dict[str, str] = {}
    with Installation(server.url, tmp_path) as installation:
        installation.environment["VMPOOLER_CONFIG"] = configured()
        worker = installation.worker(tasks=PREFIX)
        port = free_port()
        web = installation.start_literally(("vmpooler-tasks", "web", "--port", str(port)), "web").says("Serving")
        database = Database(server.url)
        installation.call(f"{PREFIX}.raise_an_error", **ARGUMENTS)
        database.call("LPUSH", QUEUE, f'no message {{"secret": "{PLANTED["message that is not valid"]}"}}')
        until(lambda: database.call("ZCARD", keys.dead_letters(DeadLetterQueue.TASKS)) == 2, "both are dead letters")
        run = CommandLine(installation.folder, installation.environment)
        shown |= {command: repr(run(*command.split())) for command in COMMANDS}
        for name in INSPECTED:
            shown[f"inspect {name}"] = installation.run("celery", "-A", "vmpooler_tasks", "inspect", name, "--json")
        auth = ("olga", PLANTED["password of a user"])
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", auth=auth, timeout=30) as client:
            shown |= {path: client.get(path).text for path in PATHS}
            ids = [entry["id"] for entry in client.get("/api/v1/queue/dlq").json()["letters"]]
            shown |= {f"dead letter {one}": client.get(f"/api/v1/queue/dlq/{one}").text for one in ids}
        shown["command lines"] = " ".join(word for own in (worker, web) for word in command_lines(own.process))
        shown["what Redis keeps"] = " ".join(kept(database))
        database.close()
    shown |= {file.name: file.read_text() for file in tmp_path.glob("*.log")}
    assert len(ids) == 2
    assert any("[redacted]" in shown[f"dead letter {one}"] for one in ids)
    assert {"worker.log", "web.log"} <= shown.keys()
    assert all(shown.values()), [place for place, text in shown.items() if not text]
    found = [(what, place) for what, secret in PLANTED.items() for place, text in shown.items() if secret in text]
    assert found == []


def command_lines(process: object) -> list[str]:
    own = psutil.Process(process.pid)  # type: ignore[attr-defined]
    return [word for one in (own, *own.children(recursive=True)) for word in one.cmdline()]


def kept(database: Database) -> Iterator[str]:
    """Yield the values of this project's hashes and sorted sets, and of VMPooler's configuration and dead letters."""
    for key in database.call("KEYS", "vmpooler*"):
        kind = database.call("TYPE", key)
        if kind == b"hash":
            yield repr(database.call("HGETALL", key))
        elif kind == b"zset":
            yield repr(database.call("ZRANGE", key, 0, -1))
        elif kind == b"stream":
            yield repr(database.call("XRANGE", key, "-", "+"))
