"""How long the keys of a request are kept."""

import pytest

from tests.support.pool_world import HOUR, WEEK, PoolWorld
from tests.support.request_world import (
    DELIVERED,
    HASH,
    ID,
    ITEMS,
    MISSING,
    MONTH,
    OTHER,
    PROCESSING,
    RESET,
    WAITING,
    clones_of,
    members,
    run,
    status,
    submit,
)
from tests.support.world import POOL
from vmpooler_tasks.model.names import Queue

pytestmark = pytest.mark.both_servers


def lets_go_after(world: PoolWorld, seconds: float, *names: str) -> bool:
    """Whether each of these keys is there, and expires after so many seconds."""
    return all(seconds - 60 < world.client.ttl(name) <= seconds for name in names)


def test_the_vms_of_a_ready_request_are_kept_for_a_month(world: PoolWorld) -> None:
    submit(world, f"centos:{POOL}:1,ubuntu:{OTHER}:1")
    work = run(world)
    world.deliver(work[0])
    assert world.client.ttl(HASH) == world.client.ttl(DELIVERED) == -1, "an open one is kept"
    world.deliver(work[1])
    assert status(world) == ("ready", None)
    assert lets_go_after(world, MONTH, HASH, DELIVERED, f"vmpooler__{ID}__ubuntu__{OTHER}")
    run(world)
    assert lets_go_after(world, MONTH, HASH, DELIVERED)


@pytest.mark.parametrize("error", [MISSING, RESET])
def test_a_request_whose_clone_failed_for_good_is_let_go_by_the_next_round(world: PoolWorld, error: Exception) -> None:
    world.config = {"max_vm_retries": 0}
    submit(world, f"centos:{POOL}:2")
    [one, two] = clones_of(world)
    world.deliver(one)
    world.provider.raises("create", error, always=True)
    world.deliver(two)
    assert status(world)[0] == "failed"
    run(world)
    assert lets_go_after(world, WEEK, HASH, DELIVERED)
    assert world.names_in(Queue.COMPLETED) == {one.vm}
    assert members(world, PROCESSING) == {}


def test_a_request_that_was_deleted_is_let_go(world: PoolWorld) -> None:
    submit(world, f"centos:{POOL}:2")
    world.deliver(run(world)[0])
    world.client.hset(HASH, "status", "deleted")
    run(world)
    assert lets_go_after(world, WEEK, HASH, DELIVERED)


def test_a_request_that_was_not_filled_in_time_is_let_go(world: PoolWorld) -> None:
    submit(world, f"centos:{POOL}:2")
    world.deliver(run(world)[0])
    world.now += HOUR
    run(world)
    assert status(world)[0] == "failed"
    assert lets_go_after(world, WEEK, HASH, DELIVERED)


@pytest.mark.parametrize("final_status", ["deleted", "failed", "ready"])
def test_an_expiry_that_another_program_set_stays(world: PoolWorld, final_status: str) -> None:
    submit(world, f"centos:{POOL}:2")
    world.deliver(run(world)[0])
    world.client.hset(HASH, "status", final_status)
    world.client.expire(HASH, 15 * 24 * HOUR)
    world.client.expire(DELIVERED, HOUR)
    run(world)
    assert lets_go_after(world, 15 * 24 * HOUR, HASH)
    assert lets_go_after(world, HOUR, DELIVERED)


def test_what_is_delivered_to_nobody_leaves_no_key(world: PoolWorld) -> None:
    submit(world, f"centos:{POOL}:1")
    [work] = run(world)
    world.client.hset(HASH, "status", "deleted")
    run(world)
    world.deliver(work)
    assert lets_go_after(world, WEEK, HASH)
    assert not world.client.exists(DELIVERED, ITEMS, PROCESSING, WAITING)
