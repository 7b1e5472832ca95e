"""A ready VM that reports another hostname than its own is recycled, once its guest has had the time to report it."""

import logging
from typing import Any

import pytest

from tests.support.pool_world import PoolWorld, pool
from tests.support.world import POOL
from vmpooler_tasks.jobs.pools import check_ready
from vmpooler_tasks.model.names import Queue
from vmpooler_tasks.store import Database

VM = "pooler-a"


@pytest.fixture
def world(db: Database) -> PoolWorld:
    return PoolWorld(db, pools=[pool(size=5)], config={"task_limit": 0})


def check(world: PoolWorld, hostname: str | None, age: float = 61) -> str:
    world.ready_vm(VM, age)
    world.provider.has(VM, hostname=hostname)
    return check_ready.check(world.context, VM, POOL)


def test_a_vm_that_calls_itself_something_else_is_recycled(world: PoolWorld, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "vmpooler_tasks")
    assert check(world, "local\nhost") == "completed"
    assert world.queues_of(VM) == [Queue.COMPLETED]
    assert world.dead_letters("ready") == []
    assert caplog.messages == [f"[!] [{POOL}] '{VM}' has mismatched hostname local\\nhost, removed from 'ready' queue"]


@pytest.mark.parametrize("age", [0, 30, 60])
def test_a_young_vm_may_have_another_name(world: PoolWorld, age: float) -> None:
    assert check(world, "localhost", age) == "ready"
    world.now += 61
    assert check_ready.check(world.context, VM, POOL) == "completed"


@pytest.mark.parametrize("hostname", [f"{VM}.example.com", f"{VM}.", f"{VM}.inside.example.com.", VM.upper()])
def test_a_domain_a_dot_and_capitals_make_no_other_name(world: PoolWorld, hostname: str) -> None:
    assert check(world, hostname) == "ready"


def test_a_vm_that_does_not_say_its_name_is_kept(world: PoolWorld) -> None:
    world.ready_vm(VM, 61)
    world.provider.machines[VM] = world.provider.machines[VM].__class__(name=VM)
    assert check_ready.check(world.context, VM, POOL) == "ready"


@pytest.mark.parametrize(
    ("of_pool", "of_all", "outcome"),
    [
        ({}, {}, "completed"),
        ({}, {"check_ready_vm_hostname_for_mismatch": False}, "ready"),
        ({}, {"check_ready_vm_hostname_for_mismatch": True}, "completed"),
        ({"check_hostname_for_mismatch": False}, {}, "ready"),
        ({"check_hostname_for_mismatch": False}, {"check_ready_vm_hostname_for_mismatch": True}, "ready"),
        ({"check_hostname_for_mismatch": True}, {"check_ready_vm_hostname_for_mismatch": False}, "completed"),
        ({"check_hostname_for_mismatch": None}, {"check_ready_vm_hostname_for_mismatch": False}, "ready"),
        ({"check_hostname_for_mismatch": None}, {"check_ready_vm_hostname_for_mismatch": None}, "completed"),
        ({"check_hostname_for_mismatch": 0}, {"check_ready_vm_hostname_for_mismatch": False}, "completed"),
        ({}, {"check_ready_vm_hostname_for_mismatch": "no"}, "completed"),
        ({}, {"check_ready_vm_hostname_for_mismatch": "false"}, "ready"),
    ],
)
def test_only_false_switches_the_check_off_and_a_pool_wins(
    world: PoolWorld, of_pool: dict[str, Any], of_all: dict[str, Any], outcome: str
) -> None:
    world.pools = [pool(size=5, **of_pool)]
    world.config.update(of_all)
    assert check(world, "localhost") == outcome


def test_a_vm_that_is_checked_out_is_not_recycled_for_its_name(world: PoolWorld) -> None:
    world.provider.before("find", lambda _: world.check_out(VM))
    assert check(world, "localhost") == "left_queue"
    assert world.names_in(Queue.RUNNING) == {VM}
