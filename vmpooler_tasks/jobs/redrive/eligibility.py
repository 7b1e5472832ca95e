"""Decide which dead letters can be run again, and forecast what a run would do. Nothing here changes anything."""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import compress, islice
from typing import NamedTuple

from vmpooler_tasks.config import Pool, Settings
from vmpooler_tasks.model.deadletters.bounds import CUT, SHOWN_ONLY
from vmpooler_tasks.model.deadletters.entry import FIELDS, StoredDeadLetter
from vmpooler_tasks.model.deadletters.shown import is_too_deep
from vmpooler_tasks.model.names import DeadLetterQueue, Queue
from vmpooler_tasks.model.pools.pause import Pause
from vmpooler_tasks.model.pools.sizes import size_in_effect
from vmpooler_tasks.model.redaction import REDACTED, TOO_DEEP
from vmpooler_tasks.model.redrive import OwnTasks, RedriveOutcome
from vmpooler_tasks.model.requests import Wanted, parse_requested
from vmpooler_tasks.model.vm_orders import ORDERS, VmOrder
from vmpooler_tasks.store import Database
from vmpooler_tasks.store.fleet import heartbeats
from vmpooler_tasks.store.orders import overrides, vm_orders
from vmpooler_tasks.store.pools import other_manager, pauses
from vmpooler_tasks.store.redis.chunks import chunks
from vmpooler_tasks.store.requests import fulfilment
from vmpooler_tasks.store.vmpooler import queues

PAGE = 500
"""Dead letters of which a forecast reads the state together."""

LIVING = (Queue.PENDING, Queue.READY, Queue.RUNNING)


class Decision(NamedTuple):
    """What a run does with a dead letter, and why. One that runs again needs no reason."""

    outcome: RedriveOutcome
    reason: str = ""


RUNS_AGAIN = Decision(RedriveOutcome.REDRIVEN)

NEEDS_CONFIRMATION = Decision(
    RedriveOutcome.KEPT,
    "a revert discards what the user did since the snapshot: it runs again only by its id, with a confirmation",
)

CHECKED_OUT_AGAIN = (
    "the checkout of its VM is not that of the order any more: a revert would discard another user's work"
)


def decided_outcome(
    dead_letter: StoredDeadLetter, own: OwnTasks, settings: Settings, *, confirmed: bool = False
) -> Decision | None:
    """Return the decision if it does not depend on the state of Redis; None for one that can be run again.

    `confirmed`: a person named the dead letter by its id, and confirmed that what starts only once runs again.
    """
    if not _has_valid_names(dead_letter):
        return Decision(RedriveOutcome.KEPT, "a name in it is not valid text")
    if parts := cut_parts(dead_letter):
        return Decision(RedriveOutcome.KEPT, f"it was too large, and these parts were cut: {', '.join(parts)}")
    if dead_letter.queue is not DeadLetterQueue.TASKS:
        has_both = dead_letter.text("vm") and dead_letter.text("pool")
        return None if has_both else Decision(RedriveOutcome.KEPT, "it names no VM or no pool")
    task = dead_letter.text("task")
    if task in own.repeated:
        return Decision(RedriveOutcome.OBSOLETE, "the schedule repeats its task")
    args, kwargs = dead_letter.fields.get("args"), dead_letter.fields.get("kwargs")
    if not task or not isinstance(args, list | None) or not isinstance(kwargs, dict | None):
        return Decision(RedriveOutcome.KEPT, "it is not a task")
    if own.lacks(task):
        return Decision(RedriveOutcome.KEPT, "no worker knows this task")
    if is_too_deep([args, kwargs]):
        return Decision(RedriveOutcome.KEPT, "its arguments are nested too deeply")
    if has_redacted([args, kwargs]):
        return Decision(RedriveOutcome.KEPT, "its arguments were redacted")
    return _decided_order(dead_letter, own, settings, confirmed=confirmed) if task in own.orders else None


def _decided_order(
    dead_letter: StoredDeadLetter, own: OwnTasks, settings: Settings, *, confirmed: bool
) -> Decision | None:
    if not dead_letter.text("vm") or not dead_letter.text("pool"):
        return Decision(RedriveOutcome.KEPT, "it names no VM or no pool")
    try:
        order_of(dead_letter, own)
    except ValueError as error:
        return Decision(RedriveOutcome.KEPT, str(error))
    if not settings.config.manage_pools:
        return Decision(RedriveOutcome.KEPT, "VMPooler carries out the orders itself (manage_pools is off)")
    return NEEDS_CONFIRMATION if dead_letter.text("task") in own.starts_once and not confirmed else None


