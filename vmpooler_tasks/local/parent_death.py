"""Who starts processes may be killed before it can stop them: then somebody else has to.

A lifeline is a pipe that nothing is written to. Its end is read when the last process is gone that holds it, however it
went; that is known on every Unix, and needs no process to look at another from time to time.
"""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from honcho.process import Process

PATIENCE_SECONDS = 10.0
"""How long what is told to stop may take."""


class Part(Process):  # type: ignore[misc]  # honcho has no types
    """One of the foreman's processes with its keeper, which honcho forks off: that ends it when the foreman is gone.

    `lifeline` is the pipe (to read, to write); only the foreman may hold its writing end.
    """

    def __init__(self, *args: Any, lifeline: tuple[int, int], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._lifeline = lifeline

    def run(self, events: Any = None, ignore_signals: bool = False) -> None:
        """In the keeper."""
        reading, writing = self._lifeline
        os.close(writing)
        os.setsid()  # what ends the foreman's group, or its terminal, is not to end the keeper
        threading.Thread(target=self._end_with_foreman, args=(reading,), daemon=True).start()
        super().run(events, ignore_signals)

    def _end_with_foreman(self, reading: int) -> None:
        os.read(reading, 1)
        while self._child is None:
            time.sleep(0.01)
        self._child.terminate()
        if not soon(lambda: self._child.poll() is not None):
            with suppress(ProcessLookupError):
                os.killpg(self._child.pid, signal.SIGKILL)
        os._exit(0)  # not in order: nobody takes its messages any more, and it would wait until somebody does


@contextmanager
def stopped_after_us(pid: int) -> Iterator[None]:
    """Whatever becomes of this process and of those that it forks in here: the last one gone, `pid` is told to stop."""
    reading, writing = os.pipe()
    watcher = os.fork()
    if watcher == 0:
        os.close(writing)
        _watch(reading, pid)
    os.close(reading)
    try:
        yield
    finally:
        with suppress(BrokenPipeError):
            os.write(writing, b"!")  # it is stopped in order: its number may soon be another's
        os.close(writing)
        os.waitpid(watcher, 0)


def _watch(reading: int, pid: int) -> None:
    """In the watcher; does not return."""
    try:
        os.setsid()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        if not os.read(reading, 1):
            os.kill(pid, signal.SIGTERM)
            soon(lambda: not is_running(pid))
    finally:
        os._exit(0)


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # somebody else's
    return True


def soon(condition: Callable[[], bool], seconds: float = PATIENCE_SECONDS) -> bool:
    """Whether it comes true while there is patience."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
