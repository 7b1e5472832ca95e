"""Workers and beats of different configurations on one Redis: both orders, a rolling change, a pool that leaves."""

import json
import time
from typing import Any

import pytest

from tests.support.processes import Installation, Process, configuration, until
from vmpooler_tasks.model.names import DeadLetterQueue, Queue
from vmpooler_tasks.model.timestamps import moment, ruby_utc
from vmpooler_tasks.store import Database, keys

pytestmark = [pytest.mark.stage(name="lifecycle"), pytest.mark.timeout(600)]

SIZE = 2
OLD, COMMON, NEW = "old", "common", "new"


def configure(installation: Installation, *pools: str, **options: Any) -> None:
    """Make the processes that start from now on know these pools."""
    given = {"check_loop_delay_min": 1, "removed_pool_grace": 3600, "health_check_interval": 5, **options}
    whole = json.loads(configuration(**{"manage_pools": True, **given}))
    whole[":providers"] = {"dummy": {}}
    whole[":pools"] = [{"name": pool, "size": SIZE, "template": f"templates/{pool}"} for pool in pools]
    installation.environment["VMPOOLER_CONFIG"] = json.dumps(whole)


def worker(installation: Installation, name: str) -> Process:
    return installation.worker("-P", "threads", name=name, worker_concurrency=4)


def members(database: Database, queue: Queue, pool: str) -> set[str]:
    return {vm.decode() for vm in database.call("SMEMBERS", keys.queue(queue, pool))}


def registered(database: Database) -> set[str]:
    return {pool.decode() for pool in database.call("SMEMBERS", keys.POOLS)}


def full(database: Database, *pools: str) -> None:
    def are_full() -> bool:
        return all(len(members(database, Queue.READY, pool)) == SIZE for pool in pools)

    until(are_full, f"{', '.join(pools)} are full")


def reasons(database: Database, code: str) -> list[dict[str, Any]]:
    found = json.loads(database.call("HGET", keys.HEALTH, "reasons") or "[]")
    return [reason for reason in found if reason["code"] == code]


def dead_letters(database: Database) -> list[str]:
    """Return all dead letters: a message that a wrong worker got is none."""
    found = (database.call("ZRANGE", keys.dead_letters(queue), 0, -1) for queue in DeadLetterQueue)
    return [member.decode() for members in found for member in members]


def test_workers_of_two_configurations_fill_all_pools(installation: Installation, database: Database) -> None:
    configure(installation, OLD, COMMON)
    first, beat = worker(installation, "first"), installation.beat()
    full(database, OLD, COMMON)
    configure(installation, COMMON, NEW)
    second = worker(installation, "second")
    full(database, OLD, COMMON, NEW)
    assert registered(database) == {OLD, COMMON, NEW}
    [reason] = until(lambda: reasons(database, "configurations_differ"), "the difference is named")
    assert {OLD, NEW} <= set(reason["error"].replace(",", "").split())

    # What is lost from Redis is back after an inspection of each.
    database.client.delete(keys.POOLS, keys.CONFIG, *map(keys.pool, (OLD, COMMON, NEW)))
    until(lambda: registered(database) == {OLD, COMMON, NEW}, "all pools are registered again")
    until(lambda: database.call("HGET", keys.CONFIG, "manage_pools") == b"true", "the configuration is published again")

    # A worker that manages no pools changes nothing of that.
    configure(installation, OLD, manage_pools=False)
    bystander = worker(installation, "bystander").says("ready")
    assert database.call("HGET", keys.CONFIG, "manage_pools") == b"true"
    assert registered(database) == {OLD, COMMON, NEW}

    # The other order: the worker with the older list starts last. Nothing is lost.
    first.stop()
    configure(installation, OLD, COMMON)
    third = worker(installation, "third")
    third.says("ready")
    database.call("DEL", *(keys.queue(Queue.READY, pool) for pool in (OLD, NEW)))
    full(database, OLD, NEW)
    assert registered(database) == {OLD, COMMON, NEW}
    assert reasons(database, "removed_pool") == []

    # The end of the rollout: no process has the older list any more. Its pool is named, and keeps its VMs.
    third.stop()
    beat.stop()
    bystander.stop()
    configure(installation, COMMON, NEW)
    installation.beat()
    until(lambda: reasons(database, "removed_pool"), "the pool that left is named")
    until(lambda: registered(database) == {COMMON, NEW}, "the API no longer offers it")
    assert len(members(database, Queue.READY, OLD)) == SIZE
    assert dead_letters(database) == []
    for process in (first, second, third):
        assert "Traceback" not in process.log
        assert "there is no pool" not in process.log


def check_out(database: Database, pool: str) -> str:
    """As the API server does it."""
    vm = min(members(database, Queue.READY, pool))
    assert database.call("SMOVE", keys.queue(Queue.READY, pool), keys.queue(Queue.RUNNING, pool), vm)
    was_checked_out(database, pool, vm, hours_ago=0)
    return vm


def was_checked_out(database: Database, pool: str, vm: str, hours_ago: float) -> None:
    database.call("HSET", keys.active(pool), vm, ruby_utc(moment(time.time() - 3600 * hours_ago)))


def test_a_pool_that_left_the_configuration_is_drained_after_its_grace(
    installation: Installation, database: Database
) -> None:
    configure(installation, OLD, COMMON)
    former, beat = worker(installation, "former"), installation.beat()
    full(database, OLD, COMMON)
    expired, young = check_out(database, OLD), check_out(database, OLD)
    full(database, OLD)
    former.stop()
    beat.stop()
    was_checked_out(database, OLD, expired, hours_ago=72)

    configure(installation, COMMON, removed_pool_grace=30)
    latter = worker(installation, "latter")
    installation.beat()
    latter.says(f"[{OLD}] is in no configuration, 2 ready, 2 running: drained from ")
    [reason] = until(lambda: reasons(database, "removed_pool"), "health names it")
    assert (reason["pool"], reason["measured"], reason["severity"]) == (OLD, 4, "degraded")
    rows = {row["pool"]: row for row in json.loads(installation.run("vmpooler-tasks", "pools", "--json"))}
    assert (rows[OLD]["state"], rows[OLD]["ready"], rows[OLD]["running"]) == ("removed", 2, 2)
    assert expired in members(database, Queue.RUNNING, OLD)
    until(lambda: OLD not in registered(database), "the API knows it no more")
    until(lambda: members(database, Queue.RUNNING, OLD) == {young}, "the VM past its lifetime is found")
    until(
        lambda: not any(members(database, queue, OLD) for queue in Queue if queue is not Queue.RUNNING),
        "the unused VMs and the old one are destroyed",
    )
    assert members(database, Queue.RUNNING, OLD) == {young}
    assert set(database.call("HKEYS", "vmpooler_tasks__dummy__old")) == {young.encode()}
    assert dead_letters(database) == []
