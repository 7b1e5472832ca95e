"""Run several processes side by side with one log, until one of them ends or somebody stops them."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import cycle

from vmpooler_tasks.local.parent_death import Watcher

SYSTEM = "system"
PREFIX_COLOURS = (36, 33, 32, 35, 34, 96, 93, 92)
MAX_LINE_BYTES = 1 << 20

PART_STOP_SECONDS = 20.0
"""How long the parts may take to stop: a worker waits for its clones."""

_STOPPED = {128 + signal.SIGINT, 128 + signal.SIGTERM}
"""Exit statuses of a part that somebody stopped on purpose."""


@dataclass(frozen=True, slots=True)
class Part:
    """A process to run: its name in the log, its command line and its environment."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]


class Log:
    """Prefix each line with the process that wrote it. If nobody reads the log any more, stop this process."""

    def __init__(self, names: Sequence[str]) -> None:
        self._width = max(map(len, (SYSTEM, *names)))
        colours = cycle(PREFIX_COLOURS)
        self._colours = {name: next(colours) for name in names}

    def line(self, name: str, text: str) -> None:
        prefix = f" {name:<{self._width}} | "
        if sys.stdout.isatty():
            prefix = f"\x1b[{self._colours.get(name, 37)}m{prefix}\x1b[0m"
        print_or_stop(f"{prefix}{text}\n")


def print_or_stop(text: str) -> None:
    """Write to stdout. A reader that is gone (a closed terminal, `| head`) stops this process as SIGTERM does."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        os.kill(os.getpid(), signal.SIGTERM)


class Supervisor:
    """Start the parts, and end all of them when one ends."""

    def __init__(self, parts: Sequence[Part], watcher: Watcher) -> None:
        self._parts, self._watcher = parts, watcher
        self._log = Log([part.name for part in parts])
        self._running: dict[str, Process] = {}
        self._status = 0

    async def run(self) -> int:
        """Run until a part ends or a signal stops us, and return the exit status: that of the part that ended."""
        stopped = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # SIGHUP: the terminal was closed
            loop.add_signal_handler(number, stopped.set)
        async with asyncio.TaskGroup() as group:
            ends = [group.create_task(self._follow(part, await self._start(part))) for part in self._parts]
            stop = group.create_task(stopped.wait())
            await asyncio.wait([*ends, stop], return_when=asyncio.FIRST_COMPLETED)
            self._status = next((end.result() for end in ends if end.done()), 0)
            stop.cancel()
            await self._end(ends)
        return _exit_status(self._status)

    async def _start(self, part: Part) -> Process:
        process = await asyncio.create_subprocess_exec(
            *part.command,
            env=part.environment,
            stdin=DEVNULL,
            stdout=PIPE,
            stderr=STDOUT,
            start_new_session=True,  # Ctrl-C reaches us alone, and we stop the parts in order
        )
        self._watcher.add(process.pid)
        self._running[part.name] = process
        self._log.line(SYSTEM, f"{part.name} started (pid={process.pid})")
        return process

    async def _follow(self, part: Part, process: Process) -> int:
        """Copy a part's output to the log until it has ended, and return its exit status."""
        copying = asyncio.create_task(self._copy(part, process))
        status = await process.wait()
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # children of a killed worker, which hold its output open
        await asyncio.wait([copying], timeout=PART_STOP_SECONDS)
        copying.cancel()
        self._watcher.remove(process.pid)
        del self._running[part.name]
        self._log.line(SYSTEM, f"{part.name} stopped (rc={status})")
        return status

    async def _copy(self, part: Part, process: Process) -> None:
        if process.stdout is not None:
            async for line in _lines(process.stdout):
                self._log.line(part.name, line)

    async def _end(self, ends: Sequence[asyncio.Task[int]]) -> None:
        """Stop what still runs. Only the leaders get a signal: a Celery worker stops its children after their tasks."""
        for name, process in list(self._running.items()):
            self._log.line(SYSTEM, f"sending SIGTERM to {name} (pid {process.pid})")
            with suppress(ProcessLookupError):
                process.terminate()
        _, late = await asyncio.wait(ends, timeout=PART_STOP_SECONDS)
        for name, process in list(self._running.items()) if late else ():
            self._log.line(SYSTEM, f"sending SIGKILL to {name} (pid {process.pid})")
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


async def _lines(stream: asyncio.StreamReader) -> AsyncIterator[str]:
    """Yield decoded lines of any length, in pieces of at most MAX_LINE_BYTES."""
    rest = b""
    while chunk := await stream.read(65536):
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield line.decode("utf-8", "replace")
        if len(rest) > MAX_LINE_BYTES:
            yield rest.decode("utf-8", "replace")
            rest = b""
    if rest:
        yield rest.decode("utf-8", "replace")


def _exit_status(status: int) -> int:
    """Return a shell's exit status for asyncio's; 0 for a part that was stopped."""
    shell_status = 128 - status if status < 0 else status
    return 0 if shell_status in _STOPPED else shell_status
