"""The dummy's VMs, in Redis: one inventory for all workers, as a hypervisor's is.

Without lost VMs each method costs one command. Every method raises TransientProviderError if Redis does not answer.
"""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
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

MOST_CONNECTIONS = 10_000
"""A connection for each thread that asks at once. redis-py's own limit is 100, and what is above it fails."""

COUNT_TTL_SECONDS = 24 * 3600
"""How long the calls for a VM are counted on after the last: names are used once, their counts must not pile up."""


class Inventory:
    """Safe to share between threads."""

    def __init__(self, redis_url: str) -> None:
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
                max_connections=MOST_CONNECTIONS,
                client_name="vmpooler-tasks-dummy",
            )
        except ValueError:
            # What is no address is taken apart wrongly, and redis-py's error shows a part of the password.
            raise ValueError("the address of Redis is none") from None

    def count_call(self, operation: str, pool: str, name: str) -> int:
        """1 for the first such call. `name` is the VM's, or the pool's again."""
        key = f"{PREFIX}calls:{operation}:{pool}:{name}"
        with _translated_errors():
            pipe = self._redis.pipeline(transaction=False)
            pipe.incr(key)
            pipe.expire(key, COUNT_TTL_SECONDS)
            ordinal: int = pipe.execute()[0]
        return ordinal

    def names(self, pool: str) -> list[str]:
        """Lost ones included."""
        with _translated_errors():
            found: list[str] = self._redis.hkeys(PREFIX + pool)
        return found

    def present(self, pool: str, now: float) -> list[str]:
        """The names without those that are lost, for which every record has to be read."""
        with _translated_errors():
            records = self._redis.hgetall(PREFIX + pool)
        return [vm for vm, record in records.items() if not Machine.from_json(record).is_lost(now)]

    def get(self, pool: str, vm: str, now: float) -> Machine | None:
        machine = _read(self._record(pool, vm))
        return None if machine is None or machine.is_lost(now) else machine

    def add(self, pool: str, vm: str, machine: Machine, now: float) -> Machine:
        """The machine of this name: the one that is there already, or else this one, which then is there."""
        while not self._put(pool, vm, machine):
            record = self._record(pool, vm)
            there = _read(record)
            if there is not None and not there.is_lost(now):
                return there
            if record is not None:
                self._forget(pool, vm, record)
        return machine

    def remove(self, pool: str, vm: str) -> bool:
        """Whether it was there, or was lost."""
        with _translated_errors():
            return bool(self._redis.hdel(PREFIX + pool, vm))

    def remove_present(self, pool: str, vm: str, now: float) -> bool:
        """Whether it was there and not lost, for which its record has to be read."""
        with _translated_errors():
            pipe = self._redis.pipeline(transaction=True)
            pipe.hget(PREFIX + pool, vm)
            pipe.hdel(PREFIX + pool, vm)
            machine = _read(pipe.execute()[0])
        return machine is not None and not machine.is_lost(now)

    def close(self) -> None:
        self._redis.close()

    def _put(self, pool: str, vm: str, machine: Machine) -> bool:
        with _translated_errors():
            return bool(self._redis.hsetnx(PREFIX + pool, vm, machine.to_json()))

    def _record(self, pool: str, vm: str) -> str | None:
        with _translated_errors():
            record: str | None = self._redis.hget(PREFIX + pool, vm)
        return record

    def _forget(self, pool: str, vm: str, record: str) -> None:
        with _translated_errors():
            self._redis.eval(_forget_script(), 1, PREFIX + pool, vm, record)


@cache
def _forget_script() -> str:
    return resources.files(__package__).joinpath("forget.lua").read_text(encoding="utf-8")


def _read(record: str | None) -> Machine | None:
    return None if record is None else Machine.from_json(record)


@contextmanager
def _translated_errors() -> Iterator[None]:
    try:
        yield
    except redis.RedisError as error:
        raise TransientProviderError(f"the dummy's Redis: {error}") from error
