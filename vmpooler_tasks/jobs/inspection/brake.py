"""The guard of an inspection: what it would complete as unknown or as missing, and whether that is too much.

See docs/reliability.md, The brake.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vmpooler_tasks.config import Pool
from vmpooler_tasks.jobs.ownership.marks import PoolInventory
from vmpooler_tasks.jobs.ownership.unqueued import find_unqueued
from vmpooler_tasks.jobs.pools.context import PoolContext
from vmpooler_tasks.model.guards.brake import BrakeCounts, BrakeDecision
from vmpooler_tasks.model.names import NameSet, Queue, listed, on_one_line, readable
from vmpooler_tasks.model.pools.lifecycle import Fields, has_timed_out
from vmpooler_tasks.store.guards import brakes
from vmpooler_tasks.store.guards.brakes import BrakeOutcome
from vmpooler_tasks.store.guards.missing import MISSING
from vmpooler_tasks.store.pools import clones, vms
from vmpooler_tasks.store.pools.views import PoolView
from vmpooler_tasks.store.redis.chunks import chunks
from vmpooler_tasks.store.vmpooler import queues

MAX_UNRECORDED_NAMES = 10
"""Names in a line of the log."""

_log = logging.getLogger("vmpooler_tasks.pools")


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """An inventory, and the pool's queues from before and after it was read.

    `mark` is that of `brakes.start_inventory`, from before anything was read.
    """

    mark: str
    before: PoolView
    after: PoolView
    inventory: PoolInventory


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknowns:
    """What an inspection may act on: `strays` of the inventory, and queued VMs that are `gone` from it.

    `foreign`: VMs of the inventory that are in no queue and do not have the mark of this installation; None if that is
    not known.
    """

    strays: Sequence[bytes] = ()
    gone: frozenset[bytes] = frozenset()
    foreign: frozenset[bytes] | None = None


def apply_brake(context: PoolContext, pool: Pool, found: Comparison, *, is_removed: bool = False) -> Unknowns:
    """Engage, keep or release the brake of the pool. Return the strays and the missing VMs.

    While the brake is engaged, `gone` has only VMs whose destruction has started. Strays are held by the script that
    would discover them. A stray of the inventory without metadata engages the brake, unless the pool `is_removed`: then
    nothing of its inventory is discovered. Foreign VMs do not count. A VM that is gone and has left a DNS record is a
    stray, too: its destruction deletes the record.
    """
    candidates = found.inventory.names | context.dns.read_recorded(pool)
    unqueued = find_unqueued(context, pool, candidates, found.before, found.after)
    foreign = None if unqueued is None else (unqueued & found.inventory.names) - found.inventory.own
    strays = sorted((unqueued or frozenset()).difference(foreign or ()))
    missing = _find_missing(context, pool, found)
    discovered = found.after.queues[Queue.DISCOVERED]
    counted = [_read_undestroyed(context, names) for names in (strays, sorted(discovered), missing)]
    unrecorded = frozenset() if is_removed else _find_unrecorded(found, {**counted[0], **counted[1]})
    inventory = found.inventory.names.difference(foreign or ())
    known = max(len(inventory), len(frozenset().union(*found.after.queues.values())))
    counts = BrakeCounts(
        strays=len(counted[0]),
        discovered=len(counted[1]),
        missing=len(counted[2]),
        known=known,
        unrecorded=len(unrecorded),
    )
    max_percent = context.settings.config.destroy_max_percent
    outcome = brakes.apply(context.db, pool.name, found.mark, counts, max_percent=max_percent, now=context.clock())
    _log_outcome(pool.name, outcome, sorted(unrecorded))
    if outcome.decision is BrakeDecision.EMPTIED:
        return Unknowns()
    _remember_missing(context, pool.name, list(counted[2]))
    is_held = not outcome.decision.allows
    gone = frozenset(missing).difference(counted[2] if is_held else ())
    return Unknowns(strays=strays, gone=gone, foreign=foreign)


def _find_missing(context: PoolContext, pool: Pool, found: Comparison) -> list[bytes]:
    """Return the VMs that would be completed or removed because the inventory lacks them.

    They are running and ready VMs, and pending ones that timed out after their clone had ended. A VM that came into its
    queue while the inventory was read may be newer than the inventory.
    """
    before, after = found.before.queues, found.after.queues
    in_use = (before[Queue.READY] | before[Queue.RUNNING]) & (after[Queue.READY] | after[Queue.RUNNING])
    waiting = sorted((before[Queue.PENDING] & after[Queue.PENDING]) - found.inventory.names)
    cloning = clones.in_flight(context.db) if waiting else set()
    limits, now = context.limits(pool), context.clock()
    rows = zip(waiting, vms.read_metadata(context.db, waiting), strict=True)
    late = [
        vm for vm, fields in rows if vm not in cloning and fields["clone_time"] and has_timed_out(fields, limits, now)
    ]
    return sorted({*(in_use - found.inventory.names), *late})


def _find_unrecorded(found: Comparison, candidates: Mapping[bytes, Fields]) -> frozenset[bytes]:
    """Return those of these VMs that the inventory has and whose metadata is gone.

    A clone writes metadata in the step that starts it. So Redis has lost writes, in a failover for example, and a user
    may have such a VM.
    """
    return found.inventory.names.intersection(vm for vm, fields in candidates.items() if not any(fields.values()))


def _read_undestroyed(context: PoolContext, names: Sequence[bytes]) -> dict[bytes, Fields]:
    """Return the VMs whose destruction has not started, each with its metadata."""
    rows = zip(names, vms.read_metadata(context.db, names), strict=True)
    return {vm: fields for vm, fields in rows if not fields["destroy"]}


def _remember_missing(context: PoolContext, pool: str, missing: Sequence[bytes]) -> None:
    """Remember the missing VMs, and no others: single checks are counted together with them."""
    queues.forget_others(context.db, MISSING, pool, NameSet(missing))
    for page in chunks(missing):
        queues.remember_first_seen(context.db, MISSING, pool, page, now=context.clock()).read()


def _log_outcome(pool: str, outcome: BrakeOutcome, unrecorded: Sequence[bytes]) -> None:
    about = {"pool": pool}
    match outcome.decision, outcome.brake:
        case BrakeDecision.ENGAGED_NOW, brake if brake:
            text = (
                "[!] [%s] The brake is engaged: nothing is completed as unknown or as missing. VMs: %s. If they"
                " shall be destroyed, release it with `vmpooler-tasks pools confirm %s`"
            )
            _log.error(text, pool, brake.counts_text, pool, extra=about)
            if unrecorded:
                shown = on_one_line(listed([readable(vm) for vm in unrecorded], MAX_UNRECORDED_NAMES))
                _log.error("[!] [%s] Redis has no metadata of %s: it has lost writes", pool, shown, extra=about)
        case BrakeDecision.RELEASED, _:
            _log.info("[*] [%s] The brake is released: its cause is gone", pool, extra=about)
        case BrakeDecision.EMPTIED, _:
            text = "[!] [%s] Redis was emptied during this inspection: it completes nothing as unknown or as missing"
            _log.warning(text, pool, extra=about)
