"""What must hold after each step."""

from collections import Counter

from tests.stateful.known import LIMIT, POOLS, Known, Snapshot
from vmpooler_tasks.model.names import DeadLetterQueue, Queue
from vmpooler_tasks.store import keys


class Watched(Known):
    """Whoever drives it calls `check` after each step."""

    def check(self) -> None:
        seen = self._seen = self.snapshot()
        # A user's API server may pause while it returns a VM, which is a stray until it is in completed.
        returned = seen.queue(Queue.DISCOVERED) & seen.queue(Queue.COMPLETED)
        doubled = [vm for vm, count in Counter(seen.everywhere).items() if count > 1 + (vm in returned)]
        assert not doubled, f"in two queues: {doubled}"
        usable = seen.queue(Queue.READY, Queue.RUNNING) - self._lost
        assert usable <= self.provider.machines.keys(), f"they are not there: {usable - self.provider.machines.keys()}"
        for slots, leases in seen.slots.items():
            assert seen.counters[slots] == len(leases) <= LIMIT
        self._check_users(seen)
        self._check_sizes(seen)
        self._check_pauses(seen)
        self._check_dead_letters(seen)

    def _check_users(self, seen: Snapshot) -> None:
        """Whoever has been used is never ready again; no request gets more than it wants."""
        self._used |= seen.queue(Queue.RUNNING)
        again = self._used & seen.queue(Queue.PENDING, Queue.READY)
        assert not again, f"they could be handed out twice: {again}"
        for name, (wanted, _) in self._requests.items():
            got = self.db.client.scard(keys.delivered(name.encode(), wanted.alias, wanted.pool))
            coming = [vm for vm in seen.queue(Queue.PENDING, pool=wanted.pool) if self._request_of(vm) == name]
            assert got + len(coming) <= wanted.count, f"{name} gets {got} and {coming}, and wants {wanted.count}"

    def _check_sizes(self, seen: Snapshot) -> None:
        """A pool that is at its size or above does not grow."""
        for pool, configured in POOLS.items():
            pending_vms = [vm for vm in seen.queue(Queue.PENDING, pool=pool) if not self._request_of(vm)]
            count, largest = len(pending_vms) + len(seen.queue(Queue.READY, pool=pool)), self._largest[pool]
            size = int(self.db.client.hget(keys.POOL_SIZES, pool) or configured)
            assert count <= max(size, largest), f"{pool} has grown to {count}"
            self._largest[pool] = max(size, count)

    def _check_pauses(self, seen: Snapshot) -> None:
        """A paused pool gets no new clone."""
        for pool, before in self._pending_at_pause.items():
            new = seen.queue(Queue.PENDING, pool=pool) - before
            assert not new, f"{pool} is paused, and gets {new}"

    def _check_dead_letters(self, seen: Snapshot) -> None:
        for queue, dead_letters in seen.dead_letters.items():
            there = Counter(entry["vm"] for entry in dead_letters)
            assert all(count == 1 for count in there.values()), f"doubled in {queue}: {there}"
            for dead_letter in dead_letters:
                assert dead_letter["id"] not in self._successors, (
                    f"{dead_letter['id']} was redriven, and is still there"
                )
                known = self._dead_letters.setdefault((queue, dead_letter["vm"]), dead_letter["id"])
                assert known == dead_letter["id"], f"{dead_letter['vm']} has failed twice in {queue}"
        unreported = {vm for vm in self._failed if (DeadLetterQueue.CLONE, vm) not in self._dead_letters}
        assert not unreported, f"failed without a dead letter: {unreported}"
