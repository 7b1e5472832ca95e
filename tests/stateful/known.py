"""An installation on a real server, and what its model knows of it."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.stateful.holders import Holder, Staged
from tests.support.pool_world import TEMPLATE, ManualRenewer
from tests.support.world import NOW
from vmpooler_tasks.config import Options, Pool, Settings
from vmpooler_tasks.jobs.pools.context import PoolContext, Work
from vmpooler_tasks.jobs.pools.provider_calls import Retries
from vmpooler_tasks.model.names import DeadLetterQueue, Queue
from vmpooler_tasks.model.pools.lifecycle import Step
from vmpooler_tasks.model.requests import Wanted
from vmpooler_tasks.store import Database, keys
from vmpooler_tasks.store.keys import POOL_SLOTS, REQUEST_SLOTS

POOLS = {"amber": 3, "birch": 2}
"""Pool → size."""

LEASE_SECONDS, LIMIT = 60, 4
REQUEST_SECONDS = 3600
"""Of requests, long enough that none fails while clones are tried again."""

VM_DEAD_LETTERS = (DeadLetterQueue.CLONE, DeadLetterQueue.PENDING, DeadLetterQueue.READY)


@dataclass(frozen=True)
class Message:
    """Work as the broker carries it."""

    work: Work
    task_id: str


@dataclass
class Snapshot:
    """What Redis holds at one instant. `slots` and `counters` by the key of the slots; `migrating` by pool."""

    queues: Mapping[tuple[str, Queue], set[str]]
    slots: Mapping[bytes, dict[str, float]]
    counters: Mapping[bytes, int]
    dead_letters: Mapping[DeadLetterQueue, list[dict[str, Any]]]
    migrating: Mapping[str, set[str]]

    def queue(self, *queues: Queue, pool: str | None = None) -> set[str]:
        return {
            vm for (home, queue), vms in self.queues.items() if queue in queues and pool in {None, home} for vm in vms
        }

    @property
    def everywhere(self) -> list[str]:
        """With each VM as often as it is in a queue."""
        return sorted(vm for vms in self.queues.values() for vm in vms)


class Known:
    """The settings, the messages that wait, and what the model has noted."""

    def __init__(self, db: Database) -> None:
        self.db, self.now, self.provider = db, NOW, Staged()
        db.client.flushall()
        self.settings = Settings(
            config=Options(
                manage_pools=True,
                dlq_enabled=True,
                task_limit=LIMIT,
                ondemand_clone_limit=LIMIT,
                lease_seconds=LEASE_SECONDS,
                ondemand_request_ttl=REQUEST_SECONDS / 60,
                ready_ttl=30,
                vm_lifetime=1,
            ),
            pools=tuple(Pool(name=name, size=size, template=TEMPLATE) for name, size in POOLS.items()),
            providers={"staged": {}},
        )
        self.context = self._worker()
        self.waiting: list[Message] = []
        self.checks: list[Message] = []
        self.checked: list[Message] = []
        self.delivered: list[Message] = []
        self.held: list[Holder] = []
        self.dead: list[Holder] = []
        self.runs: list[str] = []
        # What the model knows.
        self._tasks = 0
        self._holder: dict[str, Holder] = {}
        self._unsure: set[Holder] = set()
        self._started: set[str] = set()
        self._failed: set[str] = set()
        self._gone: set[str] = set()
        self._lost: set[str] = set()
        self._used: set[str] = set()
        self._pending_at_pause: dict[str, set[str]] = {}
        self._dead_letters: dict[tuple[DeadLetterQueue, str], str] = {}
        self._successors: dict[str, str] = {}
        self._strays: dict[str, dict[str, float]] = {pool: {} for pool in POOLS}
        self._largest = dict(POOLS)
        self._requests: dict[str, tuple[Wanted, float]] = {}
        self._seen = self.snapshot()

    def _worker(self) -> PoolContext:
        """A process of its own, whose leases are renewed apart from those of others."""
        leases = ManualRenewer(self.db, LEASE_SECONDS, self.clock)
        retries = Retries(self.settings.config.max_tries, lambda _: None)
        return PoolContext(self.db, self.settings, lambda _: self.provider, self.clock, leases, retries)

    def clock(self) -> float:
        return self.now

    def message(self, work: Work) -> Message:
        self._tasks += 1
        return Message(work, f"task-{self._tasks}")

    def send(self, work: Iterable[Work]) -> None:
        for one in work:
            self._started.add(one.vm)
            is_work = one.step in {Step.CLONE, Step.DESTROY}
            (self.waiting if is_work else self.checks).append(self.message(one))

    def _members(self, queue: Queue, pool: str) -> list[str]:
        return sorted(vm.decode() for vm in self.db.client.smembers(keys.queue(queue, pool)))

    def _is_pending(self, work: Work) -> bool:
        return bool(self.db.client.sismember(keys.queue(Queue.PENDING, work.pool), work.vm))

    def _is_made(self, vm: str) -> bool:
        return self._has(vm, "clone_time")

    def _has(self, vm: str, field: str) -> bool:
        return bool(self.db.client.hexists(keys.vm(vm.encode()), field))

    def _leases(self, vm: str) -> list[float | None]:
        return [self.db.client.zscore(key, vm) for key in (POOL_SLOTS.key, REQUEST_SLOTS.key)]

    def _count_dead_letters(self) -> int:
        return int(self.db.client.zcard(keys.dead_letters(DeadLetterQueue.CLONE)))

    def _request_of(self, vm: str) -> str:
        return (self.db.client.hget(keys.vm(vm.encode()), "request_id") or b"").decode()

    def _status(self, name: str) -> str:
        return (self.db.client.hget(keys.request(name.encode()), "status") or b"").decode()

    def snapshot(self) -> Snapshot:
        pipe = self.db.client.pipeline(transaction=True)
        places = [(pool, queue) for pool in POOLS for queue in Queue if queue is not Queue.MIGRATING]
        for pool, queue in places:
            pipe.smembers(keys.queue(queue, pool))
        for dead_letters in VM_DEAD_LETTERS:
            pipe.zrange(keys.dead_letters(dead_letters), 0, -1)
        for slots in (POOL_SLOTS, REQUEST_SLOTS):
            pipe.zrange(slots.key, 0, -1, withscores=True)
            pipe.get(slots.counter)
        for pool in POOLS:
            pipe.smembers(keys.queue(Queue.MIGRATING, pool))
        replies = iter(pipe.execute())
        queues: dict[tuple[str, Queue], set[str]] = {}
        queues |= {place: {vm.decode() for vm in next(replies)} for place in places}
        kept = {dead_letters: [json.loads(raw) for raw in next(replies)] for dead_letters in VM_DEAD_LETTERS}
        leases, counters = {}, {}
        for slots in (POOL_SLOTS, REQUEST_SLOTS):
            leases[slots.key] = {vm.decode(): until for vm, until in next(replies)}
            counters[slots.key] = int(next(replies) or 0)
        migrating = {pool: {vm.decode() for vm in next(replies)} for pool in POOLS}
        return Snapshot(queues, leases, counters, kept, migrating)

    def has(self, *queues: Queue) -> bool:
        """Whether any VM was in one of them after the last step."""
        return bool(self._seen.queue(*queues))

    def has_dead_letters(self) -> bool:
        return any(self._seen.dead_letters.values())

    def open_requests(self) -> int:
        return sum(not self._status(name) for name in self._requests)
