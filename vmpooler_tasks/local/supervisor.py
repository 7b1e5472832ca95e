"""Run several processes side by side with one log, until one of them ends or somebody stops them."""

import asyncio
import os
import signal
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from vmpooler_tasks.local.parent_death import Watcher
from vmpooler_tasks.local.ports import LOOPBACK
from vmpooler_tasks.local.printing import SYSTEM, Log

MAX_LINE_BYTES = 1 << 20

PART_STOP_SECONDS = 30.0
"""How long the parts may take to stop: a worker waits for its clones, which take up to 10 s in deploy/demo.yaml."""

REPORT_WAIT_SECONDS = 5.0
"""After this time the log says which parts are still stopping."""

UP_POLL_SECONDS = 0.3

_STOPPED = {128 + signal.SIGINT, 128 + signal.SIGTERM}
"""Exit statuses of a part that somebody stopped on purpose."""


@dataclass(frozen=True, slots=True)
class Part:
    """A process to run: its name in the log, its command line and its environment.

    It is up when it has logged `ready_text`, or when it listens on `port`, which is on `LOOPBACK`.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    ready_text: str = ""
    port: int | None = None


class Supervisor:
    """Start the parts, and end all of them when one ends. `when_up` is called once when all of them are up."""

    def __init__(self, parts: Sequence[Part], watcher: Watcher, log: Log, when_up: Callable[[], None]) -> None:
        self._parts, self._watcher, self._log, self._when_up = parts, watcher, log, when_up
        self._running: dict[str, Process] = {}
        self._starting = {part.name for part in parts if part.ready_text}
        self._are_logged = asyncio.Event()
        self._status = 0

    async def run(self) -> int:
        """Run until a part ends or a signal stops us, and return the exit status: that of the part that ended."""
        stopped, hurried = asyncio.Event(), asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # SIGHUP: the terminal was closed
            loop.add_signal_handler(number, _set_next, stopped, hurried)
        async with asyncio.TaskGroup() as group:
            ends = [group.create_task(self._follow(part, await self._start(part))) for part in self._parts]
            stop = group.create_task(stopped.wait())
            up = group.create_task(self._wait_until_up())
            await asyncio.wait([*ends, stop], return_when=asyncio.FIRST_COMPLETED)
            self._status = next((end.result() for end in ends if end.done()), 0)
            stop.cancel()
            up.cancel()
            await self._end(ends, hurried)
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
                if part.ready_text and part.ready_text in line:
                    self._starting.discard(part.name)
                    if not self._starting:
                        self._are_logged.set()

    async def _wait_until_up(self) -> None:
        for port in [part.port for part in self._parts if part.port is not None]:
            await _wait_for_listener(port)
        await self._are_logged.wait()
        self._when_up()

    async def _end(self, ends: Sequence[asyncio.Task[int]], hurried: asyncio.Event) -> None:
        """Stop what still runs. Only the leaders get a signal: a Celery worker stops its children after their tasks."""
        self._log.line(SYSTEM, f"stopping {', '.join(self._running)} (SIGTERM)")
        for process in list(self._running.values()):
            with suppress(ProcessLookupError):
                process.terminate()
        _, late = await asyncio.wait(ends, timeout=REPORT_WAIT_SECONDS)
        if late:
            rest = f"waiting for {', '.join(self._running)} to finish running tasks (Ctrl-C: do not wait)"
            self._log.line(SYSTEM, rest)
            hurry = asyncio.create_task(hurried.wait())
            all_ended = asyncio.create_task(asyncio.wait(late))
            await asyncio.wait([hurry, all_ended], timeout=PART_STOP_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            hurry.cancel()
            all_ended.cancel()
        for name, process in list(self._running.items()):
            self._log.line(SYSTEM, f"sending SIGKILL to {name} (pid {process.pid})")
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def _set_next(*events: asyncio.Event) -> None:
    """Set the first event that is not set."""
    for event in events:
        if not event.is_set():
            event.set()
            return


async def _wait_for_listener(port: int) -> None:
    while True:
        try:
            _, writer = await asyncio.open_connection(LOOPBACK, port)
        except OSError:
            await asyncio.sleep(UP_POLL_SECONDS)
        else:
            writer.close()
            return


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
