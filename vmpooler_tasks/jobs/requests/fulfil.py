"""Fills on-demand requests: takes new ones up, starts their clones, answers or fails them. data-model.md: On-demand."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice

from vmpooler_tasks.config import Pool, Settings
from vmpooler_tasks.errors import WrongTypeError
from vmpooler_tasks.jobs.pools import check_pending
from vmpooler_tasks.jobs.pools.context import PoolContext, Work
from vmpooler_tasks.jobs.pools.inspect import SPARE_NAMES, first_metadata, planned_until
from vmpooler_tasks.model.names import on_one_line, readable
from vmpooler_tasks.model.pools.lifecycle import MINUTE, Step
from vmpooler_tasks.model.pools.vm_names import candidates
from vmpooler_tasks.model.requests import CloneItem, RequestStatus, Wanted, parse_item, parse_requested, total
from vmpooler_tasks.store import keys
from vmpooler_tasks.store.pools import breakers
from vmpooler_tasks.store.requests import fulfilment
from vmpooler_tasks.store.requests.fulfilment import Request

_log = logging.getLogger("vmpooler_tasks.ondemand")


def run(manager: PoolContext) -> list[Work]:
    """One round over all requests; answers the clones to be made."""
    for request in fulfilment.waiting(manager.db, keys.WAITING_REQUESTS):
        with _leaving_out(_name(request)):
            _take_up(manager, request)
    work = list(_start_clones(manager))
    for request in fulfilment.waiting(manager.db, keys.PROCESSING_REQUESTS):
        with _leaving_out(_name(request)):
            _look_after(manager, request)
    return work


@contextmanager
def _leaving_out(request: str) -> Iterator[None]:
    """One whose keys do not hold what they should keeps no other from being filled."""
    try:
        yield
    except WrongTypeError as error:
        _log.error("[!] [ondemand] Request '%s' is left out: %s", request, error, extra={"request": request})


def refusal(settings: Settings, wanted: Sequence[Wanted]) -> str | None:
    """Why such a request cannot be filled; None if it can."""
    unknown = sorted({part.pool for part in wanted if settings.pool(part.pool) is None})
    most = settings.config.max_ondemand_instances_per_request
    if unknown:
        return f"there is no pool {', '.join(map(repr, unknown))}"
    if not total(wanted):
        return "it asks for no VM"
    if total(wanted) > most:
        return f"it asks for {total(wanted)} VMs, more than max_ondemand_instances_per_request ({most})"
    return None


def _take_up(manager: PoolContext, request: Request) -> None:
    name = _name(request)
    if request.is_answered or request.requested is None:
        _close(manager, request, (), "it was deleted")
        return
    try:
        wanted = parse_requested(request.requested)
    except ValueError as error:
        _close(manager, request, (), f"it cannot be read: {error}")
        return
    if why := refusal(manager.settings, wanted):
        _close(manager, request, (), why)  # nothing was begun or delivered
    elif fulfilment.accept(manager.db, request, wanted):
        _log.info("[*] Request '%s' is being filled: %s", name, on_one_line(request.requested), extra={"request": name})


def _start_clones(manager: PoolContext) -> Iterator[Work]:
    now = manager.clock()
    closed = {one.name for one in breakers.open_ones(manager.db, manager.settings.providers) if one.open_until > now}
    for raw in fulfilment.items(manager.db):
        try:
            item = parse_item(raw.decode(errors="surrogateescape"))
        except ValueError as error:
            _log.error("[!] [ondemand] An item of vmpooler__odcreate__task is dropped: %s", on_one_line(str(error)))
            fulfilment.drop_item(manager.db, raw)
            continue
        pool = manager.settings.pool(item.wanted.pool)
        if pool is None or not item.wanted.count:
            fulfilment.drop_item(manager.db, raw)
            continue
        if manager.settings.provider_of(pool) in closed:
            continue
        with _leaving_out(on_one_line(item.request_id)):
            yield from _begin(manager, raw, item, pool)


def _begin(manager: PoolContext, raw: bytes, item: CloneItem, pool: Pool) -> list[Work]:
    config, now = manager.settings.config, manager.clock()
    most = min(item.wanted.count, config.ondemand_clone_limit)
    begun = fulfilment.begin_clones(
        manager.db,
        raw,
        item,
        list(islice(candidates(config.prefix), most + SPARE_NAMES)),
        limit=config.ondemand_clone_limit,
        leased_until=planned_until(manager.settings, now),
        metadata={
            **first_metadata(manager.settings, pool, now),
            "request_id": item.request_id,
            "pool_alias": item.wanted.alias,
        },
    )
    return [Work(Step.CLONE, vm, pool.name, item.request_id) for vm in begun or ()]


def _look_after(manager: PoolContext, request: Request) -> None:
    try:
        wanted = parse_requested(request.requested or "")
    except ValueError:
        _close(manager, request, (), "what it asks for is gone")
        return
    minutes = manager.settings.config.ondemand_request_ttl
    if request.is_answered:
        _close(manager, request, wanted, "")
    elif check_pending.answer_if_filled(manager, request.id):
        return
    elif manager.clock() - request.since > minutes * MINUTE:
        _close(manager, request, wanted, f"not filled within {minutes:g} minutes")
    else:
        lost = sum(fulfilment.refill(manager.db, request.id, part) for part in wanted)
        if lost:
            name = _name(request)
            _log.warning(
                "[!] Request '%s' has lost %d VMs on their way: they are begun anew",
                name,
                lost,
                extra={"request": name},
            )


def _close(manager: PoolContext, request: Request, wanted: Sequence[Wanted], reason: str) -> None:
    status, completed = fulfilment.close(manager.db, request.id, wanted, reason, manager.keep_seconds)
    name = _name(request)
    if status is RequestStatus.FAILED and reason:
        _log.error("[!] Request '%s' has failed: %s", name, on_one_line(reason), extra={"request": name})
    for vm in map(on_one_line, completed):
        about = {"vm": vm, "request": name}
        _log.info("[!] '%s' moved to completed: request '%s' is %s", vm, name, status, extra=about)


def _name(request: Request) -> str:
    return on_one_line(readable(request.id))
