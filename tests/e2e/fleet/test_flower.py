"""A real Flower beside a real worker: who is let in, what it knows, and a purge through its API."""

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, expect

from tests.support.guide import fences
from tests.support.ports import free_port
from tests.support.processes import ROOT, Installation, Process, until
from tests.support.servers import required
from tests.support.world import World
from vmpooler_tasks.model.names import Queue
from vmpooler_tasks.model.purge import PurgeTarget
from vmpooler_tasks.store import Database
from vmpooler_tasks.tasks.registry import HEALTH_CHECK, OWN, PURGE

pytestmark = pytest.mark.slow(seconds=80)

LOGIN = "operator:a good: long password"
HOUR = 3600


@dataclass(frozen=True, slots=True)
class Flower:
    address: str
    process: Process

    def get(self, path: str, login: str | None = LOGIN) -> httpx.Response:
        return httpx.get(self.address + path, auth=auth(login), timeout=30)

    def post(self, path: str, order: Any, login: str | None = LOGIN, **headers: str) -> httpx.Response:
        return httpx.post(self.address + path, json=order, auth=auth(login), headers=headers, timeout=30)

    def task(self, task_id: str) -> dict[str, Any]:
        """What it knows of the task from the events, as soon as that is over."""
        until(lambda: self._seen(task_id).get("state") in ("SUCCESS", "FAILURE"), f"{task_id} is over")
        return self._seen(task_id)

    def _seen(self, task_id: str) -> dict[str, Any]:
        known: dict[str, dict[str, Any]] = self.get("/api/tasks").json()
        return known.get(task_id, {})


def auth(login: str | None) -> httpx.BasicAuth | None:
    return httpx.BasicAuth(*login.split(":", 1)) if login else None


@pytest.fixture
def worker(installation: Installation) -> Process:
    return installation.worker()


@pytest.fixture
def flower(installation: Installation, worker: Process) -> Iterator[Flower]:
    """As the Procfile starts it, on a port of its own; it has seen the worker."""
    (line,) = [line for line in (ROOT / "Procfile").read_text("utf-8").splitlines() if line.startswith("flower: ")]
    *_, command, address, port = line.split()
    assert (command, address, port) == ("flower", "--address=127.0.0.1", "--port=5555")
    installation.environment["FLOWER_BASIC_AUTH"] = LOGIN
    chosen = free_port()
    process = installation.celery(command, address, f"--port={chosen}", name="flower").start().says("Visit me at")
    own = Flower(f"http://127.0.0.1:{chosen}", process)
    until(lambda: own.get("/api/workers?refresh=1").json(), "Flower sees the worker")
    yield own
    assert "Traceback" not in process.log


# --- who is let in ---------------------------------------------------------------------------------------------------


def test_without_the_login_nothing_but_two_pages_is_shown(flower: Flower) -> None:
    purge = f"/api/task/async-apply/{PURGE}"
    for login in (None, "operator:guessed", "operator:"):
        for path in ("/", "/workers", "/tasks", "/broker", "/api/workers", "/api/tasks", "/api/task/types"):
            assert flower.get(path, login).status_code == 401, path
        assert flower.post(purge, {"kwargs": {"dry_run": True}}, login).status_code == 401
        assert flower.post(f"/api/task/send-task/{PURGE}", {}, login).status_code == 401
    open_to_all = {path: flower.get(path, None) for path in ("/healthcheck", "/metrics")}
    assert {answer.status_code for answer in open_to_all.values()} == {200}
    assert open_to_all["/healthcheck"].text == "OK"
    documented = (ROOT / "docs/flower.md").read_text("utf-8").split("**Open even with a login:**")[1].split("\n\n")[0]
    assert all(f"`{path}`" in documented for path in open_to_all)


def test_another_sites_page_cannot_use_the_login_of_a_browser(flower: Flower) -> None:
    order = {"kwargs": {"dry_run": True}}
    for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://elsewhere.example"}):
        answer = flower.post(f"/api/task/async-apply/{PURGE}", order, **headers)
        assert answer.status_code == 403
    assert flower.get("/api/tasks").json() == {}


@pytest.mark.parametrize(
    ("options", "environment", "said"),
    [
        ((), {}, "it would listen on every address without a login"),
        (("--address=0.0.0.0",), {}, "it would listen on 0.0.0.0 without a login"),
        ((), {"FLOWER_ADDRESS": "0.0.0.0"}, "it would listen on 0.0.0.0 without a login"),  # noqa: S104
        (("--address=127.0.0.1",), {"FLOWER_UNAUTHENTICATED_API": "true"}, "FLOWER_UNAUTHENTICATED_API is set"),
    ],
)
@pytest.mark.parametrize("app", [("-A", "vmpooler_tasks"), ()], ids=["-A", "celeryconfig.py"])
def test_open_to_everybody_it_does_not_start(
    installation: Installation, options: tuple[str, ...], environment: dict[str, str], said: str, app: tuple[str, ...]
) -> None:
    installation.environment |= environment
    if not app:
        installation.deploy()
    port = free_port()
    process = installation.celery("flower", f"--port={port}", *options, name="flower", app=app).start()
    assert process.exit_status() == 78
    (line,) = process.log.splitlines()
    assert line.startswith(f"vmpooler-tasks: Flower would be open to everybody: {said}")


