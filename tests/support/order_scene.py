"""A small installation in the middle of its day, on which orders of VMPooler's API race with everything else."""

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

from tests.support.api_client import ApiClient
from tests.support.api_server import Reply
from tests.support.leftovers import leftovers
from tests.support.order_world import OrderWorld
from tests.support.pool_world import HOUR, pool
from tests.support.world import POOL
from vmpooler_tasks.jobs.pools.control import Operator, PoolControl
from vmpooler_tasks.model.names import Queue
from vmpooler_tasks.store import Database

OTHER = "ubuntu-2004-x86_64"
SIZE = 2
SECONDS_OF_A_ROUND = 65
"""Longer than a lease, and than a running VM may lack the time of its checkout."""

PLACES = [queue for queue in Queue if queue is not Queue.MIGRATING]


class OrderScene:
    """Two full pools of one alias, a VM in use with a snapshot, a ready request of two VMs and one that was just made.

    `api` is the user's API server, `second` another one beside it. `taken`: the VMs that any user got, in their order.
    `is_late`: so much time has passed that open requests fail.
    """

    def __init__(self, db: Database, **config: Any) -> None:
        db.call("FLUSHALL")
        self.world = OrderWorld(db, config={"ondemand_request_ttl": 60, **config})
        self.world.pools = [pool(size=SIZE, alias=("linux",)), pool(OTHER, size=SIZE, alias=("linux",))]
        self.api, self.second = self.world.start_api(), self.world.start_api()
        self.vms: set[str] = set()
        self.taken: list[str] = []
        self.is_late = False
        self._fill()
        self.used = self._in_use()
        self.api.request_vms({POOL: 2}, "req-ready")
        self._fill()
        self.api.request_vms({"linux": 2}, "req-new")

    def _fill(self) -> None:
        for _ in range(2):
            self.round()
            self.world.now += SECONDS_OF_A_ROUND

    def _in_use(self) -> str:
        [vm] = self.checkout(self.api, {POOL: 1}).vms
        self.world.client.hset(f"vmpooler__vm__{vm}", "snapshot:first", self.world.stamp(0))
        self.world.provider.snapshots.add((vm, "first"))
        return vm

    def tick(self) -> None:
        """All that beat and the workers do in one tick."""
        self.world.round()
        self.world.serve()

    def round(self) -> None:
        self.tick()
        self.vms |= self.world.provider.machines.keys()
        self.check()

    def checkout(self, api: ApiClient, wanted: dict[str, int]) -> Reply:
        reply = api.checkout(wanted)
        self.taken += reply.vms
        return reply

    def check(self) -> None:
        """No VM is in two queues, and no VM was handed out twice."""
        places = Counter(
            vm for one in self.world.pools for queue in PLACES for vm in self.world.names_in(queue, one.name)
        )
        assert [vm for vm, count in places.items() if count > 1] == []
        assert len(set(self.taken)) == len(self.taken), f"handed out twice: {self.taken}"

    def settle(self) -> None:
        """Pass rounds until every pool has its size, and every request an end."""
        for _ in range(10):
            self.world.now += SECONDS_OF_A_ROUND
            self.round()
            if not self._unsettled():
                return
        raise AssertionError(self._unsettled())

    def _unsettled(self) -> list[str]:
        found = []
        fresh = self.world.start_api()  # an API server keeps an override in its memory when another has removed it
        for name, one in fresh.config().items():
            ready = len(self.world.names_in(Queue.READY, name))
            if ready != one["size"]:
                found.append(f"{name} has {ready} ready VMs, and its size is {one['size']}")
        for request in self._requests():
            reply = self.second.show_request(request)
            if "failed" in str(reply.body.get("message")) and not self.is_late:
                found.append(f"{request} has failed")
            if reply.status != 200:
                found.append(f"{request} is open: {reply.body}")
            for alias, pool_name, count in self._parts(request) if reply.body.get("ready") else ():
                if self.world.client.scard(f"vmpooler__{request}__{alias}__{pool_name}") != int(count):
                    found.append(f"{request} is ready with other than {count} VMs of {pool_name}")
        return found

    def _requests(self) -> list[str]:
        prefix = b"vmpooler__odrequest__"
        return [key.removeprefix(prefix).decode() for key in self.world.client.scan_iter(prefix + b"*", count=1000)]

    def _parts(self, request: str) -> list[list[str]]:
        requested = self.world.client.hget(f"vmpooler__odrequest__{request}", "requested").decode()
        return [part.split(":") for part in requested.split(",")]

    def end(self) -> None:
        """Users return all, pools become empty, and `data_ttl` passes: nothing mentions a VM any more."""
        self.second.set_pool_sizes({POOL: 0, OTHER: 0})
        for request in self._requests():
            self.second.delete_request(request)
        for one in self.world.pools:
            for vm in self.world.names_in(Queue.RUNNING, one.name):
                self.second.delete_vm(vm)
        for _ in range(6):
            self.world.now += SECONDS_OF_A_ROUND
            self.round()
            if not self.world.provider.machines:
                break
        assert self.world.provider.machines == {}
        assert leftovers(self.world.client, self.vms) == []


