"""Real processes freeze, stop and return: command, API, metrics and page agree on the status."""

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.fleet import let_pass
from tests.support.ports import free_port
from tests.support.processes import PATIENCE, Installation, Process, until
from tests.support.servers import TestServer
from tests.support.world import POOL
from vmpooler_tasks.model.fleet import STOPPED_GRACE_SECONDS
from vmpooler_tasks.store import Database, keys
from vmpooler_tasks.store.fleet import heartbeats

pytestmark = pytest.mark.stage(name="zoo")

LONG = 3600.0
"""An interval that no test waits for."""

EXIT_STATUSES = {"healthy": 0, "degraded": 1, "unhealthy": 2}


def configured(interval: float = LONG) -> str:
    options = {
        "manage_pools": True,
        "purge_enabled": True,
        "health_check_enabled": True,
        "health_check_interval": interval,
    }
    pools = [{"name": POOL, "size": 1, "provider": "dummy"}]
    return json.dumps({":config": options, ":providers": {"dummy": {}}, ":pools": pools})


@dataclass(slots=True)
class Site:
    """An installation with its web process."""

    installation: Installation
    address: str
    db: Database

    def command(self, *options: str) -> dict[str, Any]:
        """Return what `vmpooler-tasks health` shows, whose exit status is that of its status."""
        done = subprocess.run(
            [str(self.installation.programs / "vmpooler-tasks"), "health", "--json", *options],
            env=self.installation.environment,
            cwd=self.installation.folder,
            capture_output=True,
            check=False,
        )
        shown: dict[str, Any] = json.loads(done.stdout)
        assert done.returncode == EXIT_STATUSES[shown["status"]]
        return shown

    def api(self) -> dict[str, Any]:
        response = httpx.get(f"{self.address}/health", timeout=PATIENCE)
        shown: dict[str, Any] = response.json()
        assert response.status_code == (503 if shown["status"] == "unhealthy" else 200)
        return shown

    def overview(self) -> dict[str, Any]:
        shown: dict[str, Any] = httpx.get(f"{self.address}/api/v1/queue/overview", timeout=PATIENCE).json()["health"]
        return shown

    def codes(self) -> set[str]:
        return {reason["code"] for reason in self.api()["reasons"]}

    def metric(self) -> int:
        text = httpx.get(f"{self.address}/metrics", timeout=PATIENCE).text
        found = re.search(r"^vmpooler_health_status (\d)", text, re.MULTILINE)
        assert found
        return int(found[1])

    def recorded(self) -> str:
        return (self.db.call("HGET", "vmpooler__health", "status") or b"").decode()

    def becomes(self, status: str, *codes: str) -> None:
        """Wait until the hash has the status, with nobody asking; then all readers agree on it and its reasons."""
        until(lambda: self.recorded() == status, lambda: f"{status} is recorded, not {self.recorded()}")
        expected = (status, sorted(codes))
        until(lambda: self.shown() == [expected] * 3, lambda: f"{expected} is shown, not {self.shown()}")
        until(lambda: self.metric() == EXIT_STATUSES[status], lambda: f"{status} is exported, not {self.metric()}")

    def shown(self) -> list[tuple[str, list[str]]]:
        """Return the status and the reasons that each reader shows."""
        readers = [self.command("--no-check"), self.api(), self.overview()]
        return [(one["status"], sorted({reason["code"] for reason in one["reasons"]})) for one in readers]


@pytest.fixture
def site(valkey: TestServer, tmp_path: Path) -> Iterator[Site]:
    db, port = Database(valkey.url), free_port()
    with Installation(valkey.url, tmp_path, configured()) as installation:
        yield Site(installation, f"http://127.0.0.1:{port}", db)
    db.close()


def start(site: Site, *, clones_apart: bool = False) -> dict[str, Process]:
    """Start a whole installation, and wait until it is healthy."""
    queues = ("vmpooler.check,vmpooler.destroy,vmpooler.maintenance", "vmpooler.clone")
    chosen = {"worker": queues[0], "cloner": queues[1]} if clones_apart else {"worker": ",".join(queues)}
    made = {name: site.installation.worker("-P", "threads", "-Q", taken, name=name) for name, taken in chosen.items()}
    made["beat"] = site.installation.beat()
    port = site.address.rpartition(":")[2]
    made["web"] = site.installation.start_literally(["vmpooler-tasks", "web", "--port", port], "web")
    made["web"].says("[web] Serving")
    site.becomes("healthy")
    return made


