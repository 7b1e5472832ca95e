"""A whole installation that tests make sick and repair: the literal lines of Procfile on a server of its own.

What a reader sees is read in the four ways that an operator has: command, API, metrics, page.
"""

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

import httpx
from playwright.sync_api import Page

from tests.support import zoo_provider
from tests.support.browser import chromium
from tests.support.deployment import procfile
from tests.support.exposition import parse
from tests.support.ports import free_port
from tests.support.processes import PATIENCE, ROOT, Installation, Process, until
from tests.support.servers import TestServer, running
from vmpooler_tasks.local.ports import LOOPBACK
from vmpooler_tasks.model.health.status import Status
from vmpooler_tasks.store import Database

POOLS = ("a", "b")
SIZE = 2

LIMIT_SECONDS = float(os.environ.get("ZOO_SECONDS", PATIENCE))
"""Within this time the status follows the facts. The checks' interval is longer: no check that comes anyway helps.

The promise is 15 seconds. On a machine that does much else a state that comes late is no failure.
"""


@dataclass(frozen=True)
class Seen:
    """What one reader shows: the status, and the codes of its reasons, with the queue of Celery if they name one."""

    status: str
    codes: frozenset[str]

    def without_queues(self) -> "Seen":
        return Seen(self.status, frozenset(code.partition(" ")[0] for code in self.codes))


def _code(code: str, queue: str | None) -> str:
    return f"{code} {queue}" if queue else code