def order_of(dead_letter: StoredDeadLetter, own: OwnTasks) -> VmOrder:
    """Return the order of a failed task of ours. Raise ValueError if it is not valid."""
    step, kwargs = own.orders[dead_letter.text("task")], dead_letter.fields.get("kwargs") or {}
    order = VmOrder(step, dead_letter.text("vm"), str(kwargs.get(ORDERS[step].argument, "")))
    order.validate()
    return order


ELSEWHERE = Decision(RedriveOutcome.KEPT, "its pool is in the configuration of other workers: redrive it with that")


def pools_elsewhere(db: Database) -> frozenset[str]:
    """Return the pools in the configurations of the live workers and beats."""
    return heartbeats.read_fleet_with_pools(db).pools


def has_redacted(arguments: object) -> bool:
    """Return whether a secret was removed from these arguments: a task cannot run with what is left."""
    text = json.dumps(arguments)
    return REDACTED in text or TOO_DEEP in text


def cut_parts(dead_letter: StoredDeadLetter) -> list[str]:
    """Return the parts that were cut and that its successor needs."""
    cut = dead_letter.fields.get(CUT)
    return sorted(set(cut) & set(FIELDS) - SHOWN_ONLY) if isinstance(cut, dict) else []


def _has_valid_names(dead_letter: StoredDeadLetter) -> bool:
    """Return whether its names are texts that can be keys in Redis: JSON can hold what UTF-8 cannot encode."""
    names = [dead_letter.fields.get(name) for name in ("task", "vm", "pool", "request_id", "pool_alias")]
    try:
        "".join("" if name is None else name for name in names).encode()
    except (TypeError, UnicodeEncodeError):
        return False
    return True


def size_of(db: Database, pool: Pool) -> int:
    """Return how many VMs the pool is to have."""
    return size_in_effect(pool.size, overrides.read_orders(db, pool.name).size)


def count_wanted(db: Database, request_id: bytes, alias: str, pool: str) -> int | None:
    """Return how many VMs the request wants of this pool by this alias; None for a request that cannot be read."""
    try:
        wanted = parse_requested(fulfilment.read_requested(db, request_id) or "")
    except ValueError:
        return None
    return sum(part.count for part in wanted if (part.alias, part.pool) == (alias, pool))


def forecast(
    db: Database,
    settings: Settings,
    own: OwnTasks,
    dead_letters: Iterable[StoredDeadLetter],
    *,
    confirmed: bool = False,
) -> Iterator[tuple[StoredDeadLetter, Decision]]:
    """Yield each dead letter with what a run over all of them would do with it now. They are read page by page."""
    paused, elsewhere, beside = pauses.read_paused(db), pools_elsewhere(db), is_beside_manager(db, settings)
    now = _Forecast(db, settings, own, {}, paused, confirmed, elsewhere, beside)
    left = iter(dead_letters)
    while page := list(islice(left, PAGE)):
        now.places = _read_places(db, page)
        for entry in page:
            yield entry, now.decision(entry)


def is_beside_manager(db: Database, settings: Settings) -> bool:
    """Return True if another pool manager is at work, so that these workers start no clone."""
    return settings.config.manage_pools and other_manager.read_watch(db).is_other_seen


def why_kept(settings: Settings, paused: Mapping[str, Pause], pool: str, request: str, *, beside: bool) -> str:
    """Return why the dead letter of a VM that is needed stays in its queue; '' if it can run again.

    `beside`: another pool manager is at work. It fills its pools itself, and makes the VMs of requests.
    """
    if beside:
        return "" if request else "another pool manager is at work, and fills its pool itself"
    if not settings.config.manage_pools:
        return "" if request else "VMPooler fills its pool itself (manage_pools is off)"
    return f"{paused[pool].text(pool)}; redrive it after `pools resume`" if pool in paused else ""


