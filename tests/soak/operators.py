"""The operators and their programs: they read pages and metrics, and list, redrive and delete dead letters."""

import json
import subprocess
import threading
from collections import Counter
from collections.abc import Sequence
from itertools import count
from typing import Any

import httpx

from tests.soak.system import System
from tests.support.processes import PATIENCE

PAGES = ("/metrics", "/health", "/readyz", "/", "/api/v1/queue/overview", "/api/v1/queue/dlq?limit=50")
FLOWERS_PAGES = ("/healthcheck", "/metrics")

DELETE = ("dlq", "delete", "--queue", "tasks", "--search", "no such argument", "--limit", "2", "--yes", "--json")
REDRIVE = (
    "dlq",
    "redrive",
    "--queue",
    "clone",
    "--since",
    "1d",
    "--limit",
    "3",
    "--max-failed",
    "100",
    "--yes",
    "--json",
)
COMMANDS: Sequence[Sequence[str]] = (
    ("dlq", "stats", "--json"),
    DELETE,
    ("purge", "--dry-run", "--json"),
    REDRIVE,
    ("health", "--json"),
    ("pools", "--json"),
)
SECONDS_BETWEEN_COMMANDS = 8


class Operators(threading.Thread):
    """`statuses` counts the responses of the pages, `ended` the commands by name and exit status."""

    def __init__(self, system: System) -> None:
        super().__init__(name="operators", daemon=True)
        self._system, self._end = system, threading.Event()
        self.statuses: Counter[int] = Counter()
        self.ended: Counter[str] = Counter()
        self.outputs: list[tuple[Sequence[str], Any]] = []
        """What the commands that change something printed."""
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            with httpx.Client(timeout=PATIENCE) as client:
                for turn in count():
                    if self._end.wait(1):
                        return
                    self._read_pages(client)
                    if turn % SECONDS_BETWEEN_COMMANDS == 0:
                        self._command(COMMANDS[turn // SECONDS_BETWEEN_COMMANDS % len(COMMANDS)])
        except BaseException as error:
            self.error = error
            raise

    def stop(self) -> None:
        self._end.set()
        self.join()
        if self.error is not None:
            raise self.error

    def _read_pages(self, client: httpx.Client) -> None:
        addresses = [self._system.web + page for page in PAGES] + [self._system.flower + page for page in FLOWERS_PAGES]
        for address in addresses:
            self.statuses[client.get(address).status_code] += 1

    def _command(self, words: Sequence[str]) -> None:
        installation = self._system.installation
        done = subprocess.run(
            [str(installation.programs / "vmpooler-tasks"), *words],
            cwd=installation.start_in,
            env=installation.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        self.ended[f"{' '.join(words[:2])}: {done.returncode}"] += 1
        if words in (DELETE, REDRIVE) and done.stdout:
            self.outputs.append((words, json.loads(done.stdout)))
