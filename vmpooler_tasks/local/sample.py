"""A realistic VMPooler database, so that the first cycle of `vmpooler-tasks run` has something to do."""

import random
from collections.abc import Mapping, Sequence
from itertools import cycle, islice
from typing import Any

from vmpooler_tasks.model.deadletters.entry import DeadLetter, RequestOrigin, dead_letter_id, failed_vm
from vmpooler_tasks.model.names import DeadLetterQueue, Queue
from vmpooler_tasks.model.pools.lifecycle import HOUR
from vmpooler_tasks.model.timestamps import iso_utc, moment, ruby_utc
from vmpooler_tasks.store import Database, keys
from vmpooler_tasks.store.deadletters.push import push
from vmpooler_tasks.store.deadletters.trim import DeadLetterLimits
from vmpooler_tasks.tasks.registry import HEALTH_CHECK, PURGE

ADJECTIVES = "brave calm eager fancy gentle happy jolly kind lively misty nice proud rusty sad silly witty"
NOUNS = "badger cat dog elephant falcon gecko heron ibis jackal koala llama otter panther raven tiger zebra"

DAY = 24 * HOUR

# (queue, number in each pool, seconds of age: from, to). Every second line is beyond the guide's thresholds.
STATE = (
    (Queue.PENDING, 4, 20, 10 * 60),
    (Queue.PENDING, 2, 3 * HOUR, 9 * HOUR),
    (Queue.READY, 8, 5 * 60, 12 * HOUR),
    (Queue.READY, 2, 25 * HOUR, 60 * HOUR),
    (Queue.RUNNING, 3, 10 * 60, 8 * HOUR),
    (Queue.COMPLETED, 2, 60, 40 * 60),
    (Queue.COMPLETED, 1, 2 * HOUR, 5 * HOUR),
)
ORPHANS = 5
ONDEMAND_SHARE = 0.4

FAILED_CLONES = 8

FAILED_REQUEST = "req-abc123"
"""The request of the guide's scenarios. Its dead letters are in `clone` and in `pending`."""

ERRORS = (
    ("StandardError", "template centos-7-template does not exist"),
    ("RuntimeError", "failed to obtain IP after 120.00 seconds"),
    ("RbVmomi::Fault", "permission denied: VirtualMachine.Provisioning.Clone"),
)
TIMEOUT = ("Timeout", "VM did not become ready within 15 minutes: timeout")

FAILED_TASKS: Sequence[tuple[str, Mapping[str, Any], str, str]] = (
    (HEALTH_CHECK, {}, "StoreUnavailableError", "Redis does not reply: Connection refused"),
    (PURGE, {"queues": ["completed"]}, "StoreUnavailableError", "Redis does not reply: Connection refused"),
    (PURGE, {"pools": ["centos-6-x86_64"]}, "InvalidInputError", "The input is not valid: no pool 'centos-6-x86_64'"),
)
"""(task, arguments, class of error, error). Run again, the last one fails again, because there is no such pool."""

LIMITS = DeadLetterLimits(ttl_seconds=7 * DAY, max_entries=10_000)


def fill(db: Database, pools: Sequence[str], now: float, seed: int = 7, *, queues: bool = True) -> None:
    """Fill an empty database. `now` is an epoch. Without `queues` no VM is in a queue."""
    dice = random.Random(seed)  # noqa: S311 - sample data
    names = [f"pooler-{adjective}-{noun}" for adjective in ADJECTIVES.split() for noun in NOUNS.split()]
    dice.shuffle(names)
    pipe = db.client.pipeline(transaction=False)
    for pool in pools:
        pipe.sadd(keys.POOLS.decode(), pool)
        for queue, count, youngest, oldest in STATE if queues else ():
            for _ in range(count):
                vm = names.pop()
                pipe.sadd(keys.queue(queue, pool).decode(), vm)
                metadata = _metadata(queue, pool, now - dice.randint(youngest, oldest), dice)
                pipe.hset(keys.vm(vm.encode()).decode(), mapping=metadata)
    for _ in range(ORPHANS):
        vm, age = names.pop(), dice.randint(2 * DAY, 9 * DAY)
        pipe.hset(
            keys.vm(vm.encode()).decode(),
            mapping=_metadata(Queue.PENDING, dice.choice(pools), now - age, dice),
        )
    with db.translated_errors():
        pipe.execute()
    _add_dead_letters(db, pools, names, now, dice)


