"""The keys of pools, VMs, requests, dead letters and health.

`vmpooler__` is the name space of VMPooler and the guide, `vmpooler_tasks__` is our own. Every key of Redis is in this
module, in `fleet_keys` (processes and people) or in `broker_keys`, once.

The docstring of a key starts with its type. A test compares them with the tables of keys in docs/architecture.md.
"""

import re
from typing import NamedTuple

from vmpooler_tasks.model.names import DeadLetterQueue, Queue

VMPOOLER_KEYS = b"vmpooler__*"
"""Pattern of all keys of VMPooler and the guide."""

VM_PREFIX = b"vmpooler__vm__"
"""Prefix of the keys that `vm` returns."""

POOLS = b"vmpooler__pools"
"""Set: names of the pools that a VMPooler has registered."""

POOL_SIZES = b"vmpooler__config__poolsize"
"""Hash: pool → size, set through VMPooler's API."""

POOL_TEMPLATES = b"vmpooler__config__template"
"""Hash: pool → template, set through VMPooler's API."""

POOL_CLONE_TARGETS = b"vmpooler__config__clone_target"
"""Hash: pool → clone target, set through VMPooler's API."""

PREPARED_TEMPLATES = b"vmpooler__template__prepared"
"""Hash: pool → template that its VMs are made from now. VMPooler's API compares it with the template in force."""

POOL_RESETS = b"vmpooler__poolreset"
"""Set: pools whose reset was requested through VMPooler's API."""

UNDO_SIZES = b"vmpooler__pool__undo_size_override"
"""Set: pools whose size from the API is to be removed again."""

UNDO_TEMPLATES = b"vmpooler__pool__undo_template_override"
"""Set: pools whose template from the API is to be removed again."""

ACTIVE_CLONES = b"vmpooler__tasks__clone"
"""Counter: clones in flight."""

ACTIVE_ONDEMAND_CLONES = b"vmpooler__tasks__ondemandclone"
"""Counter: clones in flight for on-demand requests."""

PENDING_ONDEMAND_CLONES = b"vmpooler__odcreate__task"
"""Sorted set: `alias:pool:count:request` → epoch; clones that are still to be started for requests."""

DISK_ORDERS = b"vmpooler__tasks__disk"
"""Set: `vm:size`; disks that users ordered through VMPooler's API."""

SNAPSHOT_ORDERS = b"vmpooler__tasks__snapshot"
"""Set: `vm:snapshot`; snapshots that users ordered through VMPooler's API."""

REVERT_ORDERS = b"vmpooler__tasks__snapshot-revert"
"""Set: `vm:snapshot`; reverts to snapshots that users ordered through VMPooler's API."""

WAITING_REQUESTS = b"vmpooler__provisioning__request"
"""Sorted set: request → epoch; requests that nobody has started to fulfil."""

PROCESSING_REQUESTS = b"vmpooler__provisioning__processing"
"""Sorted set: request → epoch; requests that are being fulfilled."""

OPEN_REQUESTS = (WAITING_REQUESTS, PROCESSING_REQUESTS)
"""The keys of both lists of open requests."""

LAST_BOOT = b"vmpooler__lastboot"
"""Hash: pool → time at which its last VM became ready."""

HEALTH = b"vmpooler__health"
"""Hash: the health status of the last check (docs/operator-guide.md)."""

OBSERVED_HEALTH = b"vmpooler_tasks__observed_health"
"""Hash: the health status with `observe_only`; its fields are those of `vmpooler__health`, which VMPooler writes."""

CONFIG = b"vmpooler__config"
"""Hash: option → its effective value, without secrets."""

COUNTERS = b"vmpooler_tasks__counters"
"""Hash: name of a counter → number. A counter is incremented in the same step as what it counts."""

FAILURES_PREFIX = COUNTERS + b"__failures__"
"""Prefix of a hash, followed by STEP: failures of five minutes, by `count:POOL` and `message:POOL`, the newest message.

deadletters/failure_index.lua appends the number of the step. The hash expires after 65 minutes."""

DEAD_LETTER_IDS = b"vmpooler_tasks__dead_letter_ids"
"""Sorted set: id → epoch; failures that have a dead letter already, so that a second report writes no second one."""

