"""`vmpooler-tasks pools pause|drain|resume|retry|confirm` as an operator types it."""

import json
import os
from typing import Any

import pytest

from tests.support.commands import CommandLine
from tests.support.fleet import record_processes
from tests.support.processes import configuration
from tests.support.world import POOL, World
from vmpooler_tasks.model.names import Queue
from vmpooler_tasks.store import keys

OTHER = "debian-12"


def managed(**options: Any) -> str:
    whole = json.loads(configuration(**{"manage_pools": True, **options}))
    whole[":providers"] = {"dummy": {}}
    whole[":pools"] = [{"name": POOL, "size": 5, "alias": ["centos"]}, {"name": OTHER, "size": 2}]
    return json.dumps(whole)


@pytest.fixture
def pools(run: CommandLine, world: World) -> CommandLine:
    record_processes(world.db)
    run.environment["VMPOOLER_CONFIG"] = managed()
    return run


def test_several_pools_are_paused_and_resumed_by_name_and_alias(pools: CommandLine) -> None:
    result = pools("pools", "pause", "centos", OTHER, "--why", "new disks")
    assert (result.status, result.err) == (0, "")
    text = "paused: it gets no new clones. Checks, lifetimes and destructions go on"
    assert result.out.splitlines() == [f"{POOL}: {text}", f"{OTHER}: {text}"]
    again = pools("pools", "pause", POOL)
    assert (again.status, "paused already, by" in again.out, "new disks" in again.out) == (0, True, True)
    [one, two] = pools.json("pools", "resume", POOL, OTHER)
    assert (one["changed"], two["changed"], one["pool"]) == (True, True, POOL)
    assert pools("pools", "resume", POOL).out == f"{POOL}: not paused\n"
    assert [entry["action"] for entry in pools.json("audit")] == ["resume", "resume", "pause", "pause"]


def test_a_drain_says_how_many_vms_it_moved(pools: CommandLine, world: World) -> None:
    world.vm(Queue.READY, "ready-1", 60)
    world.vm(Queue.RUNNING, "running-1", 60)
    [report] = pools.json("pools", "drain", POOL)
    assert (report["moved"], report["changed"]) == (1, True)
    assert world.client.smembers(keys.queue(Queue.COMPLETED, POOL)) == {b"ready-1"}


def test_a_brake_is_shown_and_released(pools: CommandLine, world: World) -> None:
    world.client.hset(keys.BRAKES.decode(), POOL, '{"since": 1705314600, "strays": 34, "known": 36}')
    counts = "34 in no queue, 0 missing from the inventory, 36 known"
    assert counts in " ".join(pools("pools").out.split())
    assert counts in " ".join(pools("doctor").out.split())
    refused = pools("pools", "confirm", "centos", "--provider", "typo")
    assert refused.status == 64
    assert "no provider 'typo'" in refused.err
    released = pools("pools", "confirm", "centos", "--why", "an old folder")
    assert (released.status, released.out.startswith(f"{POOL}: brake released for 34 VMs ({counts})")) == (0, True)
    assert pools("pools", "confirm", POOL).out == f"{POOL}: brake released already for 34 VMs\n"
    assert pools("pools", "confirm", OTHER).out == f"{OTHER}: brake not engaged: there is nothing to release\n"
    assert counts not in " ".join(pools("pools").out.split())


def test_an_unknown_pool_is_refused_with_the_nearest(pools: CommandLine) -> None:
    result = pools("pools", "pause", "debian-21", POOL)
    assert (result.status, result.out) == (os.EX_USAGE, "")
    assert "no pool 'debian-21'; did you mean debian-12?" in result.err
    assert pools.json("audit") == [], "no other pool is paused"


def test_an_unknown_provider_is_refused(pools: CommandLine) -> None:
    result = pools("pools", "retry", "--provider", "dumy")
    assert result.status == os.EX_USAGE
    assert "no provider 'dumy'; did you mean dummy?" in result.err


def test_a_retry_needs_a_pool_or_a_provider(pools: CommandLine) -> None:
    result = pools("pools", "retry")
    assert result.status == os.EX_USAGE
    assert "name a POOL or a --provider" in result.err


def test_a_retry_that_is_hindered_has_status_1(pools: CommandLine, world: World) -> None:
    world.client.hset(keys.pool_breaker(POOL), mapping={"failures": 5, "open_until": world.now + 600})
    pools("pools", "pause", POOL, "--why", "new disks")
    result = pools("pools", "retry", POOL)
    assert result.status == 1
    first, second = result.out.splitlines()
    assert first == f"{POOL}: one clone tries it now. If it succeeds, the suspension ends"
    assert second.startswith(f"  ! pool '{POOL}' is paused by ")
    pools("pools", "resume", POOL)
    assert (
        pools("pools", "retry", "--provider", "dummy").out == "provider dummy: not suspended: there is nothing to try\n"
    )


@pytest.mark.parametrize("action", ["pause", "drain", "resume", "retry", "keep"])
def test_without_manage_pools_it_is_refused_in_one_line(pools: CommandLine, action: str) -> None:
    pools.environment["VMPOOLER_CONFIG"] = managed(manage_pools=False)
    result = pools("pools", action, POOL)
    assert (result.status, result.out) == (os.EX_CONFIG, "")
    assert result.err.startswith("vmpooler-tasks: manage_pools is off: ")
    assert result.err.count("\n") == 1
