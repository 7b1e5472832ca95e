"""Many workers at the same pools at the same moment: no limit is ever passed, and each VM is in one place."""

import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self

import pytest

from tests.support.pool_world import PoolWorld, pool
from tests.support.world import POOL
from vmpooler_tasks.jobs.inspection import inspect
from vmpooler_tasks.jobs.pools.context import Work
from vmpooler_tasks.jobs.requests import fulfil
from vmpooler_tasks.model.names import Queue
from vmpooler_tasks.model.pools.lifecycle import Step
from vmpooler_tasks.providers.dummy.provider import Dummy
from vmpooler_tasks.store import Database, keys
from vmpooler_tasks.store.keys import POOL_SLOTS, REQUEST_SLOTS

pytestmark = pytest.mark.slow(seconds=10)

THREADS = 8
OTHER = "ubuntu-2004-x86_64"
SIZES = {POOL: 12, OTHER: 7}
TASK_LIMIT, ONDEMAND_LIMIT = 5, 4

# What one snapshot reads: for each pool the sizes of pending and ready, and how many VMs are in two
# queues; then the slots, with VMPooler's counters of them.
INSTANT = """
local found = {}
for pool = 1, tonumber(ARGV[1]) do
  local first = (pool - 1) * 4
  local twice = 0
  for a = 1, 4 do
    for b = a + 1, 4 do twice = twice + #redis.call('SINTER', KEYS[first + a], KEYS[first + b]) end
  end
  found[#found + 1] = redis.call('SCARD', KEYS[first + 1])
  found[#found + 1] = redis.call('SCARD', KEYS[first + 2])
  found[#found + 1] = twice
end
for i = ARGV[1] * 4 + 1, #KEYS, 2 do
  found[#found + 1] = redis.call('ZCARD', KEYS[i])
  found[#found + 1] = tonumber(redis.call('GET', KEYS[i + 1]) or 0)
end
return found
"""


@pytest.fixture
def world(db: Database) -> Iterator[PoolWorld]:
    """Two pools of a dummy that fails now and then."""
    own = PoolWorld(
        db,
        pools=[pool(name, size=size, provider="dummy") for name, size in SIZES.items()],
        config={
            "task_limit": TASK_LIMIT,
            "ondemand_clone_limit": ONDEMAND_LIMIT,
            "lease_seconds": 3600,
            "breaker_failures": 10_000,
            "max_vm_retries": 10_000,
            "vm_checktime": 0,
        },
    )
    dummy: Dummy = own.dummy(
        db.address, failures={"create": {"transient": 0.3, "permanent": 0.1}, "list": {"transient": 0.1}}
    )
    yield own
    dummy.close()


class Watcher:
    """Take snapshots until the block ends, and record what must never happen."""

    def __init__(self, world: PoolWorld, *, sizes_hold: bool) -> None:
        self.world, self.sizes_hold = world, sizes_hold
        self.wrong: list[str] = []
        self.instants = 0
        queues = (Queue.PENDING, Queue.READY, Queue.RUNNING, Queue.COMPLETED)
        self._keys = [
            *(keys.queue(queue, name) for name in SIZES for queue in queues),
            *POOL_SLOTS[:2],
            *REQUEST_SLOTS[:2],
        ]
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._end.is_set():
            found = self.world.client.eval(INSTANT, len(self._keys), *self._keys, len(SIZES))
            self.instants += 1
            self._judge(found)

    def _judge(self, found: list[int]) -> None:
        for index, (name, size) in enumerate(SIZES.items()):
            pending, ready, twice = found[3 * index : 3 * index + 3]
            if self.sizes_hold and pending + ready > size:
                self.wrong.append(f"{name}: {pending} + {ready} > {size}")
            if twice:
                self.wrong.append(f"{name}: {twice} in two queues")
        slots, counter, request_slots, request_counter = found[3 * len(SIZES) :]
        if slots > TASK_LIMIT or request_slots > ONDEMAND_LIMIT:
            self.wrong.append(f"{slots} and {request_slots} slots")
        if (slots, request_slots) != (counter, request_counter):
            self.wrong.append(f"counters {counter} and {request_counter} for {slots} and {request_slots}")


def at_once(act: Callable[[int], Any]) -> None:
    """In all threads; raises what any of them raises."""
    with ThreadPoolExecutor(THREADS) as threads:
        for done in [threads.submit(act, index) for index in range(THREADS)]:
            done.result()


