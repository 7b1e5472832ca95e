"""The users: they check VMs out, order disks and snapshots, return the VMs, and request others, at a steady rate."""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count

import redis

from tests.soak.settings import CHECKOUTS_PER_SECOND
from tests.soak.system import REQUESTED_POOL, SIZES, System
from tests.support import messages
from tests.support.api_client import ApiClient
from tests.support.api_server import ApiPool
from vmpooler_tasks.model.timestamps import moment, ruby_utc
from vmpooler_tasks.store import Database, keys
from vmpooler_tasks.tasks import registry

POOLS = tuple(pool for pool, size in SIZES.items() if size)
MONTH_SECONDS = 30 * 24 * 3600


class Users(threading.Thread):
    """`made` counts what they did. `requests` are the ids of their requests.

    `planted` are the VMs of which only metadata is left.
    """

    def __init__(self, system: System, seed: int) -> None:
        super().__init__(name="users", daemon=True)
        self._db, self._chance, self._end = Database(system.server.url), random.Random(seed), threading.Event()
        self._api = ApiClient(self._db.client, [ApiPool(name, size) for name, size in SIZES.items()])
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        self.made: Counter[str] = Counter()
        self.requests: set[str] = set()
        self.planted: set[str] = set()
        self.error: BaseException | None = None

    @property
    def vms(self) -> int:
        """Return about how many VMs they took."""
        return self.made["checkouts"] + 2 * len(self.requests)

    def run(self) -> None:
        self._repeat(1 / CHECKOUTS_PER_SECOND, self._check_out)
        self._repeat(4, self._request)
        self._repeat(5, self._fail_a_task)
        self._repeat(5, self._plant_an_orphan)
        self._repeat(30, self._resize)
        try:
            while self._due:
                due, _, action = heappop(self._due)
                time.sleep(max(0.0, due - time.monotonic()))
                try:
                    action()
                except redis.RedisError:  # a machine that did much else: the user comes again
                    self.made["failed calls"] += 1
        except BaseException as error:
            self.error = error
            raise

    def stop(self) -> None:
        """Take no more VMs, and return those that are left."""
        self._end.set()
        self.join()
        self._api.undo_pool_size(POOLS[0])
        self._db.close()
        if self.error is not None:
            raise self.error

    def _after(self, seconds: float, action: Callable[[], None]) -> None:
        heappush(self._due, (time.monotonic() + seconds, next(self._order), action))

    def _repeat(self, seconds: float, action: Callable[[], None]) -> None:
        def again() -> None:
            if not self._end.is_set():
                self._after(seconds, again)
                action()

        self._after(seconds, again)

    def _check_out(self) -> None:
        reply = self._api.checkout({self._chance.choice(POOLS): 1})
        self.made["checkouts" if reply.ok else "checkouts of empty pools"] += 1
        for vm in reply.vms:
            if self._chance.random() < 0.2:
                self.made["disks"] += self._api.add_disk(vm, 5).ok
            if self._chance.random() < 0.2:
                self.made["snapshots"] += self._api.snapshot(vm).ok
            self._after(self._chance.uniform(1, 6), lambda vm=vm: self._return(vm))  # type: ignore[misc]

    def _return(self, vm: str) -> None:
        self.made["returned"] += self._api.delete_vm(vm).ok

    def _request(self) -> None:
        reply = self._api.request_vms({REQUESTED_POOL: 2})
        request = str(reply.body["request_id"])
        self.requests.add(request)
        self._after(2, lambda: self._wait_for(request))

    def _wait_for(self, request: str) -> None:
        reply = self._api.show_request(request)
        if reply.status == 202:
            self._after(2, lambda: self._wait_for(request))
            return
        self.made["requests filled" if reply.vms else "requests failed"] += 1
        self._api.delete_request(request)

    def _fail_a_task(self) -> None:
        messages.send(
            self._db, messages.message(registry.PURGE, headers={"ignore_result": True}, kwargs={"no such argument": 1})
        )
        self.made["failing tasks"] += 1

    def _plant_an_orphan(self) -> None:
        """Leave the metadata of a VM that is in no queue, as a manager that died did a month ago."""
        vm = f"orphan-{len(self.planted)}"
        long_ago = ruby_utc(moment(time.time() - MONTH_SECONDS))
        self._db.call("HSET", keys.vm(vm.encode()), "clone", long_ago, "template", POOLS[0])
        self.planted.add(vm)

    def _resize(self) -> None:
        size = SIZES[POOLS[0]] + self._chance.choice((-2, 0, 2))
        self._api.set_pool_sizes({POOLS[0]: size})
        self.made["resizes"] += 1
