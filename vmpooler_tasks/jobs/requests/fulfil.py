"""Fills on-demand requests: accepts new ones, starts their clones, closes them. See docs/vmpooler-behaviour.md."""

import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial
from itertools import islice

from vmpooler_tasks.config import Pool
from vmpooler_tasks.errors import WrongTypeError
from vmpooler_tasks.jobs.pools import check_pending
from vmpooler_tasks.jobs.pools.context import PoolContext, Work
from vmpooler_tasks.jobs.pools.new_clones import SPARE_NAMES, first_metadata, planned_until
from vmpooler_tasks.model.health.explanation import error_line
from vmpooler_tasks.model.names import on_one_line, readable
from vmpooler_tasks.model.pools.lifecycle import MINUTE, Step
from vmpooler_tasks.model.pools.vm_names import candidates
from vmpooler_tasks.model.requests import CloneItem, RequestStatus, Wanted, parse_item, parse_requested, total
from vmpooler_tasks.store import Database, keys
from vmpooler_tasks.store.fleet import heartbeats
from vmpooler_tasks.store.health import progress
from vmpooler_tasks.store.key_types import FIXED_KEYS
from vmpooler_tasks.store.pools import breakers, pauses
from vmpooler_tasks.store.redis.wrong_keys import find_wrong_keys
from vmpooler_tasks.store.requests import fulfilment
from vmpooler_tasks.store.requests.fulfilment import Request
from vmpooler_tasks.store.vmpooler import queues

_log = logging.getLogger("vmpooler_tasks.ondemand")

LISTING_SECONDS = 60.0
"""How long a listed request may lack its hash: VMPooler's API server lists it first, and writes what it wants after."""

MAX_VMS_OF_REQUEST = 10_000
"""VMs of one request at most. The limit of VMPooler's API is lower; this one bounds what a broken entry costs."""


def run(context: PoolContext) -> list[Work]:
    """Process all open requests once. Return the clones to hand out. Health sees when this no longer ends well."""
    try:
        work = _process(context)
    except Exception as error:
        progress.record_error(context.db, progress.REQUESTS_WORK, error_line(str(error)))
        raise
    progress.record_end(context.db, progress.REQUESTS_WORK, context.settings.config.check_loop_delay_min)
    return work


def _process(context: PoolContext) -> list[Work]:
    pools_elsewhere = cache(partial(_read_pools_elsewhere, context))  # few passes need them, and none needs them twice
    for request in fulfilment.read_requests(context.db, keys.WAITING_REQUESTS):
        with _skipping_wrong_types(context, _name(request)):
            _accept(context, request, pools_elsewhere)
    work = list(_start_clones(context, pools_elsewhere))
    for request in fulfilment.read_requests(context.db, keys.PROCESSING_REQUESTS):
        with _skipping_wrong_types(context, _name(request)):
            _follow_up(context, request)
    return work


@contextmanager
def _skipping_wrong_types(context: PoolContext, request: str) -> Iterator[None]:
    """Log a request with a key of the wrong type, and go on: it must not stop the others.

    A key that all requests need is an error of the whole pass.
    """
    try:
        yield
    except WrongTypeError as error:
        if find_wrong_keys(context.db, FIXED_KEYS):
            raise
        _log.error("[!] [ondemand] Request '%s' is skipped: %s", request, error, extra={"request": request})


def _pauses_of(db: Database, wanted: Sequence[Wanted]) -> list[str]:
    """Return in words which of the request's pools are paused: their clones wait."""
    paused = pauses.read_paused(db)
    return [paused[pool].text(pool) for pool in sorted({part.pool for part in wanted}) if pool in paused]


def _accept(context: PoolContext, request: Request, pools_elsewhere: Callable[[], set[str]]) -> None:
    """Accept a new request, or close one that cannot be filled. VMPooler's API has checked its own limits before."""
    name, age = _name(request), context.clock() - request.since
    if request.requested is None and not request.is_closed and age < LISTING_SECONDS:
        return
    if request.is_closed or request.requested is None:
        _close(context, request, (), "it was deleted")
        return
    try:
        wanted = parse_requested(request.requested)
    except ValueError as error:
        _close(context, request, (), f"it cannot be read: {error}")
        return
    unknown = _unknown_pools(context, wanted)
    if unknown and age <= _lifetime(context) and unknown <= pools_elsewhere():
        return  # a worker that has these pools in its configuration accepts it
    if unknown:
        _close(context, request, (), f"there is no pool {', '.join(map(repr, sorted(unknown)))}")
    elif total(wanted) > MAX_VMS_OF_REQUEST:
        _close(
            context,
            request,
            (),
            f"it asks for {total(wanted)} VMs, more than {MAX_VMS_OF_REQUEST}, which is the maximum",
        )
    elif fulfilment.accept(context.db, request, wanted):
        _log.info("[*] Request '%s' is being filled: %s", name, on_one_line(request.requested), extra={"request": name})
        if not total(wanted):
            check_pending.mark_request_if_filled(context, request.id, wanted)


