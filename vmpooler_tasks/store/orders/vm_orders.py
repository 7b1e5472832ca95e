"""Orders for running VMs: waiting in VMPooler's sets, claimed by one worker, finished or failed. Each step is a script.

A claim is kept in keys of ours, by VM: a VM has at most one order that a worker carries out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import compress

from vmpooler_tasks.model.deadletters.entry import DeadLetter
from vmpooler_tasks.model.names import DeadLetterQueue, Queue, readable
from vmpooler_tasks.model.pools.lifecycle import Step
from vmpooler_tasks.model.vm_orders import ORDERS, OrderClaim, VmOrder, order_key, parse_order_key
from vmpooler_tasks.store import keys
from vmpooler_tasks.store.deadletters.trim import DeadLetterLimits, Trimmed, limit_words
from vmpooler_tasks.store.redis.chunks import chunks
from vmpooler_tasks.store.redis.connection import Database
from vmpooler_tasks.store.redis.reads import Reads

ORDER_KEYS: Mapping[Step, bytes] = {
    Step.CREATE_DISK: keys.DISK_ORDERS,
    Step.CREATE_SNAPSHOT: keys.SNAPSHOT_ORDERS,
    Step.REVERT_SNAPSHOT: keys.REVERT_ORDERS,
}
"""The sets in which VMPooler's API leaves orders."""

MAX_READ = 500
"""Orders of each kind that one tick reads. They are drawn at random, so that no order waits for ever."""

REAP_PAGE = 500
"""Orders that one call takes from lost workers."""

STARTS_ONCE = tuple(step for step, spec in ORDERS.items() if spec.starts_once)


@dataclass(frozen=True, slots=True)
class ClaimedOrder:
    """The result of a claim. `id` names the order in the provider; each attempt of the same order has the same id."""

    claim: OrderClaim
    fence: int
    id: str


@dataclass(frozen=True, slots=True)
class OrderRecord:
    """What is known of an order that failed: its id, the VM's checkout when it was claimed, and its origin as JSON."""

    id: str = ""
    checkout: str = ""
    origin: str = ""


def read_waiting(db: Database) -> dict[Step, list[bytes]]:
    """Return the orders that wait, at most MAX_READ of each kind. A kind whose set cannot be read is left out."""
    reads = Reads()
    for step, key in ORDER_KEYS.items():
        reads.add(step, "SRANDMEMBER", key, MAX_READ)
    replies = reads.send(db)
    return {step: sorted(replies.get(step)) for step in ORDER_KEYS if step in replies}


@dataclass(frozen=True, slots=True)
class WaitingOrders:
    """The orders of one kind that wait: the key that has them, how many, and for how long the oldest has been seen."""

    key: bytes
    count: int
    seconds: float


def observe_waiting(db: Database, now: float) -> list[WaitingOrders]:
    """Note which orders wait, and return those kinds of which some wait. An order has no time of its own."""
    found = db.run(
        "orders/observe_waiting",
        [keys.VM_ORDERS_SEEN, *ORDER_KEYS.values()],
        [repr(now), MAX_READ, *ORDER_KEYS],
    )
    return [
        WaitingOrders(key, count, max(0.0, now - float(oldest or now)))
        for key, (count, oldest) in zip(ORDER_KEYS.values(), found, strict=True)
        if count
    ]


def read_waiting_since(db: Database, now: float) -> list[WaitingOrders]:
    """Return the kinds of orders of which some wait, as `observe_waiting` last noted them. Nothing changes."""
    reads = Reads()
    for step, key in ORDER_KEYS.items():
        reads.add(step, "SCARD", key)
    reads.add("seen", "ZRANGE", keys.VM_ORDERS_SEEN, 0, -1, "WITHSCORES")
    replies = reads.send(db)
    oldest = dict.fromkeys(ORDER_KEYS, now)
    for order, since in replies.get("seen", ()):
        step, _ = parse_order_key(order)
        oldest[step] = min(oldest[step], float(since))
    counts = {step: replies.get(step, 0) for step in ORDER_KEYS}
    return [WaitingOrders(ORDER_KEYS[step], count, now - oldest[step]) for step, count in counts.items() if count]


def find_running(db: Database, pools_of: Mapping[str, Sequence[str]]) -> tuple[dict[str, str], set[str]]:
    """Return VM → the first of its pools that has it in its running queue, and the VMs whose place is not known.

    The place of a VM that none of its pools has is not known if the queue of one of them cannot be read.
    """
    vms_of: dict[str, list[str]] = {}
    for vm, pools in pools_of.items():
        for pool in pools:
            vms_of.setdefault(pool, []).append(vm)
    running: dict[str, set[str]] = {}
    for page in chunks(list(vms_of)):
        reads = Reads()
        for pool in page:
            reads.add(pool, "SMISMEMBER", keys.queue(Queue.RUNNING, pool), *vms_of[pool])
        replies = reads.send(db)
        running |= {pool: set(compress(vms_of[pool], replies.get(pool))) for pool in page if pool in replies}
    found: dict[str, str] = {}
    for vm, pools in pools_of.items():
        if place := next((pool for pool in pools if vm in running.get(pool, ())), None):
            found[vm] = place
    unreadable = vms_of.keys() - running.keys()
    unknown = {vm for vm, pools in pools_of.items() if vm not in found and not unreadable.isdisjoint(pools)}
    return found, unknown


