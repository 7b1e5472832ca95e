"""Messages whose holder is gone go back to their queue, to be taken by another worker.

A **holder** is a channel that takes messages. Its process renews it every few seconds on the server that has the
messages, by that server's clock. It is gone when two sweeps of one process find it silent: after Redis was frozen,
everybody has been silent, and everybody is back a moment later. A channel whose connection was lost holds only what
its process still works on.
"""

import logging
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

from vmpooler_tasks.redis_client import CONNECTION_ERRORS
from vmpooler_tasks.store import broker_keys
from vmpooler_tasks.tasks.broker import scripts
from vmpooler_tasks.tasks.broker.refusals import BROKER_REFUSALS, RETURN_MESSAGES
from vmpooler_tasks.throttle import Throttle

_log = logging.getLogger("vmpooler_tasks.broker")

HOLDERS_KEY, ALIVE_KEY = broker_keys.UNACKNOWLEDGED_HOLDERS.decode(), broker_keys.LIVE_HOLDERS.decode()

SWEEP_SECONDS = 3.0
"""Between two sweeps of a process; each renews its own holders."""

MIN_SILENCE_SECONDS, MAX_SILENCE_SECONDS = 12.0, 30.0

PAGE = 500
"""Messages of one kind that a sweep returns. The next one returns more."""

REAFFIRM_SECONDS = 60.0


def silence_seconds(lease_seconds: float) -> float:
    """Return after how long without a sign of life a holder is gone, so that its messages are back within the lease.

    A short lease cannot shorten it below four missed renewals.
    """
    return min(max(lease_seconds / 2, MIN_SILENCE_SECONDS), MAX_SILENCE_SECONDS)


@dataclass(frozen=True, slots=True)
class _Found:
    """Messages that a sweep found: of silent holders, of this process, and beyond the visibility timeout."""

    silent: list[tuple[str, str]]
    own: list[tuple[str, str]]
    overdue: list[str]
    has_unheld: bool
    problem: str


class HeldMessages:
    """The channels of this process that hold messages, and what it knows of the holders of others."""

    def __init__(self) -> None:
        self._channels: dict[str, weakref.ref[Any]] = {}
        self._finished: dict[str, str] = {}
        self._silent_since: dict[str, float] = {}
        self._reaffirm = Throttle(REAFFIRM_SECONDS)
        self.worked_on: weakref.WeakSet[Any] = weakref.WeakSet()
        """Messages whose tasks have started. One leaves when nothing refers to it: it is acknowledged or rejected."""

        self.running_tags: Callable[[], frozenset[str]] = frozenset
        """Returns the tags of the messages that this process works on. Set by the worker."""

    def add(self, channel: Any) -> None:
        """Remember a channel that takes messages."""
        self._channels.setdefault(channel.holder, weakref.ref(channel))

    def note_finished(self, tag: str, holder: str) -> None:
        """Remember that a message could not be acknowledged, for the next sweep."""
        self._finished[tag] = holder

    def sweep(self, channel: Any, *, silence: float) -> int:
        """Renew the holders of this process, and return messages whose holder is gone. Return how many went back."""
        try:
            return self._sweep(channel, silence)
        except (*channel.connection_errors, channel.ResponseError) as error:
            if not isinstance(error, CONNECTION_ERRORS):  # those are an outage, which has its own lines
                BROKER_REFUSALS.note(RETURN_MESSAGES, str(error))
            return 0

    def _sweep(self, channel: Any, silence: float) -> int:
        for tag, holder in list(self._finished.items()):
            channel.remove_note(tag, holder)
            self._finished.pop(tag, None)  # in a pool of threads the sweep of a lost connection may still be under way
        found = self._find(channel, silence)
        if self._reaffirm.acquire() or found.has_unheld:
            self._reaffirm_all()
        overdue = ((tag, "") for tag in found.overdue)
        returned, problem = 0, found.problem
        for tag, holder in chain(self._gone(found.silent), self._lost(found.own), overdue):
            try:
                returned += channel.return_message(tag, holder)
            except channel.ResponseError as error:  # of this message alone: its queue may have the wrong type
                problem = str(error)
        BROKER_REFUSALS.note(RETURN_MESSAGES, problem)
        if returned:
            _log.warning("[!] [broker] %d messages went back to their queues: their worker is gone", returned)
        return returned

    def _find(self, channel: Any, silence: float) -> _Found:
        limits = [silence, channel.visibility_timeout, PAGE]
        found = channel.run(scripts.SWEEP, [ALIVE_KEY], [*limits, *self._channels])
        silent, own, overdue, has_unheld, problem = found
        return _Found(
            silent=list(_pairs(silent)),
            own=list(_pairs(own)),
            overdue=[tag.decode(errors="replace") for tag in overdue],
            has_unheld=bool(has_unheld),
            problem=problem.decode(errors="replace"),
        )

    def _reaffirm_all(self) -> None:
        """Record again what the open channels of this process hold: a key may have been deleted."""
        running = self.running_tags()
        for channel in [reference() for reference in self._channels.values()]:
            if channel is not None and not _is_closed(channel):
                channel.reaffirm(running)

    def _gone(self, silent: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
        """Yield the messages whose holder was silent at an earlier sweep as well."""
        now, before = time.monotonic(), self._silent_since
        self._silent_since = {}
        for tag, holder in silent:
            since = self._silent_since.setdefault(holder, before.get(holder, now))
            if now - since >= SWEEP_SECONDS / 2:
                yield tag, holder

    def _lost(self, own: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
        """Yield the messages of closed channels that nobody works on, and forget channels that hold nothing more."""
        closed = {holder for holder, channel in self._channels.items() if _is_closed(channel())}
        running = self.running_tags() if closed else frozenset()
        still_held = set()
        for tag, holder in own:
            if holder in closed:
                still_held.add(holder)
                if tag not in running and tag not in self._finished:
                    yield tag, holder
        for holder in closed - still_held:
            self._channels.pop(holder, None)


def _pairs(flat: list[bytes]) -> Iterator[tuple[str, str]]:
    """Yield (tag, holder) of [tag, holder, tag, holder, …]."""
    for tag, holder in zip(flat[::2], flat[1::2], strict=True):
        yield tag.decode(errors="replace"), holder.decode(errors="replace")


def _is_closed(channel: Any) -> bool:
    """Return whether the connection of the channel was lost, or ended."""
    return channel is None or channel.closed or channel.connection is None


HELD_MESSAGES = HeldMessages()
