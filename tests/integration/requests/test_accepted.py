"""What VMPooler's API has accepted is filled: whatever its number, and whichever manager began it."""

from typing import Any

import pytest

from tests.support.api_client import ApiClient
from tests.support.api_server import ApiPool
from tests.support.pool_world import MINUTE, PoolWorld, pool
from tests.support.request_world import (
    HASH,
    ID,
    ITEMS,
    OTHER,
    PROCESSING,
    WAITING,
    delivered,
    members,
    run,
    status,
    submit,
)
from tests.support.world import POOL
from vmpooler_tasks.model.fleet import Heartbeat, ProcessKind
from vmpooler_tasks.model.names import Queue
from vmpooler_tasks.store import keys
from vmpooler_tasks.store.fleet import heartbeats

pytestmark = pytest.mark.both_servers

ELSEWHERE = "debian-12"


def api(world: PoolWorld, **options: Any) -> ApiClient:
    pools = [ApiPool(POOL, aliases=("centos",)), ApiPool(OTHER, aliases=("ubuntu",))]
    return ApiClient(world.client, pools, clock=world.clock, **options)


def filled(world: PoolWorld, ticks: int = 30) -> int:
    """Run ticks until the request is closed, and do their work. Return how many clones were started."""
    started = 0
    for _ in range(ticks):
        work = run(world)
        started += len(work)
        world.deliver_all(work)
        if status(world)[0]:
            break
        world.now += 1
    return started


def test_the_limit_of_the_api_is_for_each_name_and_not_for_their_sum(world: PoolWorld) -> None:
    world.config = {"max_ondemand_instances_per_request": 10}
    assert api(world).request_vms({"centos": 8, "ubuntu": 8}, ID).status == 201
    assert filled(world) == 16
    assert status(world) == ("ready", None)


def test_more_than_our_own_limit_is_filled_if_the_api_accepted_it(world: PoolWorld) -> None:
    world.config = {"max_ondemand_instances_per_request": 2}
    assert api(world, max_instances=60).request_vms({"centos": 55}, ID).status == 201
    assert filled(world) == 55
    assert status(world) == ("ready", None)
    assert len(delivered(world)) == 55


@pytest.mark.parametrize("text", ["", f"centos:{POOL}:0", f"centos:{POOL}:0,ubuntu:{OTHER}:0", "x:nowhere:0"])
def test_a_request_for_nothing_is_ready_at_once(world: PoolWorld, text: str) -> None:
    submit(world, text)
    assert run(world) == []
    assert status(world) == ("ready", None)
    assert members(world, WAITING) == members(world, PROCESSING) == members(world, ITEMS) == {}
    assert world.client.ttl(HASH) > 0


def test_a_request_for_nothing_through_the_api_is_ready_at_once(world: PoolWorld) -> None:
    server = api(world)
    assert server.request_vms({"centos": 0}, ID).status == 201
    run(world)
    assert server.show_request(ID).status == 200
    assert server.show_request(ID).body["ready"] is True


def test_a_part_for_nothing_does_not_hold_up_the_others(world: PoolWorld) -> None:
    submit(world, f"centos:{POOL}:0,ubuntu:{OTHER}:1")
    [work] = run(world)
    assert world.deliver(work) == "delivered"
    assert status(world) == ("ready", None)


def test_a_request_that_vmpooler_began_for_nothing_is_ready(world: PoolWorld) -> None:
    world.client.hset(HASH, "requested", "")
    world.client.zadd(PROCESSING, {ID: world.now})
    run(world)
    assert status(world) == ("ready", None)


def test_a_tick_between_the_two_commands_of_the_api_fails_nothing(world: PoolWorld) -> None:
    """The API lists a request before it writes what it asks for."""
    server = api(world, before_command=lambda command: run(world) if command[0] == "HSET" else None)
    assert server.request_vms({"centos": 1}, ID).status == 201
    server.before_command = None
    assert filled(world) == 1
    assert status(world) == ("ready", None)


def half_begun(
    world: PoolWorld, *, wanted: int = 3, pending: int = 0, delivered_vms: int = 0, item: int | None = None
) -> list[str]:
    """A request as VMPooler's manager left it when it died: some clones begun, its item as it was, or smaller."""
    world.client.hset(HASH, "requested", f"centos:{POOL}:{wanted}")
    world.client.zadd(PROCESSING, {ID: int(world.now)})
    if item:
        world.client.zadd(ITEMS, {f"centos:{POOL}:{item}:{ID}": int(world.now)})
    names = [f"pooler-theirs-{number}" for number in range(pending + delivered_vms)]
    for vm in names[:pending]:
        world.pending_vm(vm, 5, request_id=ID, pool_alias="centos")
    for vm in names[pending:]:
        world.running_vm(vm, 0, request_id=ID, pool_alias="centos")
        world.client.sadd(f"vmpooler__{ID}__centos__{POOL}", vm)
    return names