PURGE_LOCK = b"vmpooler_tasks__lock__purge"
"""String: `host:pid:…` of the process that purges now; expires a minute after its last renewal."""

WRONG_KEY_LOG = b"vmpooler_tasks__lock__wrong_key_log"
"""String: exists for a minute after a worker has logged a key of the wrong type, so that no other line follows."""

SET_ASIDE = b"vmpooler_tasks__set_aside"
"""Hash: key of ours that had a wrong type → epoch and that type; the key was renamed. Expires a day after the last."""

SET_ASIDE_PREFIX = SET_ASIDE + b"__"
"""Prefix of the keys that hold what was set aside, followed by the rest of the former name; kept for a day."""

PURGE_BATCH = b"vmpooler_tasks__purge_batch"
"""Set: a batch of orphans inside one script, which deletes it at its end."""

PURGE_STATE = b"vmpooler_tasks__purge"
"""Hash: `started`, `finished`, `failure`, `skipped_queues` of the last cycle."""

HEALTH_STATE = b"vmpooler_tasks__health"
"""Hash: what a check remembers: `last_check`, `purge_expected`, `empty_since`, …; `dlq_errors` is for the metrics."""

HEALTH_FACTS = b"vmpooler_tasks__health_facts"
"""Hash: digest of a configuration → JSON; the facts that the last check saw, for those who watch them for a day."""

HEALTH_WATCH = b"vmpooler_tasks__lock__health_watch"
"""String: the process that compares the facts now; expires after two seconds."""

HEALTH_CHECK_LOCK = b"vmpooler_tasks__lock__health"
"""String: `host:pid:…` of the process that checks health because a fact changed; kept five seconds longer."""

HEALTH_HISTORY = b"vmpooler_tasks__health_history"
"""Sorted set: JSON → epoch; the checks of a week, at most 10,080."""

NOTIFY_STATE = b"vmpooler_tasks__notify"
"""Hash: the `status` of which the targets know, `since`, `differs_since`, `reminded`; per target `last:TARGET`, …."""

NOTIFY_WATCH = b"vmpooler_tasks__lock__notify_watch"
"""String: a process compares the status with the one of which the targets know; expires after two seconds."""

NOTIFY_DUE = b"vmpooler_tasks__notify_due"
"""Sorted set: target → epoch of its next attempt, or until when a process sends to it."""

DESTROYS = b"vmpooler_tasks__destroys"
"""Sorted set: VM → epoch until which its destruction is leased or postponed."""

VM_ORDERS = b"vmpooler_tasks__vm_orders"
"""Sorted set: VM → epoch until which the order that a worker carries out for it is leased."""

VM_ORDERS_SENT = b"vmpooler_tasks__vm_orders_sent"
"""Sorted set: order → epoch until which its message to the workers is not sent again."""

VM_ORDERS_SEEN = b"vmpooler_tasks__vm_orders_seen"
"""Sorted set: order that waits → epoch at which it was first seen; health reads its age here."""

VM_ORDER_ORIGINS = b"vmpooler_tasks__vm_order_origins"
"""Hash: order that was redriven and waits → JSON; the dead letter that it comes from, until a worker claims it."""

FENCES = b"vmpooler_tasks__fences"
"""Counter: the last fence."""

PROGRESS = b"vmpooler_tasks__progress"
"""Hash: `clones`, `requests`, `inspection:POOL` → epoch of its last end; `since:…` and `error:…` of each of them."""

FORMER_TEMPLATES = b"vmpooler_tasks__templates"
"""Hash: pool → template of its last VMs, by an earlier version; copied to PREPARED_TEMPLATES and deleted."""

APPLIED_TEMPLATES = b"vmpooler_tasks__applied_templates"
"""Hash: pool → template override that was applied last; missing while the configured template is in force."""

APPLIED_CLONE_TARGETS = b"vmpooler_tasks__clone_targets"
"""Hash: pool → clone target of its last inspection ('' for none); a new one from the API drains the pool."""

OWN_BOOTS = b"vmpooler_tasks__own_boots"
"""Hash: pool → what these workers last wrote to `vmpooler__lastboot`; another time there is another manager's."""

MOVED = b"vmpooler_tasks__moved"
"""Hash: pool → epoch at which it last had all its VMs, or at which a clone of it started."""

