"""`purge_unconfigured_resources`: VMs with the mark of this installation whose pool is in no configuration.

See docs/pools.md, VMs of no pool.
"""

import logging
from collections.abc import Iterator, Sequence
from typing import Any

from vmpooler_tasks.errors import ConfigurationError
from vmpooler_tasks.jobs.pools.context import PoolContext
from vmpooler_tasks.jobs.pools.provider_calls import DESTROY_SECONDS, DNS_SECONDS, LIST_SECONDS, call_within
from vmpooler_tasks.model.guards.brake import MIN_HELD
from vmpooler_tasks.model.guards.foreign import MAX_FOREIGN_NAMES
from vmpooler_tasks.model.guards.unconfigured import UnconfiguredVms
from vmpooler_tasks.model.names import NameSet, on_one_line
from vmpooler_tasks.providers import MarkedVm, MarkingProvider
from vmpooler_tasks.store import keys
from vmpooler_tasks.store.dns import records
from vmpooler_tasks.store.fleet.heartbeats import read_fleet_with_pools
from vmpooler_tasks.store.guards import strays, unconfigured
from vmpooler_tasks.store.guards.managed_pools import read_managed_names
from vmpooler_tasks.store.pools import breakers
from vmpooler_tasks.store.redis.chunks import chunks
from vmpooler_tasks.store.redis.locks import take_turn
from vmpooler_tasks.store.vmpooler import queues

_log = logging.getLogger("vmpooler_tasks.pools")

ROUND_SECONDS = 600.0
"""A round of each provider, in which its VMs are listed, starts so often. A VM is destroyed if two rounds found it."""

MAX_DESTROYED = 20
"""VMs that one round destroys; the next one destroys more."""

ALLOW_LISTS = ("resources_allowlist", "folder_whitelist")
"""The option, and its older name."""


def due_rounds(context: PoolContext) -> list[str]:
    """Return the providers whose round is due, and start their next interval.

    Forget what earlier rounds found, and what was confirmed, of providers where the purge is switched off now.
    """
    switched_on = context.settings.purging_providers
    for name in unconfigured.forget_others(context.db, switched_on):
        text = "[*] [%s] purge_unconfigured_resources is switched off: its VMs of no pool are no longer recorded"
        _log.info(text, on_one_line(name))
    return [name for name in switched_on if take_turn(context.db, keys.turn("unconfigured", name), ROUND_SECONDS)]


def run(context: PoolContext, name: str) -> str:
    """List the unconfigured VMs of the provider, record and log them. Destroy them if an operator has confirmed it.

    Return what was done. Raise the provider's error if the VMs cannot be listed.
    """
    if name not in context.settings.purging_providers:
        return "switched off"
    try:
        provider: object = context.provider(name)
    except ConfigurationError as error:  # of a section that no pool uses: nobody has tried it before
        return on_one_line(f"the provider cannot be loaded: {error}")
    if not isinstance(provider, MarkingProvider):
        return "the provider cannot mark VMs"
    if breakers.read_state(context.db, name, "").refuses_calls(context.clock()):
        return "the provider is suspended"
    marked = call_within(LIST_SECONDS, provider.list_marked)
    found = _find_unconfigured(context, name, marked)
    if found is None:
        return "nobody knows all pools"
    limit = max(MIN_HELD, int(len(marked) * context.settings.config.destroy_max_percent / 100))
    shown = tuple(f"{one.name} ({one.pool})" for one in found[:MAX_FOREIGN_NAMES])
    confirmed = unconfigured.read_confirmed(context.db, name)
    if confirmed is not None and len(found) < confirmed:  # what is left of the confirmed ones; others need a new one
        confirmed = len(found)
        unconfigured.confirm(context.db, name, confirmed)
    record = UnconfiguredVms(provider=name, count=len(found), names=shown, limit=limit, confirmed=confirmed)
    unconfigured.record(context.db, record)
    if found:
        _log.warning("[!] [%s] %s; %s", name, on_one_line(record.text), record.remedy)
    old = _seen_before(context, name, found)
    destroyed = [] if record.is_held else _destroy_some(context, provider, name, old[:MAX_DESTROYED])
    return f"{len(found)} VMs found, {len(destroyed)} destroyed"


