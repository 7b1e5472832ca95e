"""What becomes of a dead letter that is to be run again: what is decided before, and what a preview expects."""

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import compress

from vmpooler_tasks.config import Pool, Settings
from vmpooler_tasks.model.deadletters.entry import StoredDeadLetter
from vmpooler_tasks.model.names import DeadLetterQueue, Queue
from vmpooler_tasks.model.pools.sizes import size_in_effect
from vmpooler_tasks.model.redaction import REDACTED
from vmpooler_tasks.model.redrive import Outcome, OwnTasks
from vmpooler_tasks.model.requests import Wanted, parse_requested
from vmpooler_tasks.store import Database
from vmpooler_tasks.store.pools import overrides
from vmpooler_tasks.store.redis.chunks import chunks
from vmpooler_tasks.store.requests import fulfilment
from vmpooler_tasks.store.vmpooler import queues

LIVING = (Queue.PENDING, Queue.READY, Queue.RUNNING)


def decided(letter: StoredDeadLetter, own: OwnTasks) -> tuple[Outcome, str] | None:
    """(what becomes of it however things stand, why); None for one that can be run again."""
    if not _has_names(letter):
        return Outcome.KEPT, "a name in it is none"
    if letter.queue is not DeadLetterQueue.TASKS:
        return None if letter.text("vm") and letter.text("pool") else (Outcome.KEPT, "it names no VM or no pool")
    task = letter.text("task")
    if task in own.repeated:
        return Outcome.OBSOLETE, "it comes again by itself"
    args, kwargs = letter.fields.get("args"), letter.fields.get("kwargs")
    if not task or not isinstance(args, list | None) or not isinstance(kwargs, dict | None):
        return Outcome.KEPT, "it is no task"
    if own.lacks(task):
        return Outcome.KEPT, "no worker of ours knows this task"
    if REDACTED in json.dumps([args, kwargs]):
        return Outcome.KEPT, "its arguments were redacted"
    return None


def _has_names(letter: StoredDeadLetter) -> bool:
    """Whether what it names can be a key in Redis. JSON can hold text that is no UTF-8."""
    try:
        "".join(map(letter.text, ("task", "vm", "pool", "request_id", "pool_alias"))).encode()
    except UnicodeEncodeError:
        return False
    return True


def size_of(db: Database, pool: Pool) -> int:
    """How many VMs the pool is to have."""
    return size_in_effect(pool.size, overrides.orders(db, pool.name).size)


def wanted_by(db: Database, request_id: bytes, alias: str, pool: str) -> int | None:
    """How many VMs of this pool, by this name, the request asks for."""
    try:
        wanted = parse_requested(fulfilment.requested(db, request_id) or "")
    except ValueError:
        return None
    return sum(part.count for part in wanted if (part.alias, part.pool) == (alias, pool))


def forecast(db: Database, settings: Settings, own: OwnTasks, letters: Iterable[StoredDeadLetter]) -> Counter[Outcome]:
    """What a run would do with these letters as things stand now; it changes nothing."""
    letters = list(letters)
    now = _Forecast(db, settings, own, _standing(db, letters))
    return Counter(map(now.outcome, letters))


def _standing(db: Database, letters: Iterable[StoredDeadLetter]) -> dict[tuple[str, str], set[Queue]]:
    """(pool, VM) → the queues that it is in, of those VMs that are in any."""
    named: dict[str, set[str]] = {}
    for letter in filter(_has_names, letters):
        named.setdefault(letter.text("pool"), set()).add(letter.text("vm"))
    found: dict[tuple[str, str], set[Queue]] = {}
    for pool, vms in named.items():
        for page in chunks(sorted(vms)):
            for queue in (*LIVING, Queue.COMPLETED):
                are_in = queues.are_in(db, queue, pool, [vm.encode() for vm in page])
                for vm in compress(page, are_in):
                    found.setdefault((pool, vm), set()).add(queue)
    return found


@dataclass
class _Forecast:
    """What pools and requests are short of is asked once, and used up by the letters; `standing` is where VMs are."""

    db: Database
    settings: Settings
    own: OwnTasks
    standing: Mapping[tuple[str, str], Collection[Queue]]
    short: dict[tuple[str, str, str], int] = field(default_factory=dict)

    def outcome(self, letter: StoredDeadLetter) -> Outcome:
        if found := decided(letter, self.own):
            return found[0]
        pool = letter.text("pool")
        queued = self.standing.get((pool, letter.text("vm")), ())
        if letter.queue is DeadLetterQueue.TASKS:
            is_late = letter.text("task") == self.own.destroy and Queue.COMPLETED not in queued
            return Outcome.OBSOLETE if is_late else Outcome.REDRIVEN
        request, alias = letter.text("request_id"), letter.text("pool_alias")
        place = (pool, request, alias)
        if place not in self.short:
            self.short[place] = self._short_of(*place)
        if self.short[place] <= 0 or any(queue in LIVING for queue in queued):
            return Outcome.OBSOLETE
        if not request and not self.settings.config.manage_pools:
            return Outcome.KEPT
        self.short[place] -= 1
        return Outcome.REDRIVEN

    def _short_of(self, name: str, request: str, alias: str) -> int:
        pool = self.settings.pool(name)
        if pool is None:
            return 0
        if not request:
            filled = (queues.size(self.db, queue, name) for queue in (Queue.PENDING, Queue.READY))
            return size_of(self.db, pool) - sum(filled)
        raw = request.encode()
        wanted = wanted_by(self.db, raw, alias, name) or 0
        return fulfilment.refill(self.db, raw, Wanted(alias, name, wanted), dry_run=True)
