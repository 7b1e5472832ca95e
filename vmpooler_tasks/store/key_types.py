"""The type of every key of this project, and of VMPooler's keys with a fixed name, of pools and of providers.

A test compares the tables with the docstrings in `keys`. `redis/wrong_keys` finds the keys that have another type.
"""

import re
from collections.abc import Iterable, Mapping
from enum import StrEnum

from vmpooler_tasks.model.names import WORK_QUEUES
from vmpooler_tasks.store import broker_keys, fleet_keys, keys

OWN_KEYS_PREFIX = b"vmpooler_tasks__"
"""All of our own keys start with it."""


class KeyType(StrEnum):
    """A type of a key, as Redis's TYPE returns it."""

    STRING = "string"
    HASH = "hash"
    SET = "set"
    SORTED_SET = "zset"
    STREAM = "stream"
    LIST = "list"


_KEYS_OF = {
    KeyType.STRING: (
        keys.ACTIVE_CLONES,
        keys.ACTIVE_ONDEMAND_CLONES,
        keys.FENCES,
        keys.PURGE_LOCK,
        keys.WRONG_KEY_LOG,
        keys.HEALTH_WATCH,
        keys.HEALTH_CHECK_LOCK,
        keys.NOTIFY_WATCH,
    ),
    KeyType.HASH: (
        keys.POOL_SIZES,
        keys.POOL_TEMPLATES,
        keys.POOL_CLONE_TARGETS,
        keys.LAST_BOOT,
        keys.HEALTH,
        keys.CONFIG,
        keys.COUNTERS,
        keys.SET_ASIDE,
        keys.PURGE_STATE,
        keys.HEALTH_STATE,
        fleet_keys.SCHEDULE,
        fleet_keys.HEARTBEATS,
        keys.OWN_BOOTS,
        keys.PREPARED_TEMPLATES,
        keys.FORMER_TEMPLATES,
        keys.APPLIED_TEMPLATES,
        keys.APPLIED_CLONE_TARGETS,
        keys.PROGRESS,
        keys.PAUSED,
        keys.MANAGED_POOLS,
        keys.REMOVED_POOLS,
        keys.KEPT_POOLS,
        keys.BRAKES,
        keys.FOREIGN_VMS,
        keys.DNS_FAILURES,
        keys.UNCONFIGURED_VMS,
        keys.INVENTORIES,
        keys.MOVED,
        fleet_keys.DELIVERIES,
        broker_keys.UNACKNOWLEDGED,
        broker_keys.UNACKNOWLEDGED_HOLDERS,
        keys.NOTIFY_STATE,
        keys.OBSERVED_HEALTH,
        keys.HEALTH_FACTS,
        keys.VM_ORDER_ORIGINS,
        keys.MANAGER_WATCH,
    ),
    KeyType.SET: (
        keys.POOLS,
        keys.POOL_RESETS,
        keys.UNDO_SIZES,
        keys.UNDO_TEMPLATES,
        keys.PURGE_BATCH,
        keys.DISK_ORDERS,
        keys.SNAPSHOT_ORDERS,
        keys.REVERT_ORDERS,
        keys.FOREIGN_CLONES,
        broker_keys.BINDINGS,
    ),
    KeyType.SORTED_SET: (
        keys.PENDING_ONDEMAND_CLONES,
        keys.WAITING_REQUESTS,
        keys.PROCESSING_REQUESTS,
        keys.DEAD_LETTER_IDS,
        keys.HEALTH_HISTORY,
        fleet_keys.HEARTBEAT_TIMES,
        keys.DESTROYS,
        keys.REQUESTED_AT,
        keys.REDRIVES,
        keys.CLONES,
        keys.ONDEMAND_CLONES,
        keys.NOTIFY_DUE,
        keys.VM_ORDERS,
        keys.VM_ORDERS_SENT,
        keys.VM_ORDERS_SEEN,
        broker_keys.LIVE_HOLDERS,
    ),
    KeyType.STREAM: (fleet_keys.AUDIT,),
}

FIXED_KEYS: Mapping[bytes, KeyType] = {key: kind for kind, names in _KEYS_OF.items() for key in names}
"""Every key with a fixed name, VMPooler's and our own."""

OWN_FAMILIES: Mapping[str, KeyType] = {
    "breaker": KeyType.HASH,
    "counters": KeyType.HASH,
    "dns_records": KeyType.HASH,
    "dummy": KeyType.HASH,
    "first_seen": KeyType.SORTED_SET,
    "known_login": KeyType.STRING,
    "lock": KeyType.STRING,
    "login_failures": KeyType.STRING,
    "notifications": KeyType.LIST,
    "pool_breaker": KeyType.HASH,
    "pool_list": KeyType.SET,
    "recycled": KeyType.SORTED_SET,
    "redrive": KeyType.HASH,
    "session": KeyType.HASH,
    "vm_order": KeyType.HASH,
    "work": KeyType.HASH,
}
"""First word of our own keys whose names have variable parts → type: `work` of `vmpooler_tasks__work__VM`.

A key of FIXED_KEYS, and one that a pattern of OWN_PATTERNS matches, has the type there.
"""

OWN_PATTERNS: Mapping[str, KeyType] = {"^dummy__calls:": KeyType.STRING, "^redrive__.*__dead_letters": KeyType.LIST}
"""Pattern of our own keys → type, where it differs from their family's. It means the same to Python and to Lua."""


def own_key_type(key: bytes) -> KeyType | None:
    """Return the type that one of our own keys must have; None for a key that is unknown, or not ours."""
    if not key.startswith(OWN_KEYS_PREFIX):
        return None
    if key in FIXED_KEYS:
        return FIXED_KEYS[key]
    name = key.removeprefix(OWN_KEYS_PREFIX).decode(errors="replace")
    family, separator, _ = name.partition("__")
    if not separator:
        return None
    matched = (kind for pattern, kind in OWN_PATTERNS.items() if re.search(pattern, name, re.DOTALL))
    return next(matched, OWN_FAMILIES.get(family))


def typed_keys(pools: Iterable[str], providers: Iterable[str]) -> dict[bytes, KeyType]:
    """Return every key whose name is known beforehand, with its type."""
    lists = (key for queue in WORK_QUEUES for key in broker_keys.messages(queue))
    found = {**FIXED_KEYS, **dict.fromkeys(lists, KeyType.LIST)}
    for pool in pools:
        found |= dict.fromkeys(keys.queues(pool), KeyType.SET)
        found |= dict.fromkeys((keys.pool(pool), keys.active(pool), keys.pool_breaker(pool)), KeyType.HASH)
        found |= dict.fromkeys((keys.empty(pool), keys.check_lock(pool)), KeyType.STRING)
    return found | {keys.breaker(provider): KeyType.HASH for provider in providers}
