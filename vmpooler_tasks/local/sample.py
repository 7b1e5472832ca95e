"""A realistic VMPooler database, so that the first cycle of `vmpooler-tasks run` has something to do."""

import json
import random
from collections.abc import Sequence

from vmpooler_tasks.model.names import DeadLetterQueue, Queue
from vmpooler_tasks.model.pools.lifecycle import HOUR
from vmpooler_tasks.model.timestamps import iso_utc, moment, ruby_utc
from vmpooler_tasks.store import Database, keys

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

ERRORS = (
    ("StandardError", "template centos-7-template does not exist"),
    ("RuntimeError", "failed to obtain IP after 120.00 seconds"),
    ("RbVmomi::Fault", "permission denied: VirtualMachine.Provisioning.Clone"),
)


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
    for _ in range(8):
        entry, score = _dead_letter(names.pop(), dice.choice(pools), now - dice.randint(HOUR, 3 * DAY), dice)
        pipe.zadd(keys.dead_letters(DeadLetterQueue.CLONE).decode(), {entry: score})
    with db.translated_errors():
        pipe.execute()


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


def _dead_letter(vm: str, pool: str, failed: float, dice: random.Random) -> tuple[str, int]:
    """Return a dead letter in VMPooler's own form, which these workers read, too, and its epoch."""
    error_class, message = dice.choice(ERRORS)
    entry = {
        "vm": vm,
        "pool": pool,
        "queue_from": "clone",
        "error_class": error_class,
        "error_message": message,
        "failed_at": iso_utc(failed).replace("Z", "+00:00"),
        "retry_count": dice.randint(0, 3),
        "request_id": f"req-{dice.randint(100, 999)}",
    }
    return f"{vm}:{int(failed)}:{json.dumps(entry, separators=(',', ':'))}", int(failed)
