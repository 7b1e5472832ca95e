"""The oracle of the scenarios: it keeps books of every VM, request, order, dead letter and message, and balances them.

A thread reads the queues and the hypervisor all the time. So the books also know what Redis has lost since. What must
hold at each instant is checked at each reading; `find_errors` balances everything when the system has come to rest.
"""

import json
import threading
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from tests.chaos.hypervisors import AWAY, Hypervisor
from tests.chaos.users import Ledger
from vmpooler_tasks.model.names import INSPECTED_QUEUES, DeadLetterQueue, Queue
from vmpooler_tasks.store import Database, keys
from vmpooler_tasks.store.keys import POOL_SLOTS, REQUEST_SLOTS
from vmpooler_tasks.tasks import registry as names

VM_DEAD_LETTERS = (DeadLetterQueue.CLONE, DeadLetterQueue.PENDING, DeadLetterQueue.READY)


@dataclass(frozen=True)
class Seen:
    """All queues of all pools, and the clones in flight, at one instant. `migrating` is no queue of its own."""

    queues: Mapping[tuple[str, Queue], set[str]]
    slots: int
    counters: int

    def queue(self, *queues: Queue, pool: str | None = None) -> set[str]:
        places = (vms for (home, queue), vms in self.queues.items() if queue in queues and pool in {None, home})
        return set().union(*places)

    @property
    def all(self) -> set[str]:
        return self.queue(*INSPECTED_QUEUES)

    @property
    def doubled(self) -> list[str]:
        """The VMs that are in two queues."""
        counted = Counter(vm for vms in self.queues.values() for vm in vms)
        return sorted(vm for vm, count in counted.items() if count > 1)

    def __str__(self) -> str:
        sizes = {f"{queue} {pool}": len(vms) for (pool, queue), vms in self.queues.items() if vms}
        return f"{sizes}, slots {self.slots}, counters {self.counters}"


def read_queues(db: Database, pools: Collection[str]) -> Seen:
    """Return what Redis shows, in one transaction."""
    pipe = db.client.pipeline(transaction=True)
    places = [(pool, queue) for pool in pools for queue in INSPECTED_QUEUES]
    for pool, queue in places:
        pipe.smembers(keys.queue(queue, pool))
    for slots in (POOL_SLOTS, REQUEST_SLOTS):
        pipe.zcard(slots.key)
        pipe.get(slots.counter)
    replies = iter(pipe.execute())
    queues: dict[tuple[str, Queue], set[str]] = {place: {vm.decode() for vm in next(replies)} for place in places}
    one, its, two, their = replies
    return Seen(queues, one + two, int(its or 0) + int(their or 0))


def read_dead_letters(db: Database, queue: DeadLetterQueue) -> list[dict[str, Any]]:
    return [json.loads(raw) for raw in db.call("ZRANGE", keys.dead_letters(queue), 0, -1)]


class Books(threading.Thread):
    """What was ever seen, and what must not have been."""

    def __init__(self, db: Database, hypervisor: Hypervisor, pools: Collection[str], ledger: Ledger) -> None:
        """`pools` may change while they are kept."""
        super().__init__(daemon=True)
        self._db, self._hypervisor, self._pools, self._ledger = db, hypervisor, pools, ledger
        self._end = threading.Event()
        self.vms: set[str] = set()
        self.errors: list[str] = []

    def run(self) -> None:
        while not self._end.wait(self._hypervisor.pause_seconds):
            with suppress(*AWAY):
                self.observe()

    def observe(self) -> None:
        """Read everything once. Note each VM, and each error."""
        held = dict(self._ledger.held)
        seen = read_queues(self._db, tuple(self._pools))
        self.errors += [f"{vm} was in two queues" for vm in seen.doubled]
        self.vms |= seen.all
        inventory = self.read_inventory()
        self.vms |= set(inventory)
        self.errors += [f"{count} machines are called {vm}" for vm, count in inventory.items() if count > 1]
        still = dict(self._ledger.held).keys() & held.keys()
        self.errors += [f"{vm} was destroyed under its user" for vm in sorted(still - inventory.keys())]

    def read_inventory(self) -> Counter[str]:
        """Return VM → number of machines, of all pools."""
        found: Counter[str] = Counter()
        for vms in self._hypervisor.read().values():
            found.update(vms)
        return found

    def close(self) -> None:
        self._end.set()
        self.join()
        self._db.close()

    # --- at rest --------------------------------------------------------------------------------------------------

    def find_errors(self, *, is_data_lost: bool) -> list[str]:
        """Return what does not balance when the system is at rest.

        With `is_data_lost` Redis has lost what it had confirmed. Then what became of a VM that is gone is unknown, and
        so is the end of an order or a request.
        """
        self.observe()
        errors = [*self.errors, *self._hypervisor.problems(), *self._errors_of_dead_letters()]
        if not is_data_lost:
            errors += [*self._ledger.problems, *self._errors_of_vms(), *self._errors_of_orders()]
            errors += [f"{vm} was handed out {count} times" for vm, count in self._ledger.taken.items() if count > 1]
            errors += self._errors_of_requests()
        return errors

    def _errors_of_vms(self) -> Iterator[str]:
        seen, inventory = read_queues(self._db, tuple(self._pools)), self.read_inventory()
        home = seen.queue(Queue.READY, Queue.RUNNING)
        yield from (f"{vm} is in no queue" for vm in sorted(inventory.keys() - seen.all))
        yield from (f"{vm} is in a queue and does not exist" for vm in sorted(seen.all - inventory.keys()))
        reported = {entry["vm"] for queue in VM_DEAD_LETTERS for entry in read_dead_letters(self._db, queue)}
        for vm in sorted((self.vms | self.started()) - home - reported):
            if not self._db.call("HEXISTS", keys.vm(vm.encode()), "destroy"):
                yield f"nobody knows what became of {vm}"

    def _errors_of_dead_letters(self) -> Iterator[str]:
        for queue in VM_DEAD_LETTERS:
            counted = Counter(entry["vm"] for entry in read_dead_letters(self._db, queue))
            yield from (f"{vm} has {count} dead letters in {queue}" for vm, count in counted.items() if count > 1)

    def _errors_of_orders(self) -> Iterator[str]:
        """Yield each disk that was carried out and failed as well, or, if its VM is still there, neither."""
        failed = Counter(
            (entry["vm"], str(entry["kwargs"].get("size")))
            for entry in read_dead_letters(self._db, DeadLetterQueue.TASKS)
            if entry.get("task") == names.CREATE_DISK
        )
        running = read_queues(self._db, tuple(self._pools)).queue(Queue.RUNNING)
        for vm, size in self._ledger.disks:
            disks = (self._db.call("HGET", keys.vm(vm.encode()), "disk") or b"").decode().split(":")
            ends = disks.count(f"+{size}gb") + failed[vm, str(size)]
            if ends > 1 or (ends == 0 and vm in running):
                yield f"the order for {size} GB for {vm} has {ends} ends"

    def _errors_of_requests(self) -> Iterator[str]:
        for request in sorted(self._ledger.requests):
            status = self._db.call("HGET", keys.request(request.encode()), "status")
            if status not in {b"ready", b"failed"}:
                yield f"request {request} has the status {status!r}"

    def started(self) -> set[str]:
        """Return every VM whose metadata is there: it is kept for a week."""
        return {key.removeprefix(keys.VM_PREFIX).decode() for key in self._db.client.scan_iter(keys.VM_PREFIX + b"*")}