def busily(world: PoolWorld, rounds: int, *, requests: bool = False) -> Callable[[int], None]:
    """Inspect the pool and do its work; now and then also work that was handed to another worker."""
    handed_out: list[Work] = []

    def act(index: int) -> None:
        own = random.Random(index)
        for number in range(rounds):
            name = own.choice(list(SIZES))
            work = list(inspect.inspect_pool(world.context, name).work)
            if requests:
                work += fulfil.run(world.context)
            handed_out.extend(work)
            again = own.sample(handed_out, min(3, len(handed_out)))
            for place, one in enumerate([*work, *again]):
                world.deliver(one, owner=f"task-{index}-{number}-{place}")

    return act


def settle(world: PoolWorld) -> None:
    for _ in range(60):
        world.round()
        world.now += 15
        for work in world.reap():
            world.deliver(work)


def inventory(world: PoolWorld, name: str) -> set[str]:
    machines: set[bytes] = set(world.client.hkeys(f"vmpooler_tasks__dummy__{name}"))
    return {vm.decode() for vm in machines}


def test_eight_workers_never_pass_a_pools_size_or_the_limit_of_tasks(world: PoolWorld) -> None:
    with Watcher(world, sizes_hold=True) as watcher:
        at_once(busily(world, 12))
    assert watcher.wrong == []
    assert watcher.instants > 10
    settle(world)
    for name, size in SIZES.items():
        assert len(world.names_in(Queue.READY, name)) == size
        assert inventory(world, name) == world.names_in(Queue.READY, name), "none is forgotten, none is made twice"
        assert world.names_in(Queue.PENDING, name) == world.names_in(Queue.COMPLETED, name) == set()
    assert world.slots() == 0


def test_eight_workers_fill_requests_with_as_many_as_they_ask_for(world: PoolWorld) -> None:
    wanted = {f"req-{index}": 1 + index % 4 for index in range(10)}
    world.config["ondemand_request_ttl"] = 1000
    for request, count in wanted.items():
        world.client.hset(f"vmpooler__odrequest__{request}", "requested", f"a:{POOL}:{count},b:{OTHER}:1")
        world.client.zadd("vmpooler__provisioning__request", {request: world.now})
    world.dummy(world.db.address, failures={"create": {"transient": 0.3}, "list": {"transient": 0.1}})
    with Watcher(world, sizes_hold=False) as watcher:
        at_once(busily(world, 8, requests=True))
    assert watcher.wrong == []
    settle(world)
    for request, count in wanted.items():
        assert world.client.hget(f"vmpooler__odrequest__{request}", "status") == b"ready"
        assert world.client.scard(f"vmpooler__{request}__a__{POOL}") == count
        assert world.client.scard(f"vmpooler__{request}__b__{OTHER}") == 1
    assert len(world.names_in(Queue.RUNNING, POOL)) == sum(wanted.values())
    assert world.request_slots() == 0


def test_eight_workers_given_the_same_work_do_it_once(world: PoolWorld) -> None:
    world.dummy(world.db.address)
    work = [one for one in world.inspect(POOL).work if one.step is Step.CLONE]
    outcomes: list[str] = []

    def act(index: int) -> None:
        outcomes.extend(world.deliver(one, owner=f"task-{index}") for one in work)

    at_once(act)
    assert outcomes.count("ready") == len(work) == TASK_LIMIT
    assert set(outcomes) <= {"ready", "busy", "left_queue", "already_cloned"}
    assert world.dead_letters("clone") == []
    assert inventory(world, POOL) == world.names_in(Queue.READY, POOL)


def test_eight_workers_destroy_each_vm_once(world: PoolWorld) -> None:
    dummy = world.dummy(world.db.address)
    names = [f"pooler-{index}" for index in range(20)]
    for vm in names:
        dummy.create_vm(world.context.spec(world.pools[0]), vm)
        world.vm(Queue.COMPLETED, vm, 0)
    outcomes: list[str] = []

    def act(index: int) -> None:
        outcomes.extend(world.deliver(Work(Step.DESTROY, vm, POOL), owner=f"task-{index}") for vm in names)

    at_once(act)
    assert outcomes.count("destroyed") == len(names) == world.count("vms_destroyed")
    assert set(outcomes) <= {"destroyed", "busy", "left_queue"}
    assert inventory(world, POOL) == world.names_in(Queue.COMPLETED) == set()


def test_users_who_check_vms_out_meanwhile_keep_them(world: PoolWorld) -> None:
    world.config["ready_ttl"] = 0.001
    world.dummy(world.db.address)
    end, taken = threading.Event(), set[str]()

    def check_out() -> None:
        api = world.start_api()
        while not end.is_set():
            taken.update(api.checkout({POOL: 1}).vms)

    user = threading.Thread(target=check_out)
    user.start()
    try:
        with Watcher(world, sizes_hold=True) as watcher:
            at_once(busily(world, 6))
    finally:
        end.set()
        user.join()
    assert watcher.wrong == []
    assert taken
    assert taken == world.names_in(Queue.RUNNING)
    assert taken <= inventory(world, POOL)
