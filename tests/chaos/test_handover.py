"""Hosts that are frozen, and killed or thawed a moment later, while workers of each kind take messages.

Workers of each kind (processes, one process for each task, threads) run many short tasks: at once, after a
countdown, and after a retry. One worker at a time is frozen at a random instant, with all its children, and killed
within the next second, as a host that hangs and dies. One stays frozen until others have taken what it held, and wakes.
Each task must be done. Only what a frozen or killed worker held may be done twice, and no message is left anywhere.
"""

import os
import random
import signal
import time
from datetime import UTC, datetime, timedelta

import pytest

from tests.chaos.settings import times
from tests.support.messages import QUEUE, message, send, waiting
from tests.support.processes import Installation, Process, until
from tests.support.recording_tasks import PREFIX, done
from vmpooler_tasks.store import Database
from vmpooler_tasks.tasks.broker.holders import HOLDERS_KEY

STRIKES = times(6)
TASKS_PER_STRIKE = 60
LEASE_SECONDS = 20
"""A silent worker's messages are back within this time, and a sweep or two."""

KINDS: dict[str, tuple[tuple[str, ...], dict[str, int]]] = {
    "processes": ((), {"worker_concurrency": 2}),
    "children": ((), {"worker_concurrency": 2, "worker_max_tasks_per_child": 1}),
    "threads": (("-P", "threads"), {"worker_concurrency": 4}),
}
"""Worker → (options, settings). A prefetch of four leaves messages reserved that have not started."""

pytestmark = [pytest.mark.stage(name="chaos"), pytest.mark.timeout(240 + 10 * STRIKES)]


class Fleet:
    """The workers, and what was sent to them."""

    def __init__(self, installation: Installation, db: Database, chance: random.Random) -> None:
        self._installation, self._db, self._chance = installation, db, chance
        self.workers = {name: self._start(name) for name in KINDS}
        self.sent: list[str] = []

    def _start(self, name: str) -> Process:
        options, settings = KINDS[name]
        return self._installation.worker(*options, name=name, tasks=PREFIX, worker_prefetch_multiplier=4, **settings)

    def send(self) -> None:
        """Send tasks: two thirds at once, the others with a countdown or a retry."""
        for _ in range(TASKS_PER_STRIKE):
            name, seconds = f"work {len(self.sent)}", self._chance.uniform(0, 0.1)
            self.sent.append(name)
            kind = self._chance.choice(("record", "record", "record", "record", "countdown", "record_after_a_retry"))
            eta = (datetime.now(UTC) + timedelta(seconds=self._chance.uniform(0, 3))).isoformat()
            headers = {"eta": eta} if kind == "countdown" else {}
            send(self._db, message(f"{PREFIX}.{kind.replace('countdown', 'record')}", name, seconds, headers=headers))

    def freeze(self, name: str) -> Process:
        """Freeze the worker and its children, as a host that hangs."""
        worker = self.workers[name]
        assert worker.process is not None
        os.killpg(worker.process.pid, signal.SIGSTOP)
        return worker

    def kill_frozen(self, name: str) -> int:
        """Kill the worker within a second after it froze, and start it again. Return how many messages it held."""
        worker = self.freeze(name)
        time.sleep(self._chance.uniform(0, 0.9))
        held = int(self._db.call("HLEN", "unacked"))
        worker.kill()
        self.workers[name] = self._start(name)
        return held

    def wait_until_done(self) -> None:
        until(
            lambda: set(done(self._db)) >= set(self.sent) and waiting(self._db) == 0,
            lambda: f"not done: {sorted(set(self.sent) - set(done(self._db)))[:10]}; {waiting(self._db)} wait",
        )


@pytest.fixture
def fleet(installation: Installation, database: Database, chance: random.Random) -> Fleet:
    installation.configure(lease_seconds=LEASE_SECONDS)
    return Fleet(installation, database, chance)


def test_hosts_that_freeze_and_die_lose_no_message(fleet: Fleet, database: Database, chance: random.Random) -> None:
    held = 0
    for _ in range(STRIKES):
        fleet.send()
        time.sleep(chance.uniform(0, 0.4))  # at any instant
        held += fleet.kill_frozen(chance.choice(sorted(KINDS)))
    fleet.send()
    frozen = fleet.freeze(chance.choice(sorted(KINDS)))
    fleet.wait_until_done()
    assert frozen.process is not None
    os.killpg(frozen.process.pid, signal.SIGCONT)
    until(lambda: not database.call("EXISTS", HOLDERS_KEY), "the one that wakes holds nothing")
    counts = done(database)
    doubled = sum(count - 1 for count in counts.values())
    print(
        f"{len(fleet.sent)} tasks, {STRIKES} hosts died, lost 0, done twice {doubled}, held at a death {held}",
        flush=True,
    )
    assert max(counts.values()) <= 1 + STRIKES
    assert database.call("LLEN", QUEUE) == 0
    fleet.send()
    fleet.wait_until_done()
