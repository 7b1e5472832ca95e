"""A lock for one process of all workers, which is released by itself when its owner no longer renews it; and turns."""

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from vmpooler_tasks.errors import LockLostError, StoreUnavailableError, VmpoolerTasksError
from vmpooler_tasks.store.redis.connection import Database

LOCK_SECONDS = 12.0
"""A process that is killed or frozen while it has a lock keeps the others waiting for this long."""

RENEWALS = 4
"""Renewals in the time of one lock: three may fail."""

MAX_LOCKS_AHEAD = 10
"""The latest end of a lock, in multiples of its own time. No owner writes a later one."""

RELEASE_PAUSE_SECONDS = 0.25
"""The pause between two attempts to release a lock while Redis is out of reach."""


class OwnedLock:
    """A lock. `what` names the work that ends if the lock is lost. It expires `seconds` after its last renewal."""

    def __init__(
        self, db: Database, key: bytes, what: str, *, seconds: float = LOCK_SECONDS, owner: str | None = None
    ) -> None:
        self._db, self._key, self._seconds, self._what = db, key, seconds, what
        self._owner = owner or f"{socket.gethostname()}:{os.getpid()}:{time.monotonic_ns():x}"
        self._is_acquired = self._is_lost = False
        self._renew_at = self._expires_at = 0.0

    def acquire(self) -> bool:
        """Acquire the lock. Return False if another process has it."""
        now, milliseconds = time.monotonic(), int(self._seconds * 1000)
        limits = [milliseconds, milliseconds * MAX_LOCKS_AHEAD]
        self._is_acquired = bool(self._db.run("redis/acquire_lock", [self._key], [self._owner, *limits]))
        self._renew_at, self._expires_at = now + self._seconds / RENEWALS, now + self._seconds
        return self._is_acquired

    def renew(self) -> None:
        """Renew the lock if a quarter of its time has passed. Do nothing for a lock that was never acquired.

        Raise LockLostError if another process has it now.
        """
        if not self._is_acquired:
            return
        now = time.monotonic()
        if not self._is_lost and now >= self._renew_at:
            self._renew_at = now + self._seconds / RENEWALS
            self._is_lost = not self._extend(self._seconds)
            self._expires_at = now + self._seconds
        if self._is_lost:
            raise LockLostError(f"{self._what} lost its lock after a long delay, and ends here")

    def release(self) -> None:
        """Release the lock, unless it was lost. While Redis is out of reach, try again until the lock expires."""
        self._release(0)

    def release_after(self, seconds: float) -> None:
        """Release the lock after `seconds`, and renew it no more. A lock that was lost stays with its new owner."""
        self._release(seconds)

    def holder(self) -> str | None:
        """Return the present owner, as host:pid:…"""
        raw = self._db.call("GET", self._key)
        return None if raw is None else raw.decode("utf-8", errors="replace")

    @contextmanager
    def renewed(self) -> Iterator[None]:
        """Renew the lock in a thread until the end of the block."""
        with repeated(self.renew, self._seconds / RENEWALS):
            yield

    def _release(self, seconds: float) -> None:
        is_acquired, self._is_acquired = self._is_acquired, False
        while is_acquired:
            try:
                self._extend(seconds)
            except StoreUnavailableError:
                if time.monotonic() >= self._expires_at:
                    return  # it has expired by itself
                time.sleep(RELEASE_PAUSE_SECONDS)
            except VmpoolerTasksError:
                return  # Redis refuses it: the lock expires by itself, and the error of the owner is the one to report
            else:
                return

    def _extend(self, seconds: float) -> bool:
        return bool(self._db.run("redis/extend_lock", [self._key], [self._owner, int(seconds * 1000)]))


@contextmanager
def repeated(renew: Callable[[], object], interval: float) -> Iterator[None]:
    """Call `renew` in a thread at this interval until the end of the block. Redis may be out of reach for a while."""
    ended = threading.Event()

    def run() -> None:
        while not ended.wait(interval):
            try:
                renew()
            except LockLostError:
                return  # the work learns of it when it renews the lock itself
            except VmpoolerTasksError:
                continue

    thread = threading.Thread(target=run, name="lock-renewal", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def take_turn(db: Database, key: bytes, seconds: float) -> bool:
    """Return True for the first caller within `seconds`, also when Redis is out of memory. Return False for others."""
    return bool(db.run("redis/take_turn", [key], [int(seconds * 1000)]))


@contextmanager
def held(lock: OwnedLock) -> Iterator[bool]:
    """Yield True and keep the lock until the end of the block, or yield False if another process has it."""
    if not lock.acquire():
        yield False
        return
    try:
        with lock.renewed():
            yield True
    finally:
        lock.release()
