"""A database in which others act at every moment of a purge cycle, and the account of what became of each VM."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from tests.support.world import POOL, World, settings
from vmpooler_tasks.jobs.purge import cycle as purge_cycle
from vmpooler_tasks.jobs.purge.options import PurgeOptions
from vmpooler_tasks.jobs.purge.report import PurgeReport
from vmpooler_tasks.model.deadletters.entry import failed_vm
from vmpooler_tasks.model.names import DeadLetterQueue, Queue
from vmpooler_tasks.store import Database, PendingReply, keys
from vmpooler_tasks.store.deadletters.trim import DeadLetterLimits
from vmpooler_tasks.store.purge import batches
from vmpooler_tasks.store.purge.batches import Candidate

HOUR, DAY = 3600, 86400
DATA_TTL = 168 * HOUR
QUEUES = (Queue.PENDING, Queue.READY, Queue.RUNNING, Queue.COMPLETED)
FIELD = {Queue.PENDING: "clone", Queue.READY: "ready", Queue.COMPLETED: "destroy"}

# Longer than what a server packs into one small block: SSCAN then replies in pages.
PADDING = "-".ljust(70, "x")


class MeddledDatabase(Database):
    """Calls `meddle` with the number of the moment right before anything is sent to the server."""

    meddle: Callable[[int], None] | None = None
    moments = 0
    filling: dict[bytes, bytes] | None = None
    origin: dict[bytes, Queue | None]

    def _moment(self) -> None:
        number, self.moments = self.moments, self.moments + 1
        if self.meddle:
            self.meddle(number)

    def send(self, script: str, keys: Sequence[bytes], args: Sequence[Any], *parse: Any) -> PendingReply[Any]:
        self._moment()
        return super().send(script, keys, args, *parse)

    def call(self, *command: Any) -> Any:
        self._moment()
        return super().call(*command)

    def stream(self, command: Callable[[bytes], Sequence[Any]], script: str | None = None) -> Iterator[Any]:
        def meddled(cursor: bytes) -> Sequence[Any]:
            self._moment()
            return command(cursor)

        return super().stream(meddled, script)


class Party:
    """Everybody else: the API server, the manager, another purge. Each act returns where it left the VM, if anywhere.

    `placed`: where somebody else put a VM last (None: in no queue). `purged`: the VMs that purges took from where they
    were. `by_others`: those of them that another purge took.
    """

    def __init__(self, world: World, origin: Mapping[bytes, Queue | None]) -> None:
        self.world, self.client, self.origin = world, world.client, origin
        self.placed: dict[bytes, Queue | None] = {}
        self.purged: set[bytes] = set()
        self.by_others: set[bytes] = set()

    def act(self, name: str, vm: bytes) -> None:
        self.client.ping()  # what was sent before has now been done
        self.locate_and_record(vm)
        found = getattr(self, name)(vm)
        if found is not _NOTHING:
            self.placed[vm] = found

    def locate_and_record(self, vm: bytes) -> set[Queue]:
        """Return the queues that hold the VM, and record it as purged if it left and nobody else moved it."""
        return self.locate_and_record_all([vm])[vm][0]

    def locate_and_record_all(self, vms: Sequence[bytes]) -> dict[bytes, tuple[set[Queue], int]]:
        """Return the same for each VM, with the seconds until its metadata expires."""
        pipe = self.client.pipeline(transaction=False)
        for queue in QUEUES:
            pipe.smismember(keys.queue(queue, POOL).decode(), vms)
        for vm in vms:
            pipe.ttl(keys.vm(vm))
        *members, ttls = _split(pipe.execute(), len(QUEUES))
        found = {
            vm: {queue for queue, held in zip(QUEUES, members, strict=True) if held[i]} for i, vm in enumerate(vms)
        }
        origins = ((vm, self.origin[vm]) for vm in vms if vm not in self.placed)
        self.purged |= {vm for vm, origin in origins if origin is not None and origin not in found[vm]}
        return {vm: (found[vm], ttl) for vm, ttl in zip(vms, ttls, strict=True)}

    def _move(self, vm: bytes, start: Queue, end: Queue, **fields: str) -> Any:
        if not self.client.smove(keys.queue(start, POOL), keys.queue(end, POOL), vm):
            return _NOTHING
        if fields:
            self.client.hset(keys.vm(vm), mapping=fields)
        return end

    def _is_loose(self, vm: bytes) -> bool:
        """In no queue, with metadata that does not expire."""
        return not self.locate_and_record(vm) and self.client.ttl(keys.vm(vm)) == -1

    def is_checked_out(self, vm: bytes) -> Any:
        return self._move(vm, Queue.READY, Queue.RUNNING, checkout=self.world.stamp(0))

    def becomes_ready(self, vm: bytes) -> Any:
        return self._move(vm, Queue.PENDING, Queue.READY, ready=self.world.stamp(0))

    def times_out(self, vm: bytes) -> Any:
        return self._move(vm, Queue.PENDING, Queue.COMPLETED)

    def is_one_too_many(self, vm: bytes) -> Any:
        return self._move(vm, Queue.READY, Queue.COMPLETED)

    def is_destroyed(self, vm: bytes) -> Any:
        if not self.client.srem(keys.queue(Queue.COMPLETED, POOL), vm):
            return _NOTHING
        self.client.hset(keys.vm(vm), "destroy", self.world.stamp(0))
        self.client.expire(keys.vm(vm), DATA_TTL)
        return None

    def is_cloned_again(self, vm: bytes) -> Any:
        """Its name is used anew while it is pending, or in no queue."""
        found = self.locate_and_record(vm)
        if found - {Queue.PENDING} or self.client.ttl(keys.vm(vm)) != -1:
            return _NOTHING
        self.client.sadd(keys.queue(Queue.PENDING, POOL), vm)
        self.client.hset(keys.vm(vm), "clone", self.world.stamp(0))
        return Queue.PENDING

    def is_found_running(self, vm: bytes) -> Any:
        if not self._is_loose(vm):
            return _NOTHING
        self.client.sadd(keys.queue(Queue.RUNNING, POOL), vm)
        return Queue.RUNNING

    def is_about_to_be_cloned(self, vm: bytes) -> Any:
        """Its metadata is written before it is put into a queue."""
        if not self._is_loose(vm):
            return _NOTHING
        self.client.hset(keys.vm(vm), "clone", self.world.stamp(0))
        return None

    def gets_an_expiry(self, vm: bytes) -> Any:
        """From whoever destroyed it without its being in a queue."""
        if not self._is_loose(vm):
            return _NOTHING
        self.client.expire(keys.vm(vm), DATA_TTL)
        return None

    def becomes_ready_again(self, vm: bytes) -> Any:
        if Queue.READY not in self.locate_and_record(vm):
            return _NOTHING
        self.client.hset(keys.vm(vm), "ready", self.world.stamp(0))
        return Queue.READY

    def loses_its_metadata(self, vm: bytes) -> Any:
        for queue in self.locate_and_record(vm):
            if queue in FIELD and self.client.hexists(keys.vm(vm), FIELD[queue]):
                self.client.delete(keys.vm(vm))
                return queue
        return _NOTHING

    def is_purged_by_another(self, vm: bytes) -> Any:
        """By a cycle that lost its lock and has not noticed yet: it read the same as ours, and decided the same."""
        queue = self.origin[vm]
        if vm in self.placed or queue is None or b"fresh" in vm:
            return _NOTHING
        stamp = self.client.hget(keys.vm(vm), FIELD[queue]) or b""
        candidate = Candidate(vm, stamp, dead_letter_of(vm, stamp, self.world.now) if queue is Queue.PENDING else "")
        db = Database(self.world.db.address)
        if queue is Queue.PENDING:
            batch = batches.purge_pending(
                db,
                POOL,
                [candidate],
                now=self.world.now,
                limits=DeadLetterLimits(DATA_TTL, 1000),
                data_ttl_seconds=DATA_TTL,
            )
        else:
            take = batches.purge_ready if queue is Queue.READY else batches.purge_completed
            batch = take(db, POOL, [candidate])
        self.by_others |= {vm} if batch.read().purged[0] else set()
        db.close()
        return _NOTHING


_NOTHING = object()


def _split(replies: list[Any], count: int) -> list[Any]:
    return [*replies[:count], replies[count:]]


ACTS = {
    "is_checked_out": "r",
    "becomes_ready": "p",
    "times_out": "p",
    "is_one_too_many": "r",
    "is_destroyed": "cr",
    "is_cloned_again": "pco",
    "is_found_running": "oc",
    "becomes_ready_again": "r",
    "loses_its_metadata": "prc",
    "is_purged_by_another": "prc",
    "is_about_to_be_cloned": "oc",
    "gets_an_expiry": "oc",
}
"""What can happen, and the initials of the VMs that it can happen to."""

Schedule = Sequence[tuple[int, str, bytes]]
"""At which moment, what happens, to which VM."""


def dead_letter_of(vm: bytes, stamp: bytes, now: float) -> str:
    return failed_vm(
        queue=DeadLetterQueue.PENDING,
        vm=vm,
        pool=POOL,
        error_class="Purge",
        error_message="",
        now=now,
        identity=stamp,
    ).member()


def filled(db: MeddledDatabase) -> tuple[World, dict[bytes, Queue | None]]:
    """An emptied database with stale and fresh VMs of every kind, and where each of them is."""
    db.meddle = None
    db.client.flushall()
    world = World(db)
    if db.filling is not None:
        _restore(db)
        return world, db.origin
    origin: dict[bytes, Queue | None] = {}
    for queue, name, age in (
        (Queue.PENDING, "p1", 7201),
        (Queue.PENDING, "p2", 2 * DAY),
        (Queue.PENDING, "p3", 7300),
        (Queue.PENDING, "p-fresh", 60),
        (Queue.PENDING, "p-untimed", None),
        (Queue.READY, "r1", DAY + 1),
        (Queue.READY, "r2", 2 * DAY),
        (Queue.READY, "r-fresh", 60),
        (Queue.COMPLETED, "c1", 2 * DAY),
        (Queue.COMPLETED, "c2", 3 * DAY),
        (Queue.COMPLETED, "c-fresh", 60),
        (None, "o1", 2 * DAY),
        (None, "o2", 3 * DAY),
    ):
        origin[world.vm(queue, name + PADDING, age)] = queue
    untimed = next(vm for vm in origin if b"untimed" in vm)
    db.client.hset(keys.vm(untimed), "pool", POOL)
    db.client.zadd(keys.first_seen(Queue.PENDING, POOL), {untimed: world.now - 7201})
    db.filling, db.origin, db.moments = world.snapshot(), origin, 0
    return world, origin


def _restore(db: MeddledDatabase) -> None:
    pipe = db.client.pipeline(transaction=False)
    for key, value in (db.filling or {}).items():
        pipe.restore(key, 0, value)
    pipe.execute()
    db.moments = 0


def meddled_cycle(db: MeddledDatabase, schedule: Schedule) -> tuple[Party, PurgeReport]:
    """A cycle during which others act."""
    world, origin = filled(db)
    party = Party(world, origin)

    def meddle(moment: int) -> None:
        for when, act, vm in schedule:
            if when == moment:
                party.act(act, vm)

    db.meddle = meddle
    report = purge_cycle.run(db, settings(), world.clock, PurgeOptions(who="test"))
    db.meddle = None
    return party, report
