"""Stop a reader at a chosen instant: just before, or just after, it sends one of its commands to Redis.

What a process has done to Redis when it is killed is a number of commands, and the last one may have lost its reply. So
these instants are all that there are. The reader runs in a thread. A killed one sends nothing more, like a process that
is gone. A frozen one goes on when it is thawed, with the same connections.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

import pytest
from redis.connection import Connection as RedisConnection

SECONDS = 30.0


class KilledError(BaseException):
    """The reader is dead."""


def die() -> None:
    """Be the `blow` of a reader that is killed."""
    raise KilledError


@dataclass(frozen=True)
class Instant:
    """Before or after the command of this number is sent."""

    command: int
    is_sent: bool


class Reader(threading.Thread):
    """Runs `work` until the instant, where `blow` is called: it raises KilledError, waits, or does something else."""

    def __init__(self, work: Callable[[], None], instant: Instant, blow: Callable[[], None]) -> None:
        super().__init__(daemon=True)
        self._work, self._instant, self._blow = work, instant, blow
        self._sent, self._lines = 0, set[Any]()
        self.has_struck, self.is_dead = False, False
        self.stopped = threading.Event()
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self._work()
        except BaseException as error:  # noqa: BLE001 - the test raises it
            self.error = None if self.is_dead else error
        finally:
            self.stopped.set()

    def send(self, line: Any, packed: Any, send: Callable[..., Any], **options: Any) -> Any:
        """Send one command of this thread, and strike where it is the one."""
        if self.is_dead:
            raise KilledError
        self._lines.add(line)
        is_it = self._sent == self._instant.command
        self._sent += 1
        if is_it and not self._instant.is_sent:
            self._strike()
        result = send(line, packed, **options)
        if is_it and self._instant.is_sent:
            self._strike()
        return result

    def _strike(self) -> None:
        self.has_struck = True
        try:
            self._blow()
        except KilledError:
            self.is_dead = True
            for line in self._lines:
                line.disconnect()
            raise

    def join_or_fail(self) -> Self:
        self.join(SECONDS)
        if self.is_alive():
            pytest.fail("the reader does not end")
        if self.error is not None:
            raise self.error
        return self


@contextmanager
def instants_observed() -> Iterator[None]:
    """Let every reader count the commands that it sends."""
    send: Any = RedisConnection.send_packed_command

    def observed(line: Any, packed: Any, **options: Any) -> Any:
        thread = threading.current_thread()
        return (
            thread.send(line, packed, send, **options) if isinstance(thread, Reader) else send(line, packed, **options)
        )

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RedisConnection, "send_packed_command", observed)
        yield
