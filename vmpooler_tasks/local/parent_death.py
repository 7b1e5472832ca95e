"""End started processes after the death of the process that started them, however it died.

A pipe shows the death: its reader gets the end of file when the last process that holds its writing end is gone. That
works on every Unix, and no process has to poll another.
"""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

KILL_AFTER_SECONDS = 10.0
"""How long a process may take to stop before it is killed."""


class Watcher:
    """A forked process that stops the added processes, if this process dies before it stops them."""

    def __init__(self, writing: int) -> None:
        self._writing = writing

    def add(self, pid: int, *, last: bool = False) -> None:
        """Stop this process group's leader after our death; with `last`, after all others have ended."""
        os.write(self._writing, b"+%d %d\n" % (pid, last))

    def remove(self, pid: int) -> None:
        """Forget a process that has ended: the system may give its number to another process."""
        os.write(self._writing, b"-%d 0\n" % pid)


@contextmanager
def watching() -> Iterator[Watcher]:
    """Fork a watcher until the end of the block. Enter it before any thread is started."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(writing)
        _watch(reading)
    os.close(reading)
    try:
        yield Watcher(writing)
    finally:
        with suppress(BrokenPipeError):
            os.write(writing, b"!0 0\n")  # all ended as they should
        os.close(writing)
        os.waitpid(child, 0)


def _watch(reading: int) -> None:
    """Run the watcher. Does not return."""
    try:
        os.setsid()  # what ends the parent's group, or its terminal, must not end the watcher
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        watched: dict[int, bool] = {}
        with os.fdopen(reading, "rb") as lines:
            for line in lines:
                pid, last = map(int, line[1:].split())
                match line[:1]:
                    case b"+":
                        watched[pid] = bool(last)
                    case b"-":
                        watched.pop(pid, None)
                    case _:
                        return
        for is_last in (False, True):
            stop([pid for pid, last in watched.items() if last is is_last])
    finally:
        os._exit(0)


def stop(leaders: list[int]) -> None:
    """Terminate each process, and kill what is left of its group after it has ended, or after KILL_AFTER_SECONDS."""
    for pid in leaders:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    wait_until(lambda: not any(map(is_running, leaders)))
    for pid in leaders:
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)


def is_running(pid: int) -> bool:
    """Return True if there is a process of this number, of any user."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def wait_until(condition: Callable[[], bool], seconds: float = KILL_AFTER_SECONDS) -> bool:
    """Return True as soon as the condition holds, False after so many seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