def _metadata(queue: Queue, pool: str, since: float, dice: random.Random) -> dict[str, str]:
    stamp = ruby_utc(moment(since)).decode()
    earlier = ruby_utc(moment(since - 5 * 60)).decode()
    data = {"clone": earlier, "template": pool, "pool": pool, "domain": "example.com"}
    match queue:
        case Queue.PENDING:
            data["clone"] = stamp
            if dice.random() < ONDEMAND_SHARE:
                data |= {"request_id": f"req-{dice.randint(100, 999)}", "pool_alias": pool.split("-", maxsplit=1)[0]}
        case Queue.READY:
            data |= {
                "ready": stamp,
                "clone_time": "42.10",
                "ip": f"10.0.{dice.randint(0, 9)}.{dice.randint(2, 250)}",
            }
        case Queue.RUNNING:
            data |= {"ready": earlier, "checkout": stamp, "lifetime": "12"}
        case _:
            data |= {"ready": earlier, "checkout": earlier, "destroy": stamp}
    return data


def _add_dead_letters(db: Database, pools: Sequence[str], names: list[str], now: float, dice: random.Random) -> None:
    """Add failed VMs, the failed request of the guide's scenarios, and failed tasks that can be run again."""
    for error in islice(cycle(ERRORS), FAILED_CLONES):
        failed = now - dice.randint(HOUR, 3 * DAY)
        origin = RequestOrigin(retry_count=dice.randint(0, 3))
        _add_failed_vm(db, DeadLetterQueue.CLONE, names.pop(), dice.choice(pools), error, failed, origin)
    alias = pools[0].split("-x86", maxsplit=1)[0]
    origin = RequestOrigin(request_id=FAILED_REQUEST.encode(), pool_alias=alias.encode(), retry_count=3)
    for queue, error in ((DeadLetterQueue.CLONE, ERRORS[0]), (DeadLetterQueue.PENDING, TIMEOUT)):
        _add_failed_vm(db, queue, names.pop(), pools[0], error, now - HOUR, origin)
    db.call(
        "HSET",
        keys.request(FAILED_REQUEST.encode()),
        *("requested", f"{alias}:{pools[0]}:1"),
        *("status", "failed"),
        *("failure_reason", ERRORS[0][1]),
    )
    for task, kwargs, error_class, message in FAILED_TASKS:
        _add_failed_task(db, task, kwargs, error_class, message, now - 2 * HOUR)


def _add_failed_vm(
    db: Database,
    queue: DeadLetterQueue,
    vm: str,
    pool: str,
    error: tuple[str, str],
    failed: float,
    origin: RequestOrigin,
) -> None:
    dead_letter = failed_vm(
        queue=queue,
        vm=vm.encode(),
        pool=pool,
        error_class=error[0],
        error_message=error[1],
        now=failed,
        identity=vm.encode(),
        origin=origin,
    )
    push(db, queue, dead_letter, now=failed, limits=LIMITS)


def _add_failed_task(
    db: Database, task: str, kwargs: Mapping[str, Any], error_class: str, message: str, failed: float
) -> None:
    task_id = dead_letter_id("sample", task, str(kwargs))
    dead_letter = DeadLetter(
        queue_from=DeadLetterQueue.TASKS,
        error_class=error_class,
        error_message=message,
        failed_at=iso_utc(failed),
        id=dead_letter_id(DeadLetterQueue.TASKS, task_id),
        task=task,
        task_id=task_id,
        args=[],
        kwargs=dict(kwargs),
    )
    push(db, DeadLetterQueue.TASKS, dead_letter, now=failed, limits=LIMITS)
