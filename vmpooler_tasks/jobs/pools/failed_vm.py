"""What a failed VM leaves behind: a dead letter, and a retry of the request that it was made for."""

import logging
from dataclasses import dataclass

from vmpooler_tasks.jobs.deadletters.retention import dead_letter_limits, log_trimmed
from vmpooler_tasks.jobs.pools.context import PoolContext
from vmpooler_tasks.model.deadletters.entry import DeadLetter, RequestOrigin, failed_vm
from vmpooler_tasks.model.names import DeadLetterQueue, on_one_line, readable
from vmpooler_tasks.model.pools.lifecycle import Fields
from vmpooler_tasks.model.redaction import redacted_text
from vmpooler_tasks.model.redrive import Lineage
from vmpooler_tasks.model.requests import CloneItem, RequestOutcome, RequestRetry, Wanted
from vmpooler_tasks.store.pools.failures import DeadLetterWrite, FailedVm
from vmpooler_tasks.store.requests import fulfilment

_log = logging.getLogger("vmpooler_tasks.pools")


@dataclass(frozen=True, slots=True, kw_only=True)
class VmFailure:
    """The failure of one VM.

    `fields` are its metadata. `identity` distinguishes this failure from another of the same VM. `lineage` names the
    dead letter that the VM was started for, if it was redriven.
    """

    queue: DeadLetterQueue
    vm: str
    pool: str
    fields: Fields
    error_class: str
    message: str
    identity: bytes
    lineage: Lineage | None = None


def build_dead_letter(context: PoolContext, failure: VmFailure) -> DeadLetterWrite:
    """Return the dead letter of a VM that failed now, and the limits that it is written with."""
    request_id = failure.fields["request_id"]
    entry = failed_vm(
        queue=failure.queue,
        vm=failure.vm.encode(),
        pool=failure.pool,
        error_class=failure.error_class,
        error_message=redacted_text(failure.message),
        now=context.clock(),
        identity=failure.identity,
        origin=RequestOrigin(
            request_id=request_id,
            pool_alias=failure.fields["pool_alias"],
            retry_count=fulfilment.read_retry_count(context.db, request_id) if request_id else 0,
        ),
        lineage=failure.lineage,
    )
    return DeadLetterWrite(entry, dead_letter_limits(context.settings))


def build_retry(
    context: PoolContext, pool: str, fields: Fields, *, message: str | None, permanent: bool
) -> RequestRetry:
    """Return how the request of a failed VM goes on after this error; an empty retry if the VM has no request."""
    request_id = fields["request_id"]
    if not request_id:
        return RequestRetry()
    alias = (fields["pool_alias"] or b"").decode(errors="surrogateescape")
    item = CloneItem(Wanted(alias, pool, 1), request_id.decode(errors="surrogateescape"))
    return RequestRetry(
        request_id=request_id,
        item=str(item),
        permanent=permanent,
        max_retries=context.settings.config.max_vm_retries,
        reason=redacted_text(f"Configuration error: {message}"),
    )


def log_dead_letter(write: DeadLetterWrite, failed: FailedVm) -> None:
    """Log the dead letter of a VM that failed now, and those that were dropped or expired for it."""
    if write.limits is None:
        return
    log_trimmed(DeadLetterQueue(write.entry.queue_from), failed.trimmed, write.limits)
    if failed.failed:
        log_moved(write.entry)


def log_moved(entry: DeadLetter) -> None:
    """Log VMPooler's line about a dead letter."""
    _log.warning(
        "[!] [dlq] Moved '%s' from '%s' queue to DLQ: %s",
        entry.vm,
        entry.queue_from,
        on_one_line(entry.error_message or ""),
        extra={"vm": entry.vm, "pool": entry.pool, "queue": str(entry.queue_from), "dead_letter": entry.id},
    )


def log_replaced(vm: str, pool: str) -> None:
    """Log that the open request of a VM which is gone gets another."""
    text = "[!] [%s] '%s' is gone after its delivery to a request that is not filled yet: the request gets another VM"
    _log.warning(text, pool, vm, extra={"vm": vm, "pool": pool})


def log_retry(vm: str, pool: str, retry: RequestRetry, failed: FailedVm) -> None:
    """Log the effect of a failed VM on its request."""
    name = on_one_line(readable(retry.request_id))
    about = {"vm": vm, "pool": pool, "request": name}
    match failed.request_outcome:
        case RequestOutcome.RETRIED:
            text = "[+] [%s] Request %s will be retried (attempt %d/%d)"
            _log.info(text, pool, name, failed.request_retries, retry.max_retries, extra=about)
        case RequestOutcome.FAILED:
            why = retry.reason if retry.permanent else "Max retry attempts exceeded"
            text = "[!] [%s] '%s' permanently failed, and with it request %s: %s"
            _log.error(text, pool, vm, name, on_one_line(why), extra=about)
        case RequestOutcome.NONE:
            return