def _find_unconfigured(context: PoolContext, provider: str, marked: Sequence[MarkedVm]) -> list[MarkedVm] | None:
    """Return the VMs whose pool no live process has, that are in no queue, and that no allow list names.

    A pool that left the configuration counts as configured while its VMs are drained. Return None if the pools of a
    live process are not known, or if a queue cannot be read.
    """
    fleet = read_fleet_with_pools(context.db)
    if not fleet.knows_all_pools:
        return None
    configured = {pool.name for pool in context.settings.pools} | fleet.pools | set(read_managed_names(context.db))
    section = context.settings.providers.get(provider) or {}
    allowed = {entry for option in ALLOW_LISTS for entry in _entries(section.get(option))}
    found = {
        one.name: one
        for one in marked
        if one.pool not in configured and not {one.name.casefold(), one.pool.casefold()} & allowed
    }
    own_queues = [key for pool in sorted({one.pool for one in found.values()}) for key in keys.queues_of(pool.encode())]
    all_queues = [*strays.other_queues(context.db, "", configured), *own_queues]
    unqueued = strays.find_unqueued(context.db, [name.encode() for name in found], all_queues)
    return None if unqueued is None else [found[name.decode()] for name in sorted(unqueued)]


def _entries(given: Any) -> Iterator[str]:
    """Yield the entries of an allow list in lower case: a list, or one text with commas."""
    if given is None:
        return
    for entry in given if isinstance(given, list | tuple) else str(given).split(","):
        yield str(entry).strip().casefold()


def _seen_before(context: PoolContext, provider: str, found: Sequence[MarkedVm]) -> list[MarkedVm]:
    """Return those that an earlier round found, too. Remember all."""
    now, names = context.clock(), [one.name.encode() for one in found]
    queues.forget_others(context.db, "unconfigured", provider, NameSet(names))
    since: list[float | None] = []
    for page in chunks(names):
        since += queues.remember_first_seen(context.db, "unconfigured", provider, page, now=now).read()
    half = ROUND_SECONDS / 2
    return [one for one, at in zip(found, since, strict=True) if at is not None and now - at >= half]


def _destroy_some(
    context: PoolContext, provider: MarkingProvider, name: str, old: Sequence[MarkedVm]
) -> list[MarkedVm]:
    """Destroy the VMs with their DNS records. Return those that existed.

    A record is deleted first. If DNS fails, nothing more is destroyed in this round: no queue has the VM, so nobody
    would know later that its record is still to be deleted.
    """
    destroyed: list[MarkedVm] = []
    for one in old:
        try:
            noted = call_within(DNS_SECONDS, context.dns.delete_unconfigured, one.pool, one.name)
        except Exception as error:  # noqa: BLE001 - whatever a DNS plugin raises, the next round tries again
            _log_failure(name, one, error)
            break
        if _destroy(provider, name, one):
            destroyed.append(one)
        if noted:
            records.forget_unchanged(context.db, one.name, one.pool, noted)
    return destroyed


def _log_failure(name: str, one: MarkedVm, error: Exception) -> None:
    about = {"vm": on_one_line(one.name), "pool": on_one_line(one.pool)}
    text = "[!] [%s] '%s' of no configured pool was not destroyed: %s"
    _log.error(text, name, about["vm"], on_one_line(str(error)), extra=about)


def _destroy(provider: MarkingProvider, name: str, one: MarkedVm) -> bool:
    """Destroy the VM. A failure is logged: the next round tries again."""
    about = {"vm": on_one_line(one.name), "pool": on_one_line(one.pool)}
    try:
        existed: bool = call_within(DESTROY_SECONDS, provider.destroy_marked, one)
    except Exception as error:  # noqa: BLE001 - whatever a provider raises, the other VMs are destroyed
        _log_failure(name, one, error)
        return False
    if existed:
        text = "[-] [%s] '%s' destroyed: its pool '%s' is in no configuration"
        _log.info(text, name, about["vm"], about["pool"], extra=about)
    return existed
