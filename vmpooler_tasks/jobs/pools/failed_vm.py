"""What a failed VM leaves behind: its dead letter, and another try for the request that it was made for."""

import logging

from vmpooler_tasks.jobs.deadletters.retention import log_trimmed
from vmpooler_tasks.jobs.pools.context import PoolContext
from vmpooler_tasks.model.deadletters.entry import DeadLetter, failed_vm
from vmpooler_tasks.model.names import DeadLetterQueue, on_one_line, readable
from vmpooler_tasks.model.pools.lifecycle import Fields
from vmpooler_tasks.model.redaction import redacted_text
from vmpooler_tasks.model.redrive import Lineage
from vmpooler_tasks.model.requests import CloneItem, RequestRetry, Wanted
from vmpooler_tasks.store.deadletters.trim import DeadLetterLimits, Trimmed
from vmpooler_tasks.store.requests import fulfilment

_log = logging.getLogger("vmpooler_tasks.pools")


def letter_of(
    manager: PoolContext,
    queue: DeadLetterQueue,
    vm: str,
    pool: str,
    fields: Fields,
    *,
    error_class: str,
    message: str,
    identity: bytes,
    lineage: Lineage | None = None,
) -> DeadLetter:
    """The dead letter of a VM with this metadata, failed now; `lineage` is that of one begun in a letter's place."""
    request_id = fields["request_id"]
    return failed_vm(
        queue=queue,
        vm=vm.encode(),
        pool=pool,
        error_class=error_class,
        error_message=redacted_text(message),
        now=manager.clock(),
        request_id=request_id,
        pool_alias=fields["pool_alias"],
        identity=identity,
        retry_count=fulfilment.retry_count(manager.db, request_id) if request_id else 0,
        lineage=lineage,
    )


def retry_of(manager: PoolContext, pool: str, fields: Fields, *, message: str | None, permanent: bool) -> RequestRetry:
    """What becomes of the request that the VM was made for, if it was, after this error."""
    request_id = fields["request_id"]
    if not request_id:
        return RequestRetry()
    alias = (fields["pool_alias"] or b"").decode(errors="surrogateescape")
    item = CloneItem(Wanted(alias, pool, 1), request_id.decode(errors="surrogateescape"))
    return RequestRetry(
        request_id=request_id,
        item=str(item),
        permanent=permanent,
        most_retries=manager.settings.config.max_vm_retries,
        reason=redacted_text(f"Configuration error: {message}"),
    )


def tell(letter: DeadLetter, trimmed: Trimmed, limits: DeadLetterLimits | None, *, failed: bool) -> bool:
    """Says what became of the letter, and of those that had to go for it; answers `failed`, whether the VM failed now.

    Without `limits`, dead letters being off, there is nothing to say.
    """
    if limits:
        log_trimmed(DeadLetterQueue(letter.queue_from), trimmed, limits)
        if failed:
            say_moved(letter)
    return failed


def say_moved(letter: DeadLetter) -> None:
    """VMPooler's line about a letter, which the guide's readers look for."""
    _log.warning(
        "[!] [dlq] Moved '%s' from '%s' queue to DLQ: %s",
        letter.vm,
        letter.queue_from,
        on_one_line(letter.error_message or ""),
        extra={"vm": letter.vm, "pool": letter.pool, "queue": str(letter.queue_from), "letter": letter.id},
    )


def say_retry(manager: PoolContext, pool: str, vm: str, retry: RequestRetry, outcome: str, retries: int) -> None:
    """What became of the request."""
    name = on_one_line(readable(retry.request_id))
    about = {"vm": vm, "pool": pool, "request": name}
    match outcome:
        case "retried":
            most = manager.settings.config.max_vm_retries
            _log.info("[+] [%s] Request %s will be retried (attempt %d/%d)", pool, name, retries, most, extra=about)
        case "failed":
            why = retry.reason if retry.permanent else "Max retry attempts exceeded"
            text = "[!] [%s] '%s' permanently failed, and with it request %s: %s"
            _log.error(text, pool, vm, name, on_one_line(why), extra=about)
        case _:
            return
