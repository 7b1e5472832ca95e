"""A lock for each VM: two calls about the same VM do not disturb each other."""

import threading
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

from vmpooler_tasks.errors import TransientProviderError


class VmLocks:
    """Locks by name. One exists while somebody has it or waits for it."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._users: Counter[str] = Counter()

    @contextmanager
    def hold(self, vm: str, seconds: float) -> Iterator[None]:
        """Hold the lock of the VM. Raise TransientProviderError if another call keeps it longer than this."""
        with self._guard:
            lock = self._locks[vm]
            self._users[vm] += 1
        try:
            if not lock.acquire(timeout=seconds):
                raise TransientProviderError(f"another call about the VM did not end within {seconds:g} seconds")
            try:
                yield
            finally:
                lock.release()
        finally:
            with self._guard:
                self._users[vm] -= 1
                if not self._users[vm]:
                    del self._users[vm], self._locks[vm]
