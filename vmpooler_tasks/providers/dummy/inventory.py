"""The VMs of the dummy, in Redis: one inventory for all workers, like that of a hypervisor.

Without lost VMs each method costs one round trip. Every method raises TransientProviderError if Redis does not reply.
"""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from functools import cache
from importlib import resources
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from vmpooler_tasks.errors import TransientProviderError
from vmpooler_tasks.providers.dummy.machine import Machine
from vmpooler_tasks.redis_client import client_for

PREFIX = "vmpooler_tasks__dummy__"

CONNECT_TIMEOUT = 3.0
REPLY_TIMEOUT = 5.0

MAX_CONNECTIONS = 10_000
"""One connection for each thread. redis-py's own limit is 100, and calls above it fail."""

PARTS_PREFIX = f"{PREFIX}parts:"
"""Prefix of the key of a VM's disks and snapshots, followed by POOL:VM."""

MARKS_PREFIX = f"{PREFIX}marks:"
"""Prefix of the key of a pool's marks, followed by the pool: VM → mark. A VM whose maker had no name is not in it."""

NO_MARK = "-"
"""Stands in the marks for a VM that somebody else made, without a mark. No installation can have this name."""

COUNT_TTL_SECONDS = 24 * 3600
"""How long the counter of a VM's calls is kept after the last call. Names are used once, so old counters expire."""


class MachinePart(StrEnum):
    """What a machine may have."""

    DISK = "disk"
    """Its value is the size in gigabytes."""

    SNAPSHOT = "snapshot"
    """Its value is the epoch at which it was made."""

    REVERTS = "reverts"
    """How often a revert to the snapshot of this name was started."""

    USER = "user"
    """The tag of its user. A machine has one at most."""


