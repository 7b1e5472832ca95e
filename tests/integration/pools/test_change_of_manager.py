"""VMPooler's own manager and these workers take turns, or run side by side, under load. No VM is lost or doubled."""

import random
import time
from collections import Counter
from dataclasses import dataclass, field

import pytest

from tests.support.api_client import ApiClient
from tests.support.pool_world import PoolWorld, pool
from tests.support.vmpooler_manager import CLONES, REQUEST_CLONES, ManagedPool, VmpoolerManager
from vmpooler_tasks.config import Pool
from vmpooler_tasks.model.names import Queue
from vmpooler_tasks.store import Database, keys
from vmpooler_tasks.store.pools import other_manager

SIZES = {"alpha": 4, "beta": 3}
INTERVAL = 5.0
LIVING = (Queue.PENDING, Queue.READY, Queue.RUNNING)


@dataclass
class TwoManagers(PoolWorld):
    """The workers, VMPooler's manager, and users, who check out, request and delete VMs between their rounds."""

    pools: list[Pool] = field(default_factory=lambda: [pool(name, size=size) for name, size in SIZES.items()])
    draws: random.Random = field(default_factory=lambda: random.Random(0))
    requests: dict[str, dict[str, int]] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.api: ApiClient = self.start_api()
        self.theirs = self.manager()

    def manager(self) -> VmpoolerManager:
        """Return VMPooler's manager as it is after its start, which is not carried out yet."""
        own = [ManagedPool(one.name, one.size, one.template) for one in self.pools]
        return VmpoolerManager(self.client, self.provider, own, self.clock)

    # --- what happens -----------------------------------------------------------------------------------------------

    def ours(self) -> bool:
        """Check the watch as each tick does, and work if no other manager is seen. Return True if they worked."""
        seen = other_manager.observe(self.db, list(SIZES), now=self.now, interval_seconds=INTERVAL)
        if seen.is_alone:
            self.deliver_all(self.reap())
            self.round()
        return seen.is_alone

    def users(self) -> None:
        """Check out a VM now and then, return one, and request some."""
        name = self.draws.choice(list(SIZES))
        if self.draws.random() < 0.6:
            self.api.checkout({name: 1})
        running = sorted(self.names_in(Queue.RUNNING, name))
        if running and self.draws.random() < 0.4:
            self.api.delete_vm(self.draws.choice(running))
        if self.draws.random() < 0.3:
            wanted = {name: self.draws.randint(1, 3) for name in SIZES}
            request = f"request-{len(self.requests)}"
            assert self.api.request_vms(wanted, request).status == 201
            self.requests[request] = wanted

    def step(self, seconds: float = INTERVAL, *, users: bool = True) -> None:
        """Let the time pass and users act, and see that no promise is broken."""
        if users:
            self.users()
        self.now += seconds
        self.check()

    def work(self, *workers: str, steps: int) -> int:
        """Let these work in turn for so many steps. Return in how many of them ours worked."""
        worked = 0
        for _ in range(steps):
            for who in workers:
                ready = self.ready()
                if who == "ours":
                    worked += self.ours()
                else:
                    self.theirs.check_pool("alpha")
                    self.theirs.check_pool("beta")
                    self.theirs.process_ondemand_requests()
                self.wrong += [f"{vm} was drained by {who}" for vm in ready - self.ready()]
                self.check()
            if "theirs" in workers:
                self.theirs.end_clones(self.draws.randint(0, 6))
            self.step()
        return worked

    def ready(self) -> set[str]:
        return {vm for name in SIZES for vm in self.names_in(Queue.READY, name)}

    # --- what must hold at each moment ------------------------------------------------------------------------------

    def check(self) -> None:
        places: Counter[str] = Counter()
        for name, size in SIZES.items():
            queues = {queue: self.names_in(queue, name) for queue in (*LIVING, Queue.COMPLETED)}
            places.update(vm for vms in queues.values() for vm in vms)
            for_pool = [vm for vm in queues[Queue.PENDING] if "request_id" not in self.metadata(vm)]
            if len(for_pool) + len(queues[Queue.READY]) > size:
                self.wrong.append(f"{name}: {len(for_pool)} pending and {len(queues[Queue.READY])} ready VMs of {size}")
            self.wrong += [
                f"{vm} is ready, and does not exist" for vm in queues[Queue.READY] - self.provider.machines.keys()
            ]
        self.wrong += [f"{vm} is in {count} queues" for vm, count in places.items() if count > 1]
        self.wrong += [f"{vm} is lost" for vm in self.provider.machines.keys() - places.keys()]
        for counter in (CLONES, REQUEST_CLONES):
            if int(self.client.get(counter) or 0) < 0:
                self.wrong.append(f"{counter} is {self.client.get(counter)}")
        for request, wanted in self.requests.items():
            for name, count in wanted.items():
                if self.client.scard(keys.delivered(request.encode(), name, name)) > count:
                    self.wrong.append(f"{request} got too many VMs of {name}")

    def settle(self, who: str) -> None:
        """Let one of them work, without users, until the pools are full and no request is open."""
        for _ in range(80):
            if self.is_settled():
                break
            if who == "ours":
                self.ours()
            else:
                self.theirs.round()
            self.step(users=False)

    def is_settled(self) -> bool:
        """Return whether all pools are full, nothing is in flight, and no request is open."""
        busy = [keys.queue(queue, name) for queue in (Queue.PENDING, Queue.COMPLETED) for name in SIZES]
        busy += [keys.WAITING_REQUESTS, keys.PROCESSING_REQUESTS, keys.PENDING_ONDEMAND_CLONES]
        is_full = all(len(self.names_in(Queue.READY, name)) == size for name, size in SIZES.items())
        counters = [int(self.client.get(counter) or 0) for counter in (CLONES, REQUEST_CLONES)]
        return is_full and not self.client.exists(*busy) and counters == [0, 0]

    def all_is_well(self) -> None:
        """See that the pools are full, all requests have what they ask for, and nothing was promised in vain."""
        assert self.wrong == []
        assert self.is_settled()
        for request, wanted in self.requests.items():
            reply = self.api.show_request(request)
            delivered = {name: self.client.scard(keys.delivered(request.encode(), name, name)) for name in wanted}
            assert (reply.body.get("ready"), delivered) == (True, wanted), request