def test_on_loopback_without_a_login_its_api_refuses(installation: Installation) -> None:
    port = free_port()
    process = installation.celery("flower", "--address=127.0.0.1", f"--port={port}", name="flower").start()
    process.says("Visit me at")
    own = Flower(f"http://127.0.0.1:{port}", process)
    assert own.get("/workers", None).status_code == 200
    assert own.post(f"/api/task/async-apply/{PURGE}", {}, None).status_code == 401


# --- what it knows and does ------------------------------------------------------------------------------------------


def test_it_knows_the_worker_and_our_tasks(flower: Flower) -> None:
    ((name, worker),) = flower.get("/api/workers").json().items()
    assert name.startswith("worker@")
    assert {queue["name"] for queue in worker["active_queues"]} >= {"vmpooler.maintenance", "vmpooler.clone"}
    registered = [one.split()[0] for one in worker["registered"]]
    assert set(OWN.names) <= set(registered)
    assert all(f"'{name}'" in flower.process.log for name in OWN.names), "those that async-apply takes"


@pytest.mark.parametrize("way", ["async-apply", "send-task"])
def test_its_api_enqueues_a_purge_that_a_worker_runs(
    flower: Flower, worker: Process, database: Database, way: str
) -> None:
    world = World(database, now=float(database.call("TIME")[0]))
    world.vm(Queue.PENDING, "stuck", age=3 * HOUR)
    answer = flower.post(f"/api/task/{way}/{PURGE}", {"kwargs": {"dry_run": True}})
    assert answer.status_code == 200, answer.text
    seen = flower.task(task_id := answer.json()["task-id"])
    assert (seen["name"], seen["state"], seen["worker"].split("@")[0]) == (PURGE, "SUCCESS", "worker")
    worker.says(f"{PURGE}[{task_id}] succeeded")
    result = flower.get(f"/api/task/result/{task_id}").json()
    assert (result["state"], result["result"]["total"]) == ("SUCCESS", 1)
    assert world.members(Queue.PENDING) == {b"stuck"}, "a dry run"
    flower.task(flower.post(f"/api/task/{way}/{PURGE}", {"kwargs": {"who": "olga"}}).json()["task-id"])
    assert world.members(Queue.PENDING) == set()


def test_its_pages_show_worker_and_task(flower: Flower, worker: Process, browser: Browser) -> None:
    task_id = flower.post(f"/api/task/async-apply/{HEALTH_CHECK}", {}).json()["task-id"]
    flower.task(task_id)
    user, _, password = LOGIN.partition(":")
    context = browser.new_context(http_credentials={"username": user, "password": password})
    page = context.new_page()
    page.goto(flower.address)
    expect(page.get_by_role("link", name="worker@").first).to_be_visible()
    page.goto(f"{flower.address}/tasks")
    expect(page.get_by_text(HEALTH_CHECK).first).to_be_visible()
    page.goto(f"{flower.address}/task/{task_id}")
    expect(page.get_by_text("SUCCESS").first).to_be_visible()
    context.close()


def test_the_commands_of_its_page_work(flower: Flower, installation: Installation, tmp_path: Path) -> None:
    for tool in ("curl", "jq", "bash"):
        required(tool)
    blocks = [f.text for f in fences((ROOT / "docs/flower.md").read_text("utf-8")) if f.language == "bash"]
    lines = [line for block in blocks for line in block.splitlines()]
    environment = {**installation.environment, "FLOWER_URL": flower.address}
    printed: list[str] = []
    for line in lines:
        printed.append(typed(line, tmp_path, environment))
        if "/api/task/result/" in line:
            flower.task(json.loads(printed[-2])["task-id"])  # the events may come after the result
    assert len(printed) == 7
    assert [name.split("@")[0] for name in json.loads(printed[0])] == ["worker"]
    assert PURGE in printed[1].splitlines()
    assert set(json.loads(printed[3])) == set(PurgeTarget)
    assert PURGE in printed[4]
    flower.task(json.loads(printed[6])["task-id"])
    trail = installation.run("vmpooler-tasks", "audit", "--json")
    assert "tidying up" in trail
    assert "olga" in trail


def typed(line: str, folder: Path, environment: dict[str, str]) -> str:
    done = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", line],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), line
    return done.stdout
