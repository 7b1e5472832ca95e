"""Every key in Redis, once. `vmpooler__` is VMPooler's name space and the guide's, `vmpooler_tasks__` is our own."""

import re
from typing import NamedTuple

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
FAILURES_PREFIX = COUNTERS + b"__failures__"
"""Hash of one step of five minutes (count:<pool>, message:<pool>); `deadletters/failure_index.lua` adds its number."""
DEAD_LETTER_IDS = b"vmpooler_tasks__dead_letter_ids"
PURGE_LOCK = b"vmpooler_tasks__lock__purge"
PURGE_BATCH = b"vmpooler_tasks__purge_batch"
PURGE_STATE = b"vmpooler_tasks__purge"
HEALTH_STATE = b"vmpooler_tasks__health"
HEALTH_HISTORY = b"vmpooler_tasks__health_history"
SCHEDULE = b"vmpooler_tasks__schedule"
BEATS = b"vmpooler_tasks__beats"
WORKERS = b"vmpooler_tasks__workers"
AUDIT = b"vmpooler_tasks__audit"
DESTROYS = b"vmpooler_tasks__destroys"
FENCES = b"vmpooler_tasks__fences"
TEMPLATES = b"vmpooler_tasks__templates"
DELIVERIES = b"vmpooler_tasks__deliveries"
WORK_PREFIX = b"vmpooler_tasks__work__"

REQUESTED_AT = b"vmpooler_tasks__requested_at"
OTHER_MANAGER = b"vmpooler_tasks__other_manager"
REDRIVES = b"vmpooler_tasks__redrives"

POOL_TEMPLATES = b"vmpooler__config__template"
POOL_CLONE_TARGETS = b"vmpooler__config__clone_target"
POOL_RESETS = b"vmpooler__poolreset"
UNDO_SIZES = b"vmpooler__pool__undo_size_override"
UNDO_TEMPLATES = b"vmpooler__pool__undo_template_override"
LAST_BOOT = b"vmpooler__lastboot"

UNACKNOWLEDGED = b"unacked"
"""kombu's hash of the messages that workers hold."""

_PRIORITIES = (b"", b"\x06\x163", b"\x06\x166", b"\x06\x169")
"""kombu keeps a list for each step of priority. Only the tasks know kombu: a test compares these with it."""


class Slots(NamedTuple):
    """Clones in flight: a zset VM → epoch until which its clone is leased, and VMPooler's counter of them."""

    key: bytes
    counter: bytes


POOL_SLOTS = Slots(b"vmpooler_tasks__clones", ACTIVE_CLONES)
REQUEST_SLOTS = Slots(b"vmpooler_tasks__ondemand_clones", ACTIVE_ONDEMAND_CLONES)

_QUEUE = re.compile(rb"vmpooler__(" + b"|".join(q.encode() for q in Queue) + rb")__(.+)", re.DOTALL)


def queue(name: Queue, pool: str) -> bytes:
    return f"vmpooler__{name}__{pool}".encode()


def queues(pool: str) -> list[bytes]:
    """All queues of one pool."""
    return [queue(name, pool) for name in Queue]


def is_queue(key: bytes) -> bool:
    return _QUEUE.fullmatch(key) is not None


def pool(name: str) -> bytes:
    """A pool's settings, as the pool manager registered them."""
    return f"vmpooler__pool__{name}".encode()


def vm(name: bytes) -> bytes:
    return VM_PREFIX + name


def dead_letters(name: DeadLetterQueue) -> bytes:
    return f"vmpooler__dlq__{name}".encode()


def request(request_id: bytes) -> bytes:
    return b"vmpooler__odrequest__" + request_id


def delivered(request_id: bytes, alias: str, pool: str) -> bytes:
    """The VMs delivered to a request from one pool, by the name that the user typed."""
    return b"vmpooler__%b__%b__%b" % (request_id, alias.encode(), pool.encode())


def active(pool: str) -> bytes:
    """The running VMs of a pool: hash VM → time of its checkout."""
    return f"vmpooler__active__{pool}".encode()


def empty(pool: str) -> bytes:
    """VMPooler's flag of a pool without a ready VM."""
    return f"vmpooler__empty__{pool}".encode()


def statistics(what: str, day: str) -> bytes:
    """`boot` or `clone`: hash pool:VM → seconds; `day` as 2024-01-15."""
    return f"vmpooler__{what}__{day}".encode()


def messages(queue: str) -> list[bytes]:
    """The lists of one of Celery's queues."""
    return [queue.encode() + priority for priority in _PRIORITIES]


def work(vm: bytes) -> bytes:
    """Who works on a VM: hash owner, fence, attempts, destroys; and its lineage, if it was redriven."""
    return WORK_PREFIX + vm


def breaker(provider: str) -> bytes:
    """The circuit breaker of a provider: hash failures, inventories, checks, open_until, trial_until, pause."""
    return f"vmpooler_tasks__breaker__{provider}".encode()


def redrive(run: str) -> bytes:
    """A run of redrives: hash state, position, total, a count for each outcome, and who ordered what."""
    return f"vmpooler_tasks__redrive__{run}".encode()


def redrive_dead_letters(run: str) -> bytes:
    """The dead letters of a run as they were at its start: a list of `queue`, line break, member."""
    return redrive(run) + b"__dead_letters"


def pool_breaker(pool: str) -> bytes:
    """The circuit breaker of a pool: it counts clones that failed with permanent errors."""
    return f"vmpooler_tasks__pool_breaker__{pool}".encode()


def check_lock(pool: str) -> bytes:
    """Held during an inspection of a pool."""
    return f"vmpooler_tasks__lock__check__{pool}".encode()


def session(digest: str) -> bytes:
    """Somebody who is logged in to the web pages: hash user, proof, csrf."""
    return f"vmpooler_tasks__session__{digest}".encode()


def first_seen(queue_name: str, pool: str = "") -> bytes:
    """When entries without a usable timestamp were first seen: zset name → epoch."""
    return f"vmpooler_tasks__first_seen__{queue_name}__{pool}".encode()
