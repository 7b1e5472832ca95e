"""A lock for one process of all workers, which is released by itself when its owner no longer renews it; and turns."""

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import redis
from redis.lock import Lock

from vmpooler_tasks.errors import LockLostError, VmpoolerTasksError
from vmpooler_tasks.store.redis.connection import Database


class OwnedLock:
    """A lock. `what` names the work that ends if the lock is lost. It expires `seconds` after its last renewal."""

    def __init__(self, db: Database, key: bytes, seconds: float, what: str, owner: str | None = None) -> None:
        self._db, self._key, self._seconds, self._what = db, key, seconds, what
        self._owner = owner or f"{socket.gethostname()}:{os.getpid()}:{time.monotonic_ns():x}"
        self._lock = Lock(db.client, key.decode(), timeout=seconds, thread_local=False)
        self._renew_at = 0.0

    def acquire(self) -> bool:
        """Acquire the lock. Return False if another process has it."""
        self._renew_at = time.monotonic() + self._seconds / 4
        with self._db.translated_errors():
            return bool(self._lock.acquire(blocking=False, token=self._owner))

    def renew(self) -> None:
        """Renew the lock if a quarter of its time has passed. Do nothing for a lock that was never acquired.

        Raise LockLostError if another process has it now.
        """
        if not self._lock.local.token or time.monotonic() < self._renew_at:
            return
        self._renew_at = time.monotonic() + self._seconds / 4
        with self._db.translated_errors():
            try:
                self._lock.reacquire()
            except redis.exceptions.LockError as error:
                raise LockLostError(f"{self._what} lost its lock after a long delay, and ends here") from error

    def release(self) -> None:
        # Lost, or Redis is down: the lock expires by itself, and the error of the owner is the one to report.
        with suppress(redis.exceptions.LockError, VmpoolerTasksError), self._db.translated_errors():
            self._lock.release()

    def release_after(self, seconds: float) -> None:
        """Release the lock in so many seconds, and renew it no more. A lock that was lost stays with its new owner."""
        with suppress(redis.exceptions.LockError, VmpoolerTasksError), self._db.translated_errors():
            self._lock.extend(seconds, replace_ttl=True)

    def holder(self) -> str | None:
        """Return the present owner, as host:pid:…"""
        raw = self._db.call("GET", self._key)
        return None if raw is None else raw.decode("utf-8", errors="replace")


def take_turn(db: Database, key: bytes, seconds: float) -> bool:
    """Return True for one of all callers within so many seconds, also when Redis is out of memory."""
    return bool(db.run("redis/take_turn", [key], [int(seconds * 1000)]))


@contextmanager
def held(lock: OwnedLock) -> Iterator[bool]:
    """Yield True and keep the lock until the end of the block, or yield False if another process has it."""
    if not lock.acquire():
        yield False
        return
    try:
        yield True
    finally:
        lock.release()
