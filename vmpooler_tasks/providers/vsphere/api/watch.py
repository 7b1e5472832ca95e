"""Waits for tasks and guests: one call reads the state of everything that any thread of the process waits for."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import monotonic, sleep
from typing import Any

from vmpooler_tasks.errors import TransientProviderError, VmNotFoundError
from vmpooler_tasks.providers.vsphere.api.properties import FoundObject, read_objects
from vmpooler_tasks.providers.vsphere.api.references import id_of
from vmpooler_tasks.providers.vsphere.api.session import VcenterSession

FIRST_SECONDS, LONGEST_SECONDS = 0.1, 1.0
"""Pause between two reads of one object, which doubles."""

MAX_FAILURES = 3
"""Reads in a row that may fail before everybody who waits gets the error."""


@dataclass(eq=False, slots=True)
class _Waiting:
    ref: Any
    was_read: bool = False
    found: FoundObject | None = None


class ObjectWatch:
    """Waits for objects of one kind. Several threads may wait for the same object."""

    def __init__(self, session: VcenterSession, kind: type[Any], paths: Sequence[str]) -> None:
        self._session, self._kind, self._paths = session, kind, paths
        self._lock, self._turn = threading.Lock(), threading.Lock()
        self._waiting: set[_Waiting] = set()
        self._attempted_at = 0.0
        self._failures: list[TransientProviderError] = []

    def wait(self, ref: Any, is_done: Callable[[FoundObject], bool], seconds: float) -> tuple[FoundObject | None, bool]:
        """Return the object as it was read last, and whether it was done in time.

        Raise VmNotFoundError if it does not exist any more.
        """
        waiting, deadline, pause = _Waiting(ref), monotonic() + seconds, FIRST_SECONDS
        with self._lock:
            self._waiting.add(waiting)
        try:
            while True:
                self._read_unless_fresh(monotonic() - pause / 2, deadline)
                if waiting.was_read and waiting.found is None:
                    raise VmNotFoundError("the object has been deleted")
                if waiting.found is not None and is_done(waiting.found):
                    return waiting.found, True
                left = deadline - monotonic()
                if left <= 0:
                    return waiting.found, False
                sleep(min(pause, left))
                pause = min(2 * pause, LONGEST_SECONDS)
        finally:
            with self._lock:
                self._waiting.discard(waiting)

    def _read_unless_fresh(self, since: float, deadline: float) -> None:
        """Read for everybody, unless a thread started to after `since`. One thread reads, the others wait for it."""
        if not self._turn.acquire(timeout=max(0.0, deadline - monotonic())):
            return
        try:
            if self._attempted_at < since:
                self._read()
            if len(self._failures) >= MAX_FAILURES:
                raise type(self._failures[-1])(str(self._failures[-1]))
        finally:
            self._turn.release()

    def _read(self) -> None:
        with self._lock:
            everybody = list(self._waiting)
        self._attempted_at = monotonic()
        refs = list({id_of(each.ref): each.ref for each in everybody}.values())
        try:
            found = read_objects(self._session, refs, self._kind, self._paths)
        except TransientProviderError as error:
            self._failures.append(error)
            return
        self._failures.clear()
        for each in everybody:
            each.found = found.get(id_of(each.ref))
            each.was_read = True