@pytest.mark.parametrize(("pending", "delivered_vms"), [(0, 0), (1, 0), (2, 0), (3, 0), (0, 2), (1, 1), (2, 1), (0, 3)])
@pytest.mark.parametrize("item", [None, 1, 3, 5])
def test_a_request_half_begun_by_vmpooler_gets_what_it_asks_for(
    world: PoolWorld, pending: int, delivered_vms: int, item: int | None
) -> None:
    names = half_begun(world, pending=pending, delivered_vms=delivered_vms, item=item)
    for _ in range(6):
        world.round()
        world.now += 10
    assert status(world) == ("ready", None)
    assert len(delivered(world)) == 3
    assert set(names) <= delivered(world)
    assert delivered(world) == world.names_in(Queue.RUNNING)
    assert members(world, ITEMS) == members(world, PROCESSING) == {}
    assert len(world.provider.machines) == 3


def test_vms_above_the_number_are_not_delivered_but_destroyed(world: PoolWorld) -> None:
    half_begun(world, pending=5)
    for _ in range(3):
        world.round()
    assert status(world) == ("ready", None)
    assert len(delivered(world)) == len(world.provider.machines) == 3


def test_a_vm_that_was_recorded_as_delivered_but_not_moved_is_delivered(world: PoolWorld) -> None:
    """VMPooler's manager writes the set first, then moves the VM. It died between the two."""
    [vm] = half_begun(world, wanted=1, pending=1)
    world.client.sadd(f"vmpooler__{ID}__centos__{POOL}", vm)
    assert run(world) == []
    assert status(world) == (None, None)
    world.round()
    assert status(world) == ("ready", None)
    assert delivered(world) == world.names_in(Queue.RUNNING) == {vm}


def test_a_request_that_fell_out_of_both_lists_is_filled_and_can_be_late(world: PoolWorld) -> None:
    """VMPooler's manager queues the items, takes the request out of one list, then adds it to the other."""
    half_begun(world, item=3)
    world.client.delete(PROCESSING)
    [one, *_] = run(world)
    assert members(world, PROCESSING) == {ID: world.now}
    assert world.deliver(one) == "delivered"
    world.now += 6 * MINUTE
    run(world)
    assert status(world)[0] == "failed"


def test_a_request_that_was_accepted_but_still_waits_is_filled_once(world: PoolWorld) -> None:
    submit(world, f"centos:{POOL}:3")
    world.client.zadd(ITEMS, {f"centos:{POOL}:3:{ID}": int(world.now)})
    assert filled(world) == 3
    assert status(world) == ("ready", None)
    assert members(world, WAITING) == members(world, PROCESSING) == members(world, ITEMS) == {}


@pytest.fixture(params=["registered", "configured for a live worker"])
def known_elsewhere(world: PoolWorld, request: pytest.FixtureRequest) -> str:
    """A pool that only another worker has in its configuration."""
    if request.param == "registered":
        world.client.sadd(keys.POOLS, ELSEWHERE)
    else:
        other = Heartbeat(kind=ProcessKind.WORKER, name="celery@other", host="other", pid=1, configuration="x")
        heartbeats.record(world.db, other, [ELSEWHERE])
    return ELSEWHERE


def test_a_request_for_a_pool_of_another_worker_waits_for_that_one(world: PoolWorld, known_elsewhere: str) -> None:
    submit(world, f"debian:{known_elsewhere}:1,centos:{POOL}:1")
    assert run(world) == []
    assert status(world) == (None, None)
    assert set(members(world, WAITING)) == {ID}
    world.pools.append(pool(known_elsewhere, size=0))  # as the other worker has it
    assert len(run(world)) == 2
    assert set(members(world, PROCESSING)) == {ID}


def test_the_item_of_a_pool_of_another_worker_stays_for_that_one(world: PoolWorld, known_elsewhere: str) -> None:
    world.client.hset(HASH, "requested", f"debian:{known_elsewhere}:2")
    world.client.zadd(PROCESSING, {ID: world.now})
    world.client.zadd(ITEMS, {f"debian:{known_elsewhere}:2:{ID}": 1})
    assert run(world) == []
    assert members(world, ITEMS) == {f"debian:{known_elsewhere}:2:{ID}": 1}


def test_a_request_that_no_worker_takes_fails_in_its_time(world: PoolWorld, known_elsewhere: str) -> None:
    submit(world, f"debian:{known_elsewhere}:1")
    world.now += 5 * MINUTE + 1
    run(world)
    assert status(world) == ("failed", f"there is no pool '{known_elsewhere}'")