@pytest.fixture
def world(db: Database) -> TwoManagers:
    return TwoManagers(db, now=time.time(), draws=random.Random(1))


@pytest.mark.parametrize("seed", range(3))
def test_a_change_of_manager_and_back_under_load(world: TwoManagers, seed: int) -> None:
    world.draws = random.Random(seed)
    world.theirs.start()
    world.work("theirs", steps=10)
    world.theirs.end_clones()
    assert world.work("ours", steps=2) == 0, "first they watch"
    assert world.work("ours", steps=12) >= 10
    world.settle("ours")
    world.all_is_well()
    world.theirs = world.manager()
    world.theirs.start()
    world.work("theirs", steps=10)
    world.settle("theirs")
    world.all_is_well()


def test_a_manager_that_was_killed_under_load_is_replaced(world: TwoManagers) -> None:
    world.theirs.start()
    world.work("theirs", steps=10)
    world.users()
    world.theirs.check_pool("alpha")
    world.theirs.process_ondemand_requests()
    world.theirs.kill()
    assert world.work("ours", steps=6) >= 3, "its counters are no second manager"
    world.now += 16 * 60  # the clones that it had not ended are too old
    world.settle("ours")
    assert [one for one in world.wrong if "is lost" in one or "queues" in one or "too many" in one] == []
    assert world.is_settled()


def test_beside_a_manager_these_workers_do_nothing_and_take_over_when_it_is_gone(world: TwoManagers) -> None:
    """Ten minutes side by side."""
    world.theirs.start()
    world.work("theirs", steps=3)
    assert world.work("ours", "theirs", steps=120) <= 12, "pools that are full for a while hide it"
    world.theirs.end_clones()
    world.theirs.round()
    world.settle("ours")
    world.all_is_well()


def test_a_manager_that_starts_beside_working_workers_is_left_to_work(world: TwoManagers) -> None:
    world.work("ours", steps=10)
    world.theirs.start()
    worked = world.work("theirs", "ours", steps=25)
    assert worked <= 6
    world.settle("theirs")
    world.all_is_well()