def drain(scene: OrderScene) -> None:
    """An operator drains the pool, and resumes it at once."""
    control = PoolControl(scene.world.db, scene.world.settings, scene.world.clock, Operator(who="test"))
    control.drain(POOL)
    scene.round()
    control.resume(POOL)


def lifetimes_end(scene: OrderScene) -> None:
    scene.world.now += 25 * HOUR
    scene.is_late = True
    scene.round()


ROUTES: dict[str, Callable[[OrderScene, ApiClient], object]] = {
    "checkout": lambda scene, api: scene.checkout(api, {POOL: 2}),
    "checkout by alias": lambda scene, api: scene.checkout(api, {"linux": 3}),
    "checkout of too many": lambda scene, api: scene.checkout(api, {OTHER: SIZE + 1}),
    "delete": lambda scene, api: api.delete_vm(scene.used),
    "lifetime": lambda scene, api: api.modify(scene.used, lifetime=1),
    "tags": lambda scene, api: api.modify(scene.used, tags={"job": "nightly"}),
    "disk": lambda scene, api: api.add_disk(scene.used, 8),
    "snapshot": lambda scene, api: api.snapshot(scene.used),
    "revert": lambda scene, api: api.revert(scene.used, "first"),
    "size": lambda scene, api: api.set_pool_sizes({POOL: 3, OTHER: 1}),
    "template": lambda scene, api: api.set_templates({POOL: "templates/two"}),
    "clone target": lambda scene, api: api.set_clone_targets({POOL: "cluster-2"}),
    "reset": lambda scene, api: api.reset_pools(POOL, OTHER),
    "undo of a size": lambda scene, api: [api.set_pool_sizes({POOL: 4}), api.undo_pool_size(POOL)],
    "undo of a template": lambda scene, api: [api.set_templates({POOL: "templates/two"}), api.undo_template(POOL)],
    "request": lambda scene, api: api.request_vms({"linux": 3}, "req-raced"),
    "delete of a ready request": lambda scene, api: api.delete_request("req-ready"),
    "delete of a new request": lambda scene, api: api.delete_request("req-new"),
}
"""Each of them ends well alone."""


def by_another(route: str, scene: OrderScene) -> None:
    """A second API server does the same route, or another one."""
    ROUTES[route](scene, scene.second)


OTHERS: dict[str, Callable[[OrderScene], object]] = {
    "a tick": lambda scene: scene.round(),
    "an operator": drain,
    "lifetimes": lifetimes_end,
    **{f"another {name}": partial(by_another, name) for name in ROUTES},
}
"""What may happen between two commands of a route."""