PAUSED = b"vmpooler_tasks__paused"
"""Hash: pool → JSON of its pause: `state` (paused, draining), `since`, `who`, `why`."""

MANAGED_POOLS = b"vmpooler_tasks__managed_pools"
"""Hash: pool, also a removed one with VMs → JSON: `provider`, `size`, `template`, `clone_target`, `entry`, `since`."""

REMOVED_POOLS = b"vmpooler_tasks__removed_pools"
"""Hash: pool with VMs that is in no configuration → `SINCE SEEN`: the epochs at which that was seen first and last."""

KEPT_POOLS = b"vmpooler_tasks__kept_pools"
"""Hash: removed pool that its operator keeps → JSON: `since`, `who`, `why`."""

BRAKES = b"vmpooler_tasks__brakes"
"""Hash: pool → JSON of its brake: `since`, `strays`, `missing`, `limit`, …; engaged until `confirmed` is a number."""

UNCONFIGURED_VMS = b"vmpooler_tasks__unconfigured_vms"
"""Hash: `found PROVIDER` → JSON: `count`, `names`, `limit`; `confirmed PROVIDER` → number of VMs."""

FOREIGN_VMS = b"vmpooler_tasks__foreign_vms"
"""Hash: pool → JSON of the VMs in no queue without our mark: `count`, the first ten `names`, `since`."""

DNS_FAILURES = b"vmpooler_tasks__dns_failures"
"""Hash: `failures:ENTRY`, `error:ENTRY`, `error_at:ENTRY` of each entry of `:dns_configs:` that fails; for a day."""

INVENTORIES = b"vmpooler_tasks__inventories"
"""Hash: pool → `new` or `managed`, an id, and how many VMs its last inspection knew; nothing before the first one."""

REQUESTED_AT = b"vmpooler_tasks__requested_at"
"""Sorted set: request → epoch of its creation, for a month."""

MANAGER_WATCH = b"vmpooler_tasks__manager_watch"
"""Hash: what the watch for another pool manager has seen: `state`, `until`, `sightings`, `evidence`, ….

pools/watch_managers.lua lists the fields."""

FOREIGN_CLONES = b"vmpooler_tasks__foreign_clones"
"""Set: `VM clone-time`; pending VMs that another pool manager started, as the last check found them."""

REDRIVES = b"vmpooler_tasks__redrives"
"""Sorted set: run → epoch; the redrive runs of the last week."""

CLONES = b"vmpooler_tasks__clones"
"""Sorted set: VM → epoch until which its clone for a pool is leased."""

ONDEMAND_CLONES = b"vmpooler_tasks__ondemand_clones"
"""Sorted set: VM → epoch until which its clone for a request is leased."""

WORK_PREFIX = b"vmpooler_tasks__work__"
"""Prefix of the keys that `work` returns."""

VM_ORDER_PREFIX = b"vmpooler_tasks__vm_order__"
"""Prefix of the keys that `vm_order` returns."""


class Slots(NamedTuple):
    """The keys of clones in flight, of VMPooler's counter of them, and of the watch, which decides who writes that."""

    key: bytes
    counter: bytes
    watch: bytes = MANAGER_WATCH


POOL_SLOTS = Slots(CLONES, ACTIVE_CLONES)
REQUEST_SLOTS = Slots(ONDEMAND_CLONES, ACTIVE_ONDEMAND_CLONES)

_QUEUE = re.compile(rb"vmpooler__(" + b"|".join(q.encode() for q in Queue) + rb")__(.+)", re.DOTALL)


def is_queue(key: bytes) -> bool:
    """Return whether the key is one that `queue` returns."""
    return _QUEUE.fullmatch(key) is not None


def queue(name: Queue, pool: str) -> bytes:
    """Set: VMs of a pool."""
    return f"vmpooler__{name}__{pool}".encode()


def queues(pool: str) -> list[bytes]:
    """Return the keys of all queues of one pool."""
    return [queue(name, pool) for name in Queue]


def queues_of(pool: bytes) -> list[bytes]:
    """Return the keys of all queues of a pool whose name need not be UTF-8."""
    return [b"vmpooler__%b__%b" % (name.encode(), pool) for name in Queue]


