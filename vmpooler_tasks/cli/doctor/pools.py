"""Checks of the pools, of their VMs and of the keys that hold them."""

from collections.abc import Iterator
from contextlib import suppress

from vmpooler_tasks.cli.doctor.findings import (
    CONFIRM,
    FAIL,
    KEYS,
    OK,
    POOL_BRAKES,
    QUEUES_OF_POOLS,
    REMOVED_POOL,
    SHOW_HEALTH,
    USER_ORDERS,
    WARN,
    Findings,
    own_broker,
)
from vmpooler_tasks.cli.shared.output import age
from vmpooler_tasks.config import Settings
from vmpooler_tasks.errors import VmpoolerTasksError, WrongTypeError
from vmpooler_tasks.jobs.health.changes import read_watched
from vmpooler_tasks.jobs.health.double_queues import find_all_double_queued
from vmpooler_tasks.jobs.health.server import Finding
from vmpooler_tasks.jobs.health.work_facts import ORDERS_WAIT_SECONDS
from vmpooler_tasks.jobs.inspection.roster import find_removed
from vmpooler_tasks.model.health.assessment import dns_reasons, foreign_reasons, recycled_reasons
from vmpooler_tasks.model.health.explanation import explain
from vmpooler_tasks.model.names import listed, on_one_line, readable, shell_word
from vmpooler_tasks.store import Database
from vmpooler_tasks.store.guards.brakes import read_brakes
from vmpooler_tasks.store.guards.managed_pools import read_managed_names
from vmpooler_tasks.store.guards.unconfigured import read_unconfigured
from vmpooler_tasks.store.key_types import typed_keys
from vmpooler_tasks.store.orders import vm_orders
from vmpooler_tasks.store.redis.wrong_keys import find_own_wrong_keys, find_wrong_keys, read_set_aside
from vmpooler_tasks.store.vmpooler.queues import pool_names

MAX_VMS_SHOWN = 10
"""VMs in the same two queues that a finding names."""


def find_wrong_types(settings: Settings, db: Database) -> Iterator[Finding]:
    """Return a finding for each key of the wrong type, and for each of ours that was set aside within a day."""
    pools = [pool.name for pool in settings.pools]
    with suppress(WrongTypeError):
        pools = pools or pool_names(db)
    with suppress(VmpoolerTasksError):  # of Redis itself: every later check reports it
        found = find_wrong_keys(db, typed_keys(pools, settings.providers))
        known = {wrong.key for wrong in found}
        for wrong in (*found, *(wrong for wrong in find_own_wrong_keys(db) if wrong.key not in known)):
            rename = f'redis-cli -u "$REDIS_URL" RENAME {shell_word(readable(wrong.key))} NEW_NAME'
            yield Finding(FAIL, KEYS, on_one_line(str(wrong)), f"find out which program wrote it, then: {rename}")
        for one in read_set_aside(db):
            since = age(db.clock() - one.at)
            was = f"{readable(one.key)} was {one.mismatch}, {since} ago: work goes on with a new key"
            remedy_text = f"find out which program wrote it; it is kept for a day as {readable(one.copy)}"
            yield Finding(WARN, KEYS, on_one_line(was), on_one_line(remedy_text))


def find_removed_pools(settings: Settings, db: Database) -> Iterator[Finding]:
    """Return a finding for each pool with VMs that left the configuration."""
    with suppress(VmpoolerTasksError):  # of Redis itself: every later check reports it
        for state in find_removed(db, settings):
            name = on_one_line(state.name)
            found = f"{name} is in no configuration, {state.counts_text}: {state.fate(settings.drain_rules)}"
            keep = (
                f", or keep it: vmpooler-tasks pools keep {shell_word(state.name)}"
                if settings.config.manage_pools
                else ""
            )
            yield Finding(WARN, REMOVED_POOL, found, f"put it back{keep}")


def find_double_queued_vms(settings: Settings, db: Database) -> Iterator[Finding]:
    """Return a finding for the VMs in each two queues of the pools that are configured, registered or recorded."""
    is_repaired = "the next inspection of the pool repairs it"
    fix = is_repaired if settings.config.manage_pools else "see the runbook of vm_in_two_queues"
    with suppress(VmpoolerTasksError):  # of Redis itself, or a key of the wrong type: other findings report it
        pools = {*(pool.name for pool in settings.pools), *pool_names(db), *read_managed_names(db)}
        for group in find_all_double_queued(db, sorted(pools)):
            vms = listed(group.vms, MAX_VMS_SHOWN)
            found = f"{len(group.vms)} VMs are in {' and '.join(group.queues)} at once: {vms}"
            yield Finding(FAIL, QUEUES_OF_POOLS, on_one_line(found), fix)


def find_watched_pools(settings: Settings, db: Database) -> Iterator[Finding]:
    """Return a finding for each pool whose ready VMs are replaced repeatedly, foreign VMs, and DNS that fails."""
    with suppress(VmpoolerTasksError):  # of Redis itself or of the broker: every later check reports it
        now = db.clock()
        watched = read_watched(db, settings, now, own_broker(settings))
        for reason in recycled_reasons(watched.recycled):
            yield Finding(WARN, "recycled pool", *explain(reason, now))
        for reason in foreign_reasons(watched.foreign):
            yield Finding(WARN, "foreign VMs", *explain(reason, now))
        for reason in dns_reasons(watched.failing_dns):
            yield Finding(WARN, "DNS records", *explain(reason, now))
        for one in read_unconfigured(db, settings.purging_providers).values():
            yield Finding(WARN, "VMs of no pool", on_one_line(one.text), one.remedy)


def check_orders(settings: Settings, db: Database, earlier: Findings) -> Finding:
    """Return whether orders of users wait, and since when."""
    del earlier
    waiting = vm_orders.read_waiting_since(db, db.clock())
    if not waiting:
        return Finding(OK, USER_ORDERS, "no order of a user for a VM waits")
    found = ", ".join(f"{one.count} in {readable(one.key)} for {age(one.seconds)}" for one in waiting)
    if max(one.seconds for one in waiting) <= ORDERS_WAIT_SECONDS:
        return Finding(OK, USER_ORDERS, found)
    who = (
        "workers for vmpooler.clone and vmpooler.maintenance" if settings.config.manage_pools else "VMPooler's manager"
    )
    return Finding(WARN, USER_ORDERS, f"{found}: nobody carries them out", f"start {who}; see {SHOW_HEALTH}")


def check_brakes(settings: Settings, db: Database, earlier: Findings) -> Finding:
    """Return the pools whose brake is engaged."""
    del earlier
    if not settings.config.manage_pools:
        return Finding(OK, POOL_BRAKES, "switched off (manage_pools)")
    engaged = [one for _, one in sorted(read_brakes(db).items()) if one.is_engaged]
    if not engaged:
        return Finding(OK, POOL_BRAKES, "none is engaged")
    found = "; ".join(f"{one.pool}: {one.counts_text}" for one in engaged)
    return Finding(WARN, POOL_BRAKES, on_one_line(f"engaged for {found}"), f"see the cause first, then {CONFIRM}")