def _unknown_pools(context: PoolContext, wanted: Sequence[Wanted]) -> set[str]:
    """Return the pools without an entry in this configuration of which the request wants VMs."""
    return {part.pool for part in wanted if part.count and context.settings.pool(part.pool) is None}


def _read_pools_elsewhere(context: PoolContext) -> set[str]:
    """Return the pools that are registered, or configured for a live worker or beat."""
    return {*queues.pool_names(context.db), *heartbeats.read_fleet_with_pools(context.db).pools}


def _lifetime(context: PoolContext) -> float:
    """Return the seconds within which a request has to be filled."""
    return context.settings.config.ondemand_request_ttl * MINUTE


def _start_clones(context: PoolContext, pools_elsewhere: Callable[[], set[str]]) -> Iterator[Work]:
    items = list(_read_items(context))
    if not items:
        return
    pools = {pool.name: pool for _, item in items if (pool := context.settings.pool(item.wanted.pool))}
    stopped = _find_stopped(context, pools.values())
    for raw, item in items:
        pool = pools.get(item.wanted.pool)
        if not item.wanted.count or (pool is None and item.wanted.pool not in pools_elsewhere()):
            fulfilment.drop_item(context.db, raw)
            continue
        if pool is None:
            continue  # a worker that has the pool in its configuration starts them
        if pool.name in stopped:
            continue
        with _skipping_wrong_types(context, on_one_line(item.request_id)):
            yield from _start_clones_of(context, raw, item, pool)


def _read_items(context: PoolContext) -> Iterator[tuple[bytes, CloneItem]]:
    """Yield what waits for clones, each as it is in Redis and parsed. Drop what cannot be parsed."""
    for raw in fulfilment.read_items(context.db):
        try:
            yield raw, parse_item(raw.decode(errors="surrogateescape"))
        except ValueError as error:
            _log.error("[!] [ondemand] An item of vmpooler__odcreate__task is dropped: %s", on_one_line(str(error)))
            fulfilment.drop_item(context.db, raw)


def _find_stopped(context: PoolContext, pools: Collection[Pool]) -> set[str]:
    """Return the names of the pools that get no clones now: paused, suspended, or of a suspended provider."""
    now, provider_of = context.clock(), context.settings.provider_of
    suspensions = breakers.suspended_providers(context.db, set(map(provider_of, pools)))
    suspended = {one.name for one in suspensions if one.suspended_until > now}
    paused = pauses.read_paused(context.db)
    waiting = breakers.read_waiting_pools(context.db, [pool.name for pool in pools], now)
    return {one.name for one in pools if one.name in paused or one.name in waiting or provider_of(one) in suspended}


def _start_clones_of(context: PoolContext, raw: bytes, item: CloneItem, pool: Pool) -> list[Work]:
    config, now = context.settings.config, context.clock()
    count = min(item.wanted.count, config.ondemand_clone_limit)
    vms = fulfilment.start_clones(
        context.db,
        raw,
        item,
        list(islice(candidates(config.prefix), count + SPARE_NAMES)),
        max_clones=config.ondemand_clone_limit,
        leased_until=planned_until(context.settings, now),
        now=now,
        metadata={
            **first_metadata(context.settings, pool, now),
            "request_id": item.request_id,
            "pool_alias": item.wanted.alias,
        },
    )
    return [Work(Step.CLONE, vm, pool.name, item.request_id) for vm in vms or ()]


def _follow_up(context: PoolContext, request: Request) -> None:
    """Close the request if it is over or late; mark it ready if it is filled; replace VMs that it lost."""
    try:
        wanted = parse_requested(request.requested or "")
    except ValueError:
        wanted = None
    if wanted is None or request.requested is None:
        _close(context, request, (), "what it asks for is gone")
        return
    minutes = context.settings.config.ondemand_request_ttl
    if request.is_closed:
        _close(context, request, wanted, "")
    elif check_pending.mark_request_if_filled(context, request.id, wanted):
        return
    elif context.clock() - request.since > _lifetime(context):
        why = "".join(f": {text}" for text in _pauses_of(context.db, wanted))
        _close(context, request, wanted, f"not filled within {minutes:g} minutes{why}")
    else:
        lost = sum(fulfilment.refill(context.db, request.id, part) for part in wanted)
        if lost:
            name = _name(request)
            text = "[!] Request '%s' lost %d VMs: new clones are queued"
            _log.warning(text, name, lost, extra={"request": name})


def _close(context: PoolContext, request: Request, wanted: Sequence[Wanted], reason: str) -> None:
    status, completed = fulfilment.close(context.db, request.id, wanted, reason, context.keep_seconds)
    name = _name(request)
    if status is RequestStatus.FAILED and reason:
        _log.error("[!] Request '%s' has failed: %s", name, on_one_line(reason), extra={"request": name})
    for vm in map(on_one_line, completed):
        about = {"vm": vm, "request": name}
        _log.info("[!] '%s' moved to completed: request '%s' is %s", vm, name, status, extra=about)


def _name(request: Request) -> str:
    return on_one_line(readable(request.id))
