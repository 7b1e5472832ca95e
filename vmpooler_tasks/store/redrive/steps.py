"""One step of a run of redrives: a dead letter leaves its queue and its successor starts, in one atomic script."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vmpooler_tasks.model.deadletters.entry import StoredDeadLetter
from vmpooler_tasks.model.names import DeadLetterQueue, Queue
from vmpooler_tasks.model.redrive import Lineage, RedriveOutcome
from vmpooler_tasks.model.requests import Wanted
from vmpooler_tasks.model.vm_orders import VmOrder
from vmpooler_tasks.store import fleet_keys, keys
from vmpooler_tasks.store.fleet import audit
from vmpooler_tasks.store.orders.vm_orders import ORDER_KEYS
from vmpooler_tasks.store.pools.clones import slots_for
from vmpooler_tasks.store.redis.arguments import counted_words
from vmpooler_tasks.store.redis.connection import Database
from vmpooler_tasks.store.requests.fulfilment import around_count


@dataclass(frozen=True, slots=True, kw_only=True)
class Successor:
    """The VM that is to take the place of a failed one.

    `wanted` is how many VMs its pool or its request is to have; None if the pool is not configured any more. `limit` is
    None where VMPooler's own manager makes the clones.
    """

    pool: str
    wanted: int | None
    limit: int | None
    leased_until: float
    metadata: Mapping[str, Any]
    lineage: Lineage
    names: Sequence[str]
    request_id: bytes | None = None
    alias: str = ""


@dataclass(frozen=True, slots=True)
class TaskMessage:
    """A task as the broker stores it: the Redis list of its queue and the message.

    Both are empty for a message that was sent already, to a broker on another server.
    """

    queue_key: str = ""
    body: bytes = b""


def redrive_vm(
    db: Database, run: str, position: int, dead_letter: StoredDeadLetter, successor: Successor
) -> tuple[RedriveOutcome, str | None]:
    """Start another VM in the place of a failed one if it is still needed.

    Return (what became of the dead letter, the name of the new VM or None).
    """
    request_id, pool = successor.request_id or b"", successor.pool
    slots = slots_for(successor.request_id)
    before, behind = around_count(Wanted(successor.alias, pool, 0), request_id)
    outcome, vm = db.run(
        "redrive/redrive_vm",
        [
            keys.dead_letters(dead_letter.queue),
            keys.redrive(run),
            keys.COUNTERS,
            *(keys.queue(queue, pool) for queue in (Queue.PENDING, Queue.READY, Queue.RUNNING)),
            *slots,
            keys.request(request_id),
            keys.delivered(request_id, successor.alias, pool),
            keys.PENDING_ONDEMAND_CLONES,
            keys.PAUSED,
        ],
        [
            position,
            dead_letter.raw,
            dead_letter.queue,
            dead_letter.text("vm"),
            int(successor.request_id is not None),
            _or_blank(successor.wanted),
            _or_blank(successor.limit),
            repr(successor.leased_until),
            keys.VM_PREFIX,
            keys.WORK_PREFIX,
            request_id,
            successor.alias,
            *(before, behind, pool),
            *counted_words(successor.metadata),
            *counted_words(successor.lineage.as_fields()),
            *successor.names,
        ],
    )
    return RedriveOutcome(outcome.decode()), vm.decode() or None


def _or_blank(number: int | None) -> int | str:
    return "" if number is None else number


def redrive_task(
    db: Database,
    run: str,
    position: int,
    dead_letter: StoredDeadLetter,
    *,
    message: TaskMessage | None = None,
    completed: tuple[str, str] | None = None,
    decided: RedriveOutcome | None = None,
) -> RedriveOutcome:
    """Put the message of a task into its queue while its dead letter leaves, and return what became of the dead letter.

    Without a message, report REDRIVEN for a dead letter that can be run again, and leave it where it is. `completed` is
    (VM, pool) of a destruction: unless the VM is still in completed, the dead letter is obsolete. `decided` is an
    outcome that does not depend on the state of Redis.
    """
    vm, pool = completed or ("", "")
    sent = message or TaskMessage()
    # An ACL may forbid a key without a name, so a step that fills no queue names the dead letters instead.
    queue_key = sent.queue_key.encode() or keys.dead_letters(dead_letter.queue)
    outcome = db.run(
        "redrive/redrive_task",
        [
            keys.dead_letters(dead_letter.queue),
            keys.redrive(run),
            keys.COUNTERS,
            queue_key,
            keys.queue(Queue.COMPLETED, pool),
        ],
        [position, dead_letter.raw, dead_letter.queue, sent.body, vm, decided or "", int(message is None)],
    )
    return RedriveOutcome(outcome.decode())


def redrive_order(
    db: Database,
    run: str,
    position: int,
    dead_letter: StoredDeadLetter,
    order: VmOrder,
    *,
    origin: str,
    needs_checkout: bool,
) -> RedriveOutcome:
    """Put an order for a running VM back into VMPooler's set while its dead letter leaves.

    Return OBSOLETE if the VM is not running any more. With `needs_checkout`, return KEPT if its checkout is not the one
    that the dead letter holds. `origin` is what the order carries until a worker claims it.
    """
    pool, raw = dead_letter.text("pool"), order.vm.encode()
    outcome = db.run(
        "redrive/redrive_order",
        [
            *(keys.dead_letters(dead_letter.queue), keys.redrive(run), keys.COUNTERS),
            *(ORDER_KEYS[order.step], keys.queue(Queue.RUNNING, pool), keys.vm(raw), keys.active(pool)),
            *(keys.VM_ORDER_ORIGINS, keys.VM_ORDERS_SENT),
        ],
        [
            *(position, dead_letter.raw, dead_letter.queue, order.vm, order.member, order.key),
            *(int(needs_checkout), dead_letter.text("checkout"), origin),
        ],
    )
    return RedriveOutcome(outcome.decode())


def redrive_edited(
    db: Database, dead_letter: StoredDeadLetter, trail: Mapping[str, Any], *, message: TaskMessage | None
) -> bool:
    """Put a task's message with changed arguments into its queue while the dead letter leaves, and record `trail`.

    Return False, and change nothing, if the dead letter left before. Without a message, report only.
    """
    sent = message or TaskMessage()
    queue_key = sent.queue_key.encode() or keys.dead_letters(dead_letter.queue)
    return bool(
        db.run(
            "redrive/redrive_edited",
            [keys.dead_letters(dead_letter.queue), keys.COUNTERS, fleet_keys.AUDIT, queue_key],
            [
                dead_letter.raw,
                dead_letter.queue,
                sent.body,
                int(message is None),
                audit.MAX_ENTRIES,
                *audit.trail_words(trail),
            ],
        )
    )


def skip(db: Database, run: str, position: int) -> RedriveOutcome:
    """Count the dead letter at that position as gone, since its copy is lost. Return MOVED_ON if the run has ended."""
    nothing = StoredDeadLetter(DeadLetterQueue.TASKS, b"", 0.0, {})
    return redrive_task(db, run, position, nothing, decided=RedriveOutcome.GONE)
