"""The dead letter of an order that cannot be carried out or has failed. The order leaves in the same step."""

import logging
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vmpooler_tasks.errors import VmpoolerTasksError
from vmpooler_tasks.jobs.deadletters.retention import dead_letter_limits, log_trimmed
from vmpooler_tasks.jobs.pools.context import PoolContext
from vmpooler_tasks.model.deadletters.entry import DeadLetter, dead_letter_id
from vmpooler_tasks.model.names import DeadLetterQueue, on_one_line, readable
from vmpooler_tasks.model.pools.lifecycle import Step
from vmpooler_tasks.model.redaction import redacted, redacted_text
from vmpooler_tasks.model.redrive import OWN_PREFIX
from vmpooler_tasks.model.timestamps import iso_utc
from vmpooler_tasks.model.vm_orders import MAX_NAME_CHARACTERS, ORDERS, VmOrder, read_origin
from vmpooler_tasks.store.orders import vm_orders
from vmpooler_tasks.store.orders.vm_orders import OrderRecord
from vmpooler_tasks.store.redrive import runs

_log = logging.getLogger("vmpooler_tasks.pools")


class OrderError(VmpoolerTasksError):
    """The order cannot be carried out"""

    def __str__(self) -> str:
        return Exception.__str__(self)


class InterruptedOrderError(OrderError):
    """The worker was lost while it carried out the order"""


MAX_LOGGED_CHARACTERS = 4_000

INTERRUPTED = (
    "its worker was lost after the revert had started: it may be done, half done or not done."
    " It is not repeated, since that would discard what the user did meanwhile"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedOrder:
    """An order that failed, and why. `member` is the order as VMPooler's set has it.

    `owner` is the try of the task that reports it. `identity` names the failure, so that a second report of it is the
    same dead letter; without it each failure is one of its own. `task_id` and `traceback` are those of its task.
    """

    step: Step
    member: bytes
    error_class: str
    message: str
    pool: str | None = None
    owner: str = "tick"
    identity: str | None = None
    task_id: str | None = None
    traceback: str | None = None

    @classmethod
    def of(cls, order: VmOrder, pool: str | None, error: BaseException, owner: str = "tick") -> "FailedOrder":
        """Return the failure of an order that was read."""
        return cls(
            step=order.step,
            member=order.member.encode(),
            error_class=type(error).__name__,
            message=str(error),
            pool=pool,
            owner=owner,
        )

    @property
    def vm(self) -> bytes:
        return self.member.partition(b":")[0]

    def as_kwargs(self) -> Mapping[str, Any]:
        """Return the arguments of its task; the text of the order if it is not valid: it has no arguments."""
        try:
            order = VmOrder.parse(self.step, self.member)
        except ValueError:
            return {"order": readable(self.member)}
        return {"vm": order.vm, "pool": self.pool, ORDERS[self.step].argument: order.value}


def fail(context: PoolContext, failed: FailedOrder) -> bool:
    """Keep the dead letter of an order, which leaves VMPooler's set or its claim in the same step.

    Return False if there is no such order: it has failed or was finished before. Return True without a dead letter if
    another worker carries it out.
    """
    record = vm_orders.read_record(context.db, failed.step, failed.vm, failed.member)
    limits = dead_letter_limits(context.settings)
    entry = _build_dead_letter(failed, record, context.clock())
    state, trimmed = vm_orders.fail(
        context.db, failed.step, failed.vm, failed.member, entry, limits, owner=failed.owner, now=context.clock()
    )
    if limits is not None:
        log_trimmed(DeadLetterQueue.TASKS, trimmed, limits)
    if state == 1:
        _, lineage = read_origin(record.origin)
        if lineage:
            runs.count_failure(context.db, lineage.run)
        about = {"vm": entry.vm, "pool": entry.pool, "dead_letter": entry.id, "task": entry.task}
        text = "[!] [%s] The order '%s' has failed: %s: %s"
        what = (
            on_one_line(readable(failed.member)[:MAX_LOGGED_CHARACTERS]),
            entry.error_class,
            on_one_line(entry.error_message or ""),
        )
        _log.error(text, failed.step, *what, extra={name: value for name, value in about.items() if value})
    return state != 0


def _build_dead_letter(failed: FailedOrder, record: OrderRecord, now: float) -> DeadLetter:
    earlier, lineage = read_origin(record.origin)
    # An order that was never claimed has no id yet: each refusal is a failure of its own.
    order = record.id or earlier or uuid.uuid4().hex[:12]
    redrives = lineage.redrives if lineage else 0
    return DeadLetter(
        vm=readable(failed.vm)[:MAX_NAME_CHARACTERS] or None,
        pool=failed.pool or None,
        queue_from=DeadLetterQueue.TASKS,
        error_class=failed.error_class,
        error_message=redacted_text(failed.message),
        failed_at=iso_utc(now),
        retry_count=lineage.retry_count if lineage else 0,
        id=failed.identity or dead_letter_id(DeadLetterQueue.TASKS, failed.step, order, redrives),
        task=OWN_PREFIX + failed.step,
        task_id=failed.task_id,
        args=[],
        kwargs=redacted(failed.as_kwargs()),
        checkout=record.checkout or None,
        order=order,
        traceback=redacted_text(failed.traceback) if failed.traceback else None,
        redrives=lineage.redrives if lineage else None,
        redrive_of=lineage.dead_letter_id if lineage else None,
        attempts=lineage.attempts or None if lineage else None,
    )