def test_the_only_worker_of_a_queue_freezes_and_returns(site: Site) -> None:
    cloner = start(site, clones_apart=True)["cloner"]
    cloner.signal(signal.SIGSTOP)
    site.becomes("unhealthy", "no_worker")
    [reason] = site.api()["reasons"]
    assert (reason["queue"], reason["host"].partition("@")[0]) == ("vmpooler.clone", "cloner")
    assert "`celery -A vmpooler_tasks worker -Q vmpooler.clone`" in reason["remedy"]
    assert site.command()["status"] == "unhealthy"
    cloner.signal(signal.SIGCONT)
    site.becomes("healthy")


def test_a_frozen_beat_stays_a_reason_whoever_checks_by_hand(site: Site) -> None:
    site.installation.environment["VMPOOLER_CONFIG"] = configured(interval=3)
    beat = start(site)["beat"]
    beat.signal(signal.SIGSTOP)
    missed = {"no_beat", "stale"}
    until(lambda: site.codes() >= missed, lambda: f"beat is missed, not {site.codes()}")
    for _ in range(2):
        assert {reason["code"] for reason in site.command()["reasons"]} >= missed
        assert site.codes() >= missed
    beat.signal(signal.SIGCONT)
    site.becomes("healthy")


def test_a_planned_stop_has_a_minute(site: Site) -> None:
    processes = start(site)
    processes["worker"].stop()
    (goodbye,) = [one.last for one in heartbeats.read_fleet(site.db).processes if one.last.stopped]
    for _ in range(3):
        site.db.call("DEL", keys.HEALTH_WATCH)
        until(lambda: site.db.call("EXISTS", keys.HEALTH_WATCH), "a process watches")
    assert (site.command("--no-check")["status"], site.api()["status"], site.recorded()) == ("healthy",) * 3
    let_pass(site.db, goodbye, STOPPED_GRACE_SECONDS)
    until(lambda: site.recorded() == "unhealthy", "beat watches as well")
    assert {reason["queue"] for reason in site.command("--no-check")["reasons"]} == {
        *("vmpooler.clone", "vmpooler.check", "vmpooler.destroy", "vmpooler.maintenance")
    }


def test_a_database_without_pools_is_unhealthy(valkey: TestServer, tmp_path: Path) -> None:
    nothing = json.dumps({":config": {"health_check_enabled": True}})
    with Installation(f"{valkey.url.rpartition('/')[0]}/7", tmp_path, nothing) as installation:
        site = Site(installation, "", Database(valkey.url))
        reasons = {reason["code"] for reason in site.command()["reasons"]}
        assert "nothing_checked" in reasons
        assert "database number" in installation.run("vmpooler-tasks", "health", "--no-check", status=2)


def test_a_clock_that_is_wrong_by_an_hour_is_named_and_stops_nothing(site: Site) -> None:
    """The clock is shifted in the worker's Python alone: a machine for tests may have no libfaketime."""
    folder = site.installation.folder / "clock"
    folder.mkdir()
    shifted = "import time\n_right = time.time\ntime.time = lambda: _right() + 3600\n"
    (folder / "sitecustomize.py").write_text(shifted, encoding="utf-8")
    start(site)
    site.installation.environment["PYTHONPATH"] = str(folder)
    odd = site.installation.worker("-P", "threads", name="odd")
    del site.installation.environment["PYTHONPATH"]
    site.becomes("degraded", "clock")
    [reason] = site.api()["reasons"]
    assert (reason["host"], round(reason["measured"] / 10)) == (os.uname().nodename, 360)
    assert "NTP" in reason["remedy"]
    clocks = {
        one["what"]: one for one in json.loads(site.installation.run("vmpooler-tasks", "doctor", "--json", status=1))
    }
    assert clocks["clocks"]["state"] == "fail"
    odd.stop()
    site.becomes("healthy")