def read_checkout(db: Database, pool: str, vm: str) -> str:
    """Return the VM's time of checkout, as VMPooler wrote it; '' if it has none."""
    reads = Reads()
    reads.add("own", "HGET", keys.vm(vm.encode()), "checkout")
    reads.add("active", "HGET", keys.active(pool), vm)
    replies = reads.send(db)
    return readable(replies.get("own") or replies.get("active") or b"")


def plan(db: Database, orders: Sequence[VmOrder], *, now: float, until: float) -> list[VmOrder]:
    """Return those of the orders whose messages are to be sent now, and send none of them again before `until`."""
    by_key = {order.key.encode(): order for order in orders}
    chosen: list[bytes] = []
    for page in chunks(list(by_key)):
        chosen += db.run("orders/plan", [keys.VM_ORDERS_SENT], [repr(now), repr(until), *page])
    return [by_key[key] for key in chosen]


def forget_sending(db: Database, order: VmOrder) -> None:
    """Let the next tick send the order again: the worker that got its message cannot carry it out."""
    db.call("ZREM", keys.VM_ORDERS_SENT, order.key)


def is_claimed(db: Database, vm: str) -> bool:
    """Return True if a worker of ours has an order of the VM, or was lost with it: it is in no set of VMPooler's."""
    return bool(db.call("EXISTS", keys.vm_order(vm.encode(errors="replace"))))


def claim(
    db: Database, order: VmOrder, pool: str, *, owner: str, now: float, leased_until: float, new_id: str, attempts: int
) -> ClaimedOrder:
    """Claim the order for this owner until then; at most so many `attempts` claim it. It leaves VMPooler's set."""
    raw = order.vm.encode()
    outcome, fence, order_id = db.run(
        "orders/claim",
        [
            ORDER_KEYS[order.step],
            keys.queue(Queue.RUNNING, pool),
            keys.VM_ORDERS,
            keys.work(raw),
            keys.FENCES,
            keys.vm(raw),
            keys.active(pool),
            keys.vm_order(raw),
            keys.VM_ORDER_ORIGINS,
            keys.VM_ORDERS_SENT,
            keys.VM_ORDERS_SEEN,
        ],
        [
            *(order.vm, order.member, order.key, owner, repr(now), repr(leased_until), new_id),
            *(int(ORDERS[order.step].starts_once), attempts, pool),
        ],
    )
    return ClaimedOrder(OrderClaim(outcome.decode()), fence, order_id.decode())


def finish(db: Database, order: VmOrder, *, fence: int, field: str, result: str | bytes, appends: bool) -> bool:
    """Write the result of an order into the VM's metadata, and forget its claim. An empty `field` writes no result.

    Return False if another worker took the order over.
    """
    raw = order.vm.encode()
    return bool(
        db.run(
            "orders/finish",
            [keys.VM_ORDERS, keys.work(raw), keys.vm_order(raw), keys.vm(raw), keys.COUNTERS],
            [order.vm, order.key, fence, order.step, field, result, int(appends)],
        )
    )


def read_record(db: Database, step: Step, vm: bytes, member: bytes) -> OrderRecord:
    """Return what is known of an order, claimed or waiting."""
    key = order_key(step, member)
    reads = Reads()
    reads.add("record", "HMGET", keys.vm_order(vm), "order", "id", "checkout", "origin")
    reads.add("checkout", "HGET", keys.vm(vm), "checkout")
    reads.add("origin", "HGET", keys.VM_ORDER_ORIGINS, key)
    replies = reads.send(db)
    claimed, *fields = replies.get("record") or (None,)
    if claimed == key:
        return OrderRecord(*(readable(field or b"") for field in fields))
    return OrderRecord("", *(readable(replies.get(name) or b"") for name in ("checkout", "origin")))


def fail(
    db: Database,
    step: Step,
    vm: bytes,
    member: bytes,
    dead_letter: DeadLetter,
    limits: DeadLetterLimits | None,
    *,
    owner: str,
    now: float,
) -> tuple[int, Trimmed]:
    """Write the dead letter of an order, and remove the order from VMPooler's set or its claim, in one step.

    Return (1 if it failed now, 0 if there is no such order, -1 if another worker carries it out; what was trimmed).
    """
    state, dropped, expired = db.run(
        "orders/fail",
        [
            *(ORDER_KEYS[step], keys.VM_ORDERS, keys.work(vm), keys.vm_order(vm)),
            *(keys.VM_ORDER_ORIGINS, keys.VM_ORDERS_SENT, keys.VM_ORDERS_SEEN),
            *(keys.dead_letters(DeadLetterQueue.TASKS), keys.DEAD_LETTER_IDS, keys.COUNTERS),
        ],
        [
            *(vm, member, order_key(step, member), owner, repr(now), step),
            *(DeadLetterQueue.TASKS, *limit_words(limits), dead_letter.id, dead_letter.member()),
        ],
    )
    return state, Trimmed.read(dropped, expired)


def reap(db: Database, *, now: float, leased_until: float) -> list[tuple[str, bytes]]:
    """Return (pool, order) of the orders whose worker was lost.

    Those that may be repeated are leased until then for the next worker.
    """
    reaped = db.run(
        "orders/reap",
        [keys.VM_ORDERS, keys.VM_ORDERS_SENT, keys.VM_ORDER_ORIGINS, *ORDER_KEYS.values()],
        [
            *(repr(now), repr(leased_until), keys.VM_ORDER_PREFIX, keys.WORK_PREFIX, REAP_PAGE),
            *ORDER_KEYS,
            *STARTS_ONCE,
        ],
    )
    return [(readable(pool), order) for pool, order in zip(reaped[1::3], reaped[2::3], strict=True)]