class Zoo:
    """The running installation. `processes` by their names in Procfile."""

    def __init__(self, server: TestServer, installation: Installation, folder: Path, page: Page | None) -> None:
        self.server, self.installation, self.page = server, installation, page
        self.db = Database(server.url)
        self.switches = folder / "switches"
        self.switches.mkdir()
        self.port = free_port()
        self.address = f"http://{LOOPBACK}:{self.port}"
        installation.environment |= {
            "WEB_PORT": str(self.port),
            "PYTHONPATH": os.pathsep.join([str(ROOT), zoo_provider.installed(folder / "site")]),
            zoo_provider.VARIABLE: str(self.switches),
        }
        self.lines = {line.where.split()[1]: line.words for line in procfile() if line.role != "flower"}
        self.processes: dict[str, Process] = {}

    def start(self, name: str, **environment: str) -> None:
        """Start a process with its line of Procfile."""
        before = dict(self.installation.environment)
        if path := environment.get("PYTHONPATH"):
            environment["PYTHONPATH"] = os.pathsep.join([path, before["PYTHONPATH"]])
        self.installation.environment |= environment
        self.processes[name] = self.installation.start_literally(self.lines[name], name)
        self.installation.environment = before

    def kill(self, name: str) -> None:
        self.processes[name].kill()

    def freeze(self, name: str) -> None:
        self._signal(name, signal.SIGSTOP)

    def thaw(self, name: str) -> None:
        self._signal(name, signal.SIGCONT)

    def _signal(self, name: str, number: int) -> None:
        process = self.processes[name].process
        assert process is not None
        os.killpg(process.pid, number)

    def switch(self, name: str, text: str = "") -> None:
        (self.switches / name).write_text(text, encoding="utf-8")

    def switch_off(self, name: str) -> None:
        (self.switches / name).unlink(missing_ok=True)

    # --- what a reader sees ---

    def by_command(self) -> Seen:
        done = subprocess.run(
            [str(self.installation.programs / "vmpooler-tasks"), "health", "--no-check", "--json"],
            env=self.installation.environment,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        if not done.stdout:
            return Seen(f"exit {done.returncode}", frozenset())
        found = _seen(json.loads(done.stdout))
        assert done.returncode == Status[found.status.upper()], "the exit status is that of the status"
        return found

    def by_api(self) -> Seen:
        reply = httpx.get(f"{self.address}/health", timeout=PATIENCE)
        body = reply.json()
        if "reasons" not in body:
            return Seen(f"response {reply.status_code}", frozenset())
        found = _seen(body)
        assert reply.status_code == (503 if found.status == "unhealthy" else 200)
        return found

    def by_metrics(self) -> Seen:
        found = parse(httpx.get(f"{self.address}/metrics", timeout=PATIENCE).content)
        number = found("vmpooler_health_status")
        codes = frozenset(_code(labels["reason"], labels["queue"]) for labels in found.labels("vmpooler_health_reason"))
        return Seen("unknown" if number is None else str(Status(int(number))), codes)

    def by_page(self) -> Seen:
        assert self.page is not None
        place = self.page.locator("#health")
        links = place.locator("a[href*='/runbooks#']")
        codes = links.evaluate_all("links => links.map((link) => link.hash.slice(1))")
        return Seen(place.get_attribute("data-status") or "", frozenset(codes))

    def readers(self) -> Mapping[str, Callable[[], Seen]]:
        readers = {"API": self.by_api, "metrics": self.by_metrics, "command": self.by_command}
        return {**readers, "page": self.by_page} if self.page else readers

    def shows(self, expected: Callable[[Seen], bool], what: str) -> float:
        """Wait until all readers agree on what is expected. Return the seconds that it took, and fail if too many."""
        started = monotonic()
        last: dict[str, Seen] = {}

        def agreed(*names: str) -> bool:
            readers = self.readers()
            last.clear()
            last.update({name: readers[name]() for name in names or readers})
            shown = [seen for name, seen in last.items() if name != "page"]
            agree = {seen.without_queues() for seen in last.values()}
            return all(map(expected, shown)) and len(set(shown)) == len(agree) == 1

        until(lambda: agreed("API"), lambda: f"{what}; the API shows {last}", seconds=LIMIT_SECONDS, pause=0.2)
        until(agreed, lambda: f"{what}; the readers show {last}", pause=0.2)
        return monotonic() - started

    def is_well(self) -> float:
        """Wait until all readers show healthy, without a reason."""
        return self.shows(lambda seen: seen == Seen("healthy", frozenset()), "it is healthy")

    def shows_no_redis(self) -> float:
        """Wait until each reader shows in its own way that it cannot read Redis. None of them shows healthy."""
        started = monotonic()

        def shown() -> bool:
            return (
                self.by_api() == Seen("response 503", frozenset())
                and self.by_metrics().status == "unhealthy"
                and self.by_command() == Seen(f"exit {os.EX_UNAVAILABLE}", frozenset())
                and (self.page is None or self.page.locator("#connection").inner_text() != "")
            )

        until(shown, "no reader reads Redis", pause=0.2)
        return monotonic() - started

    def serves(self) -> bool:
        """Return whether the web process responds."""
        return _responds(self.address)

    def is_full(self) -> None:
        """Wait until each pool has its VMs."""

        def full() -> bool:
            return all(self.db.call("SCARD", f"vmpooler__ready__{pool}") >= SIZE for pool in POOLS)

        until(full, "the pools are full")


def _seen(body: Mapping[str, Any]) -> Seen:
    return Seen(body["status"], frozenset(_code(reason["code"], reason.get("queue")) for reason in body["reasons"]))


def configuration(**options: Any) -> str:
    """Return the configuration of the zoo. The checks' interval is long: what comes sooner follows the facts."""
    return json.dumps(
        {
            ":config": {
                "manage_pools": True,
                "check_loop_delay_min": 1,
                "vm_checktime": 0.1,
                "breaker_failures": 2,
                "breaker_seconds": 1,
                "lease_seconds": 10,
                "dlq_enabled": True,
                "purge_enabled": True,
                "health_check_enabled": True,
                "health_check_interval": 300,
                **options,
            },
            ":providers": {zoo_provider.NAME: {}},
            ":pools": [{"name": pool, "size": SIZE, "template": f"templates/{pool}"} for pool in POOLS],
        }
    )


@contextmanager
def zoo(
    folder: Path, environment: Mapping[str, str] | None = None, *, page: bool = False, **options: Any
) -> Iterator[Zoo]:
    """Start everything, and wait until it is healthy. With `page` a browser shows the dashboard all the time."""
    with (
        running("valkey", folder / "server", ["--appendonly", "yes"]) as server,
        Installation(server.url, folder, configuration(**options)) as own,
        _page() if page else nullcontext() as shown,
    ):
        own.environment |= environment or {}
        made = Zoo(server, own, folder, shown)
        for name in made.lines:
            made.start(name)
        until(lambda: _responds(made.address), "the web process serves")
        made.is_full()
        if shown is not None:
            shown.goto(made.address)
        until(lambda: made.by_api() == Seen("healthy", frozenset()), lambda: f"healthy; it is {made.by_api()}")
        yield made
        made.db.close()


@contextmanager
def _page() -> Iterator[Page]:
    with chromium() as browser:
        yield browser.new_page()


def _responds(address: str) -> bool:
    try:
        return httpx.get(f"{address}/healthz", timeout=2).is_success
    except httpx.HTTPError:
        return False