def _read_places(db: Database, dead_letters: Iterable[StoredDeadLetter]) -> dict[tuple[str, str], set[Queue]]:
    """Return (pool, VM) → the queues that hold the VM, for the VMs that are in any queue."""
    named: dict[str, set[str]] = {}
    for entry in filter(_has_valid_names, dead_letters):
        named.setdefault(entry.text("pool"), set()).add(entry.text("vm"))
    places: dict[tuple[str, str], set[Queue]] = {}
    for pool, vms in named.items():
        for page in chunks(sorted(vms)):
            for queue in (*LIVING, Queue.COMPLETED):
                are_in = queues.are_in(db, queue, pool, [vm.encode() for vm in page])
                for vm in compress(page, are_in):
                    places.setdefault((pool, vm), set()).add(queue)
    return places


@dataclass
class _Forecast:
    """The state of pools and requests, as the dead letters before have changed it.

    `places` holds the queues of each (pool, VM), and `missing` how many VMs a (pool, request, alias) still lacks: it is
    read once, and each redriven dead letter takes one. `elsewhere`: the pools of the live workers and beats.
    `beside`: another pool manager is at work.
    """

    db: Database
    settings: Settings
    own: OwnTasks
    places: Mapping[tuple[str, str], Collection[Queue]]
    paused: Mapping[str, Pause]
    confirmed: bool
    elsewhere: frozenset[str]
    beside: bool
    missing: dict[tuple[str, str, str], int] = field(default_factory=dict)

    def decision(self, dead_letter: StoredDeadLetter) -> Decision:
        """Return the decision about the next dead letter."""
        if decided := decided_outcome(dead_letter, self.own, self.settings, confirmed=self.confirmed):
            return decided
        queued = self.places.get((dead_letter.text("pool"), dead_letter.text("vm")), ())
        if dead_letter.queue is not DeadLetterQueue.TASKS:
            return self._decision_of_vm(dead_letter, queued)
        task = dead_letter.text("task")
        if task == self.own.destroy and Queue.COMPLETED not in queued:
            return Decision(RedriveOutcome.OBSOLETE, "its VM is not in completed any more")
        return self._decision_of_order(dead_letter, queued) if task in self.own.orders else RUNS_AGAIN

    def _decision_of_order(self, dead_letter: StoredDeadLetter, queued: Collection[Queue]) -> Decision:
        if Queue.RUNNING not in queued:
            return Decision(RedriveOutcome.OBSOLETE, "its VM is not running any more")
        if dead_letter.text("task") in self.own.starts_once:
            checkout = vm_orders.read_checkout(self.db, dead_letter.text("pool"), dead_letter.text("vm"))
            if not checkout or checkout != dead_letter.text("checkout"):
                return Decision(RedriveOutcome.KEPT, CHECKED_OUT_AGAIN)
        return RUNS_AGAIN

    def _decision_of_vm(self, dead_letter: StoredDeadLetter, queued: Collection[Queue]) -> Decision:
        pool, request, alias = map(dead_letter.text, ("pool", "request_id", "pool_alias"))
        if self.settings.pool(pool) is None:
            if pool in self.elsewhere:
                return ELSEWHERE
            return Decision(RedriveOutcome.OBSOLETE, "its pool is not configured any more")
        if living := next((queue for queue in LIVING if queue in queued), None):
            return Decision(RedriveOutcome.OBSOLETE, f"its VM exists: it is {living}")
        place = (pool, request, alias)
        if place not in self.missing:
            self.missing[place] = self._count_missing(*place)
        if self.missing[place] <= 0:
            why = "its request has ended or has all its VMs" if request else "its pool is full"
            return Decision(RedriveOutcome.OBSOLETE, why)
        if why := why_kept(self.settings, self.paused, pool, request, beside=self.beside):
            return Decision(RedriveOutcome.KEPT, why)
        self.missing[place] -= 1
        return RUNS_AGAIN

    def _count_missing(self, name: str, request: str, alias: str) -> int:
        pool = self.settings.pool(name)
        if pool is None:
            return 0
        if not request:
            filled = (queues.size(self.db, queue, name) for queue in (Queue.PENDING, Queue.READY))
            return size_of(self.db, pool) - sum(filled)
        raw = request.encode()
        wanted = count_wanted(self.db, raw, alias, name) or 0
        return fulfilment.refill(self.db, raw, Wanted(alias, name, wanted), dry_run=True)