def place_of(key: bytes) -> tuple[Queue, str] | None:
    """Return the queue and the pool of a key that `queue` returns; None for another key, and for no UTF-8."""
    found = _QUEUE.fullmatch(key)
    try:
        return (Queue(found[1].decode()), found[2].decode()) if found else None
    except UnicodeDecodeError:
        return None


def pool(name: str) -> bytes:
    """Hash: a pool's settings, as the pool manager registered them."""
    return f"vmpooler__pool__{name}".encode()


def vm(name: bytes) -> bytes:
    """Hash: a VM's metadata."""
    return VM_PREFIX + name


def dead_letters(name: DeadLetterQueue) -> bytes:
    """Sorted set: dead letter → epoch of the failure."""
    return f"vmpooler__dlq__{name}".encode()


def request(request_id: bytes) -> bytes:
    """Hash: an on-demand request."""
    return b"vmpooler__odrequest__" + request_id


def delivered(request_id: bytes, alias: str, pool: str) -> bytes:
    """Set: VMs delivered to a request from one pool, by the name that the user typed."""
    return b"vmpooler__%b__%b__%b" % (request_id, alias.encode(), pool.encode())


def active(pool: str) -> bytes:
    """Hash: running VM of a pool → time of its checkout."""
    return f"vmpooler__active__{pool}".encode()


def empty(pool: str) -> bytes:
    """String: VMPooler's flag of a pool without a ready VM."""
    return f"vmpooler__empty__{pool}".encode()


def statistics(what: str, day: str) -> bytes:
    """Hash: `pool:VM` → seconds. `what` is `boot` or `clone`, `day` as in 2024-01-15."""
    return f"vmpooler__{what}__{day}".encode()


def work(vm: bytes) -> bytes:
    """Hash: who works on a VM: `owner`, `fence`, `started`, `attempts`, `destroys`; and its lineage, if redriven."""
    return WORK_PREFIX + vm


def vm_order(vm: bytes) -> bytes:
    """Hash: the order that a worker carries out for a VM: `order`, `pool`, `id`, `attempts`, `fence`, `checkout`, …."""
    return VM_ORDER_PREFIX + vm


def breaker(provider: str) -> bytes:
    """Hash: a provider's breaker: `failures`, `inventories`, `checks`, `open_until`, `trial_until`, `pause`, ….

    `error` and `error_at` are its last failure, kept after a success. The key expires a day after the last failure.
    """
    return f"vmpooler_tasks__breaker__{provider}".encode()


def pool_breaker(pool: str) -> bytes:
    """Hash: the circuit breaker of a pool. `failures` counts permanent errors of clones, `transient` the others."""
    return f"vmpooler_tasks__pool_breaker__{pool}".encode()


def dns_records(pool: str) -> bytes:
    """Hash: VM of a pool → JSON; the DNS record that was made for it: `plugin`, `name`, `address`."""
    return f"vmpooler_tasks__dns_records__{pool}".encode()


def recycled(pool: str) -> bytes:
    """Sorted set: `VM`, line break, why it left ready unused → epoch; kept for half an hour."""
    return f"vmpooler_tasks__recycled__{pool}".encode()


def redrive(run: str) -> bytes:
    """Hash: a redrive run: state, position, total, a count for each outcome, and who started it."""
    return f"vmpooler_tasks__redrive__{run}".encode()


def redrive_dead_letters(run: str) -> bytes:
    """List: `queue`, line break, member; the dead letters of a run, frozen at its start."""
    return redrive(run) + b"__dead_letters"


def check_lock(pool: str) -> bytes:
    """String: the process that inspects the pool now."""
    return f"vmpooler_tasks__lock__check__{pool}".encode()


def notifications(target: str) -> bytes:
    """List: notifications that wait for one target, the oldest first; expires 25 hours after the last one."""
    return f"vmpooler_tasks__notifications__{target}".encode()


def turn(work: str, name: str) -> bytes:
    """String: this work (`marks`, `user_tags`, `unconfigured`) on a pool or provider was handed out; it expires."""
    return f"vmpooler_tasks__lock__{work}__{name}".encode()


def first_seen(queue: str, pool: str = "") -> bytes:
    """Sorted set: VM → epoch at which a stray, a foreign or missing VM, or an entry without a time was first seen."""
    return f"vmpooler_tasks__first_seen__{queue}__{pool}".encode()
