"""Outages of Redis in the log of a process: one line when an outage starts, and one when it ends."""

import logging
import math
import os
import threading
import time
from collections.abc import Callable

from vmpooler_tasks.model.names import on_one_line

LOGGER = "vmpooler_tasks.outages"

_log = logging.getLogger(LOGGER)

SETTLE_SECONDS = 10.0
"""For so long after an outage, connections from before it still fail, each once."""


class OutageLog:
    """The outages that last, by the address of the Redis that does not reply.

    A process that ends with the first error says nothing here: only after `announce` are there lines.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._known: set[str] = set()
        # By the monotonic clock: when the outage started, when the last one ended, when the last connection was made.
        self._lasting: dict[str, float] = {}
        self._ended: dict[str, float] = {}
        self._connected: dict[str, float] = {}
        self._start: str | None = None
        self._announcer = 0
        self._lock = threading.Lock()

    @property
    def is_lasting(self) -> bool:
        """Return True while a Redis of this process does not reply."""
        return bool(self._lasting)

    @property
    def has_ended(self) -> bool:
        """Return True if an outage has ended in this process."""
        return bool(self._ended)

    @property
    def is_announcing(self) -> bool:
        """Return True if this process logs the start and the end of outages."""
        return self._start is not None

    def announce(self, start: str = "") -> None:
        """Log outages from now on. `start` starts the line of one whose Redis has replied to this process before."""
        self._start, self._announcer = start, os.getpid()

    def silence(self) -> None:
        """Log no outage any more if this process is the child of one that logs it. Change nothing in that one."""
        if self._announcer != os.getpid():
            self._start, self._lock = None, threading.Lock()  # the parent's may be locked for ever

    def note_failure(self, address: str, error: str, *, is_lost: bool = False) -> None:
        """Log that an outage starts, unless one lasts at this address. `error` names the address and the reason.

        Just after an outage, only a connection that `is_lost` and was made after it starts another.
        """
        with self._lock:
            ended = self._ended.get(address, -math.inf)
            is_new = is_lost and self._connected.get(address, -math.inf) >= ended
            is_late = not is_new and self._monotonic() - ended < SETTLE_SECONDS
            if address in self._lasting or is_late:
                return
            self._lasting[address] = self._monotonic()
            if self._start is not None:
                start = self._start if address in self._known else ""
                what = on_one_line(error).rstrip(".")
                _log.error("[!] [redis] %s%s. This process tries again until it does", start, what)

    def note_connected(self, address: str) -> None:
        """Log that an outage at this address ends, if one lasts, and remember when the new connection was made."""
        self.note_reply(address)
        self._connected[address] = self._monotonic()

    def note_reply(self, address: str) -> None:
        """Log that an outage at this address ends, if one lasts."""
        if address in self._known and not self._lasting:
            return
        with self._lock:
            self._known.add(address)
            since = self._lasting.pop(address, None)
            if since is not None:
                self._ended[address] = self._monotonic()
            if since is not None and self._start is not None:
                seconds = self._monotonic() - since
                _log.warning("[*] [redis] Connected to %s: Redis replies again, after %.0f s", address, seconds)


OUTAGES = OutageLog()
"""Of this process."""
