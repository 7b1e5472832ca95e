"""A machine whose clock is wrong by an hour, during a short failure of the provider.

Its processes do their work as usual beside the others, and purge nothing too early. What they leave behind when they
are killed lasts no longer than what others leave.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support import zoo_provider
from tests.support.processes import until
from tests.support.zoo import POOLS, Seen, Zoo, zoo
from tests.support.zoo_states import CLOCKS, HOUR
from vmpooler_tasks.model.names import DeadLetterQueue, Queue
from vmpooler_tasks.store import fleet_keys, keys
from vmpooler_tasks.store.fleet.schedule import CLAIM_SUFFIX

pytestmark = [pytest.mark.stage(name="chaos"), pytest.mark.timeout(600)]

AHEAD_SECONDS = 600
"""No lease, suspension or plan of this configuration ends later than this."""


OPTIONS: dict[str, Any] = {"purge_interval": 2, "max_pending_age": 1800, "max_ready_age": 1800}
"""A purge by a clock that is an hour ahead would take all VMs."""


@pytest.mark.parametrize(
    ("machine", "wrong_by"),
    [(("checks", "clones"), HOUR), (("worker", "beat"), HOUR), (("checks", "worker"), -HOUR)],
    ids=["clones ahead", "beat ahead", "checks behind"],
)
def test_a_wrong_clock_stops_nobody_and_is_forgotten_with_its_machine(
    tmp_path: Path, machine: Sequence[str], wrong_by: int
) -> None:
    """`machine`: its processes, by their names in Procfile."""
    with zoo(tmp_path, **OPTIONS) as site:
        restart(site, machine, ZOO_CLOCK=str(wrong_by), PYTHONPATH=str(CLOCKS))
        until(lambda: hosts_with_wrong_clocks(site), "health names the machine whose clock is wrong")
        use_all(site)
        site.is_full()
        site.switch(zoo_provider.DOWN)
        use_all(site)
        until(lambda: site.db.call("HEXISTS", keys.breaker(zoo_provider.NAME), "open_until"), "it is suspended")
        until(lambda: site.db.call("ZCARD", keys.DESTROYS), "destructions are planned")
        assert not [left for left in ends(site) if left > site.db.clock() + AHEAD_SECONDS]
        restart(site, machine)
        site.switch_off(zoo_provider.DOWN)
        site.is_full()
        until(lambda: not completed(site), "all used VMs are destroyed")
        until(lambda: not hosts_with_wrong_clocks(site), "health names no clock any more")
        too_early = (DeadLetterQueue.PENDING, DeadLetterQueue.READY)
        assert not any(site.db.call("ZCARD", keys.dead_letters(queue)) for queue in too_early)


def test_what_the_clock_of_redis_wrote_while_it_was_ahead_is_due(tmp_path: Path) -> None:
    """The clock of Redis was an hour ahead, and is right again. No test can move it: the values are written here."""
    with zoo(tmp_path) as site:
        later, used = str(site.db.clock() + HOUR), use_all(site)
        for pool in POOLS:
            site.db.call("HSET", keys.pool_breaker(pool), "open_until", later, "pause", "1")
            site.db.call("SET", keys.check_lock(pool), "host:1:a", "PX", HOUR * 1000)
        for vm in used:
            site.db.call("ZADD", keys.DESTROYS, later, vm)
        site.db.call("HSET", keys.breaker(zoo_provider.NAME), "open_until", later, "pause", "1")
        for entry in ("pools", "requests", "health", "purge"):
            site.db.call("HSET", fleet_keys.SCHEDULE, entry, later, f"{entry}{CLAIM_SUFFIX}", later)
        site.is_full()
        until(lambda: not completed(site), "all used VMs are destroyed")
        until(lambda: site.by_api() == Seen("healthy", frozenset()), lambda: f"healthy; it is {site.by_api()}")


def completed(site: Zoo) -> list[bytes]:
    return [vm for pool in POOLS for vm in site.db.call("SMEMBERS", keys.queue(Queue.COMPLETED, pool))]


def restart(site: Zoo, machine: Sequence[str], **environment: str) -> None:
    """Kill the machine, and start it again with this environment."""
    for name in machine:
        site.kill(name)
    for name in machine:
        site.start(name, **environment)


def use_all(site: Zoo) -> list[bytes]:
    """Use each ready VM, and give it back. Return these VMs."""
    used = []
    for pool in POOLS:
        for vm in site.db.call("SMEMBERS", keys.queue(Queue.READY, pool)):
            site.db.call("SMOVE", keys.queue(Queue.READY, pool), keys.queue(Queue.COMPLETED, pool), vm)
            used.append(vm)
    return used


def ends(site: Zoo) -> list[float]:
    """Return when each lease, plan and suspension ends."""
    sets = (keys.POOL_SLOTS.key, keys.REQUEST_SLOTS.key, keys.DESTROYS)
    found = [score for key in sets for _, score in site.db.call("ZRANGE", key, 0, -1, "WITHSCORES")]
    breaker = site.db.call("HMGET", keys.breaker(zoo_provider.NAME), "open_until", "trial_until", "inventory_until")
    return [*map(float, found), *(float(end) for end in breaker if end)]


def hosts_with_wrong_clocks(site: Zoo) -> list[str]:
    reasons = httpx.get(f"{site.address}/health", timeout=30).json()["reasons"]
    return [reason["host"] for reason in reasons if reason["code"] == "clock"]
