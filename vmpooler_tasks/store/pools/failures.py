"""What a failed VM writes: its dead letter, and the retry of its request. One place turns both into KEYS and ARGV."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vmpooler_tasks.model.deadletters.entry import DeadLetter
from vmpooler_tasks.model.names import DeadLetterQueue
from vmpooler_tasks.model.requests import RequestOutcome, RequestRetry
from vmpooler_tasks.store import keys
from vmpooler_tasks.store.deadletters.trim import DeadLetterLimits, Trimmed, limit_words
from vmpooler_tasks.store.guards.missing import MissingMove


@dataclass(frozen=True, slots=True)
class DeadLetterWrite:
    """A dead letter to write. Without `limits`, dead letters being off, none is written."""

    entry: DeadLetter
    limits: DeadLetterLimits | None

    def keys(self) -> list[bytes]:
        return [
            keys.dead_letters(DeadLetterQueue(self.entry.queue_from)),
            keys.DEAD_LETTER_IDS,
            keys.COUNTERS,
        ]

    def words(self) -> list[Any]:
        return [self.entry.queue_from, *limit_words(self.limits), self.entry.id, self.entry.member()]


def retry_keys(retry: RequestRetry) -> list[bytes]:
    """Return the keys of the request and of the queued items."""
    return [keys.request(retry.request_id), keys.PENDING_ONDEMAND_CLONES]


def retry_words(retry: RequestRetry) -> list[Any]:
    """Return the arguments of `retry_request` in requests/retry.lua, from the item's permanence to the reason."""
    return [int(retry.permanent), retry.max_retries, retry.item, retry.reason]


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedVm:
    """The effect of a reported failure.

    `failed`: the VM was in its queue until now. `held`: the brake of its pool holds it there. `suspended_until`: epoch
    until which this failure suspends the provider, if it does; `pool_suspended_until`: the same of the pool.
    """

    failed: bool
    trimmed: Trimmed
    request_outcome: RequestOutcome
    request_retries: int
    suspended_until: float | None = None
    pool_suspended_until: float | None = None
    held: bool = False


def read_failed_vm(reply: Sequence[Any]) -> FailedVm:
    """Read {state, dropped, expired, outcome, retries[, suspended until: provider, pool]}, as the scripts return it."""
    state, dropped, expired, outcome, retries, *rest = reply
    until, pool_until = (float(epoch) if epoch else None for epoch in rest or (None, None))
    return FailedVm(
        failed=state == 1,
        held=state == MissingMove.HELD,
        trimmed=Trimmed.read(dropped, expired),
        request_outcome=RequestOutcome(outcome.decode()),
        request_retries=retries,
        suspended_until=until,
        pool_suspended_until=pool_until,
    )