class MachineStore:
    """The inventory. Threads may share it. Marks are kept only if it `has_marks`: without them calls cost less."""

    def __init__(self, redis_url: str, *, has_marks: bool = False) -> None:
        self._has_marks = has_marks
        try:
            # Any: what redis-py's types say of replies depends on options that they do not know.
            self._redis: Any = client_for(
                redis_url,
                decode_responses=True,
                socket_connect_timeout=CONNECT_TIMEOUT,
                socket_timeout=REPLY_TIMEOUT,
                socket_keepalive=True,
                health_check_interval=30,
                # Once, for a connection that the server closed while idle. Every command here may be repeated.
                retry=Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError, socket.gaierror)),
                max_connections=MAX_CONNECTIONS,
                client_name="vmpooler-tasks-dummy",
            )
        except ValueError:
            # redis-py parses a wrong address wrongly, and its error shows a part of the password.
            raise ValueError("the address of Redis is not valid") from None

    def count_call(self, operation: str, pool: str, name: str) -> int:
        """Count a call and return its number, from 1. `name` is that of the VM, or again that of the pool."""
        key = f"{PREFIX}calls:{operation}:{pool}:{name}"
        with _translated_errors():
            pipe = self._redis.pipeline(transaction=False)
            pipe.incr(key)
            pipe.expire(key, COUNT_TTL_SECONDS)
            ordinal: int = pipe.execute()[0]
        return ordinal

    def read_time(self) -> float:
        """Return the server's time in seconds since the epoch: one provider has one clock, whoever calls it."""
        with _translated_errors():
            seconds, micros = self._redis.time()
        return int(seconds) + int(micros) / 1e6

    def names(self, pool: str) -> list[str]:
        """Return the names of all VMs, including lost ones."""
        with _translated_errors():
            found: list[str] = self._redis.hkeys(PREFIX + pool)
        return found

    def present(self, pool: str, now: float) -> list[str]:
        """Return the names without lost VMs. This reads every record."""
        with _translated_errors():
            records = self._redis.hgetall(PREFIX + pool)
        return [vm for vm, record in records.items() if not Machine.from_json(record).is_lost(now)]

    def marks(self, pool: str) -> dict[str, str]:
        """Return what the marks say of each VM that is in them; nothing without marks."""
        if not self._has_marks:
            return {}
        with _translated_errors():
            found: dict[str, str] = self._redis.hgetall(MARKS_PREFIX + pool)
        return found

    def get_mark(self, pool: str, vm: str) -> str | None:
        """Return what the marks say of a VM; None if it is not in them."""
        with _translated_errors():
            mark: str | None = self._redis.hget(MARKS_PREFIX + pool, vm)
        return mark

    def set_mark(self, pool: str, vm: str, mark: str) -> None:
        with _translated_errors():
            self._redis.hset(MARKS_PREFIX + pool, vm, mark)

    def marked_pools(self) -> list[str]:
        """Return all pools with marks, sorted. This walks the keyspace."""
        with _translated_errors():
            found = {key.removeprefix(MARKS_PREFIX) for key in self._redis.scan_iter(MARKS_PREFIX + "*", count=1000)}
        return sorted(found)

    def get(self, pool: str, vm: str, now: float) -> Machine | None:
        machine = _read(self._record(pool, vm))
        return None if machine is None or machine.is_lost(now) else machine

    def add(self, pool: str, vm: str, machine: Machine, now: float, mark: str = "") -> Machine:
        """Return the existing machine of this name, or add this one with its mark and return it."""
        while not self._put(pool, vm, machine, mark):
            record = self._record(pool, vm)
            found = _read(record)
            if found is not None and not found.is_lost(now):
                return found
            if record is not None:
                self._forget(pool, vm, record)
        return machine

    def remove(self, pool: str, vm: str) -> bool:
        """Delete the machine and its parts. Return whether it existed, lost or not."""
        with _translated_errors():
            pipe = self._redis.pipeline(transaction=False)
            pipe.hdel(PREFIX + pool, vm)
            self._delete_beside(pipe, pool, vm)
            return bool(pipe.execute()[0])

    def remove_present(self, pool: str, vm: str, now: float) -> bool:
        """Delete the machine. Return whether it existed and was not lost, which needs its record."""
        with _translated_errors():
            pipe = self._redis.pipeline(transaction=True)
            pipe.hget(PREFIX + pool, vm)
            pipe.hdel(PREFIX + pool, vm)
            self._delete_beside(pipe, pool, vm)
            machine = _read(pipe.execute()[0])
        return machine is not None and not machine.is_lost(now)

    def has_part(self, pool: str, vm: str, part: MachinePart, name: str) -> bool:
        with _translated_errors():
            return bool(self._redis.hexists(_parts(pool, vm), f"{part}:{name}"))

    def add_part(self, pool: str, vm: str, part: MachinePart, name: str, value: float) -> None:
        with _translated_errors():
            self._redis.hset(_parts(pool, vm), f"{part}:{name}", value)

    def count_revert(self, pool: str, vm: str, snapshot: str) -> None:
        with _translated_errors():
            self._redis.hincrby(_parts(pool, vm), f"{MachinePart.REVERTS}:{snapshot}", 1)

    def set_user(self, pool: str, vm: str, user: str) -> None:
        with _translated_errors():
            self._redis.hset(_parts(pool, vm), MachinePart.USER, user)

    def get_user(self, pool: str, vm: str) -> str | None:
        """Return the tag of the VM's user; None if it has none."""
        with _translated_errors():
            user: str | None = self._redis.hget(_parts(pool, vm), MachinePart.USER)
        return user

    def close(self) -> None:
        self._redis.close()

    def _delete_beside(self, pipe: Any, pool: str, vm: str) -> None:
        """Delete what is kept of a machine beside its record."""
        pipe.delete(_parts(pool, vm))
        if self._has_marks:
            pipe.hdel(MARKS_PREFIX + pool, vm)

    def _put(self, pool: str, vm: str, machine: Machine, mark: str) -> bool:
        with _translated_errors():
            if not self._has_marks:
                return bool(self._redis.hsetnx(PREFIX + pool, vm, machine.to_json()))
            keys = (PREFIX + pool, MARKS_PREFIX + pool)
            return bool(self._redis.eval(_script("add"), len(keys), *keys, vm, machine.to_json(), mark))

    def _record(self, pool: str, vm: str) -> str | None:
        with _translated_errors():
            record: str | None = self._redis.hget(PREFIX + pool, vm)
        return record

    def _forget(self, pool: str, vm: str, record: str) -> None:
        with _translated_errors():
            self._redis.eval(_script("forget"), 1, PREFIX + pool, vm, record)


def _parts(pool: str, vm: str) -> str:
    return f"{PARTS_PREFIX}{pool}:{vm}"


@cache
def _script(name: str) -> str:
    return resources.files(__package__).joinpath(f"{name}.lua").read_text(encoding="utf-8")


def _read(record: str | None) -> Machine | None:
    return None if record is None else Machine.from_json(record)


@contextmanager
def _translated_errors() -> Iterator[None]:
    try:
        yield
    except redis.RedisError as error:
        raise TransientProviderError(f"the dummy's Redis: {error}") from error
