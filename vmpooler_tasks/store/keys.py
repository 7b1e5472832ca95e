"""Every key in Redis, once. `vmpooler__` is VMPooler's name space and the guide's, `vmpooler_tasks__` is our own."""

import re

from vmpooler_tasks.model.names import DeadLetterQueue, Queue

VM_PREFIX = b"vmpooler__vm__"
EVERYTHING = b"vmpooler__*"

POOLS = b"vmpooler__pools"
POOL_SIZES = b"vmpooler__config__poolsize"
ACTIVE_CLONES = b"vmpooler__tasks__clone"
ACTIVE_ONDEMAND_CLONES = b"vmpooler__tasks__ondemandclone"
PENDING_ONDEMAND_CLONES = b"vmpooler__odcreate__task"
WAITING_REQUESTS = b"vmpooler__provisioning__request"
PROCESSING_REQUESTS = b"vmpooler__provisioning__processing"
HEALTH = b"vmpooler__health"
CONFIG = b"vmpooler__config"

COUNTERS = b"vmpooler_tasks__counters"
DEAD_LETTER_IDS = b"vmpooler_tasks__dead_letter_ids"
PURGE_LOCK = b"vmpooler_tasks__lock__purge"
PURGE_BATCH = b"vmpooler_tasks__purge_batch"
PURGE_STATE = b"vmpooler_tasks__purge"
HEALTH_STATE = b"vmpooler_tasks__health"
HEALTH_HISTORY = b"vmpooler_tasks__health_history"
SCHEDULE = b"vmpooler_tasks__schedule"
BEATS = b"vmpooler_tasks__beats"
AUDIT = b"vmpooler_tasks__audit"

_QUEUE = re.compile(rb"vmpooler__(" + b"|".join(q.encode() for q in Queue) + rb")__(.+)", re.DOTALL)


def queue(name: Queue, pool: str) -> bytes:
    return f"vmpooler__{name}__{pool}".encode()


def queues(pool: str) -> list[bytes]:
    """All queues of one pool."""
    return [queue(name, pool) for name in Queue]


def is_queue(key: bytes) -> bool:
    return _QUEUE.fullmatch(key) is not None


def pool(name: str) -> bytes:
    """A pool's settings, as a VMPooler registered them."""
    return f"vmpooler__pool__{name}".encode()


def vm(name: bytes) -> bytes:
    return VM_PREFIX + name


def dead_letters(name: DeadLetterQueue) -> bytes:
    return f"vmpooler__dlq__{name}".encode()


def request(request_id: bytes) -> bytes:
    return b"vmpooler__odrequest__" + request_id


def first_seen(queue_name: str, pool: str = "") -> bytes:
    """When entries without a usable timestamp were first seen: zset name → epoch."""
    return f"vmpooler_tasks__first_seen__{queue_name}__{pool}".encode()
