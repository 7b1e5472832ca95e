"""The type of every key with a fixed name, of pools and of providers, and which keys in Redis have another type.

A test compares the table with the docstrings in `keys`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

import redis

from vmpooler_tasks.model.names import readable
from vmpooler_tasks.store import broker_keys, keys
from vmpooler_tasks.store.redis.connection import Database

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


_NAMES = {**{str(one): f"a {one}" for one in KeyType}, str(KeyType.SORTED_SET): "a sorted set"}
"""Types by their name in Redis, as a text shows them."""

_KEYS_OF = {
    KeyType.STRING: (
        *(keys.ACTIVE_CLONES, keys.ACTIVE_ONDEMAND_CLONES, keys.FENCES),
        *(keys.PURGE_LOCK, keys.WRONG_KEY_LOG, keys.HEALTH_WATCH, keys.HEALTH_CHECK_LOCK, keys.NOTIFY_WATCH),
    ),
    KeyType.HASH: (
        *(keys.POOL_SIZES, keys.POOL_TEMPLATES, keys.POOL_CLONE_TARGETS, keys.LAST_BOOT, keys.HEALTH, keys.CONFIG),
        *(keys.COUNTERS, keys.PURGE_STATE, keys.HEALTH_STATE, keys.SCHEDULE, keys.HEARTBEATS, keys.OWN_BOOTS),
        *(keys.PREPARED_TEMPLATES, keys.FORMER_TEMPLATES, keys.APPLIED_TEMPLATES, keys.APPLIED_CLONE_TARGETS),
        *(
            keys.PROGRESS,
            keys.PAUSED,
            keys.MANAGED_POOLS,
            keys.REMOVED_POOLS,
            keys.KEPT_POOLS,
            keys.BRAKES,
            keys.INVENTORIES,
            keys.MOVED,
            keys.DELIVERIES,
            broker_keys.UNACKNOWLEDGED,
            broker_keys.UNACKNOWLEDGED_HOLDERS,
            keys.NOTIFY_STATE,
            keys.OBSERVED_HEALTH,
            keys.HEALTH_FACTS,
            keys.VM_ORDER_ORIGINS,
            keys.MANAGER_WATCH,
        ),
    ),
    KeyType.SET: (
        *(keys.POOLS, keys.POOL_RESETS, keys.UNDO_SIZES, keys.UNDO_TEMPLATES, keys.PURGE_BATCH),
        *(keys.DISK_ORDERS, keys.SNAPSHOT_ORDERS, keys.REVERT_ORDERS),
        keys.FOREIGN_CLONES,
    ),
    KeyType.SORTED_SET: (
        *(keys.PENDING_ONDEMAND_CLONES, keys.WAITING_REQUESTS, keys.PROCESSING_REQUESTS, keys.DEAD_LETTER_IDS),
        *(keys.HEALTH_HISTORY, keys.HEARTBEAT_TIMES, keys.DESTROYS, keys.REQUESTED_AT, keys.REDRIVES, keys.CLONES),
        *(
            keys.ONDEMAND_CLONES,
            keys.NOTIFY_DUE,
            keys.VM_ORDERS,
            keys.VM_ORDERS_SENT,
            keys.VM_ORDERS_SEEN,
            broker_keys.LIVE_HOLDERS,
        ),
    ),
    KeyType.STREAM: (keys.AUDIT,),
}

FIXED_KEYS: Mapping[bytes, KeyType] = {key: kind for kind, names in _KEYS_OF.items() for key in names}
"""Every key with a fixed name, VMPooler's and our own."""


def typed_keys(pools: Iterable[str], providers: Iterable[str]) -> dict[bytes, KeyType]:
    """Return every key whose name is known beforehand, with its type."""
    found = dict(FIXED_KEYS)
    for pool in pools:
        found |= dict.fromkeys(keys.queues(pool), KeyType.SET)
        found |= dict.fromkeys((keys.pool(pool), keys.active(pool), keys.pool_breaker(pool)), KeyType.HASH)
        found |= dict.fromkeys((keys.empty(pool), keys.check_lock(pool)), KeyType.STRING)
    return found | {keys.breaker(provider): KeyType.HASH for provider in providers}


@dataclass(frozen=True, slots=True)
class WrongKey:
    """A key of another type than it must have."""

    key: bytes
    found: str
    expected: KeyType

    @property
    def is_own(self) -> bool:
        return self.key.startswith(OWN_KEYS_PREFIX)

    @property
    def mismatch(self) -> str:
        """Return what is wrong in words: `a string, not a sorted set`."""
        return f"{_NAMES.get(self.found, self.found)}, not {_NAMES[self.expected]}"

    def __str__(self) -> str:
        return f"{readable(self.key)} is {self.mismatch}"


def find_wrong_keys(db: Database, expected: Mapping[bytes, KeyType]) -> list[WrongKey]:
    """Return the keys that exist with another type, in one round trip. Keys that may not be read are left out."""
    with db.translated_errors():
        pipe = db.client.pipeline(transaction=False)
        for key in expected:
            pipe.type(key)
        replies = pipe.execute(raise_on_error=False)
    found = []
    for (key, kind), reply in zip(expected.items(), replies, strict=True):
        if not isinstance(reply, redis.ResponseError) and (name := reply.decode()) not in ("none", kind):
            found.append(WrongKey(key, name, kind))
    return found
