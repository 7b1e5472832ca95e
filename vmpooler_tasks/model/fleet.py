"""The workers and beats of one installation, as their heartbeats describe them."""

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Self

HEARTBEAT_SECONDS = 3.0
"""Seconds between two heartbeats of a process."""

ALIVE_SECONDS = 12.0
"""A process counts as alive for this long after its last heartbeat."""

STOPPED_GRACE_SECONDS = 60.0
"""A process that said goodbye counts as missing after this time: a planned restart is shorter."""

MAX_TASKS = 50
"""The tasks that one heartbeat carries."""


class ProcessKind(StrEnum):
    WORKER = "worker"
    BEAT = "beat"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningTask:
    """A task that a worker runs now. `subject` names what it works on, as in `tasks.registry`.

    `since`: seconds since the epoch, by the server's clock.
    """

    name: str
    id: str
    subject: Mapping[str, str]
    since: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """What a process reports about itself.

    `name` is Celery's for a worker (`celery@host`), `host:pid` for a beat. `queues`: those that a worker takes messages
    from. `configuration`: `Settings.digest`; the list of its pools is kept once for each (`store.fleet.pool_lists`).
    `manages_pools`: the process is the pool manager. `sent`: the process's own clock. `clock_offsets`: by how many
    seconds that clock was ahead of the server's at the last heartbeats, the newest first. `changes`: commands of remote
    control that changed how a worker works. `stopped`: the process said goodbye.
    """

    kind: ProcessKind
    name: str
    host: str
    pid: int
    configuration: str
    manages_pools: bool = False
    queues: Sequence[str] = ()
    sent: float = 0.0
    clock_offsets: Sequence[float] = ()
    tasks: Sequence[RunningTask] = ()
    changes: Sequence[str] = ()
    stopped: bool = False

    @property
    def process(self) -> str:
        """Return the key of its record: `worker:celery@host`."""
        return f"{self.kind}:{self.name}"

    def as_record(self) -> str:
        """Return the text that Redis keeps."""
        return json.dumps(asdict(self), ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def from_record(cls, text: str) -> Self | None:
        """Return the heartbeat, or None if the text is not one."""
        try:
            found = json.loads(text)
            return cls(
                kind=ProcessKind(found["kind"]),
                name=_text(found["name"]),
                host=_text(found["host"]),
                configuration=_text(found["configuration"]),
                pid=int(found["pid"]),
                manages_pools=found["manages_pools"] is True,
                queues=tuple(map(_text, found["queues"])),
                sent=_number(found["sent"]),
                clock_offsets=tuple(map(_number, found["clock_offsets"])),
                tasks=tuple(map(_task, found["tasks"])),
                changes=tuple(map(_text, found.get("changes", ()))),  # an earlier version has none
                stopped=found["stopped"] is True,
            )
        except (AttributeError, KeyError, OverflowError, RecursionError, TypeError, ValueError):
            return None


@dataclass(frozen=True, slots=True)
class SeenProcess:
    """A process and its last heartbeat, which the server got `age_seconds` ago."""

    last: Heartbeat
    age_seconds: float

    @property
    def is_alive(self) -> bool:
        return not self.last.stopped and self.age_seconds <= ALIVE_SECONDS

    @property
    def is_restarting(self) -> bool:
        """Return True if the process said goodbye a short time ago."""
        return self.last.stopped and self.age_seconds <= STOPPED_GRACE_SECONDS


@dataclass(frozen=True, slots=True)
class Fleet:
    """All processes with a heartbeat that is kept, by name; also those that are no longer alive.

    `is_known`: the heartbeats could be read. If not, no process counts as missing. `pool_lists`: the pools of each
    configuration, by `Heartbeat.configuration`, as far as they were read.
    """

    processes: Sequence[SeenProcess] = ()
    is_known: bool = True
    pool_lists: Mapping[str, frozenset[str]] = field(default_factory=dict)

    @property
    def workers(self) -> list[Heartbeat]:
        """Return the live workers."""
        return [process.last for process in self._live(ProcessKind.WORKER)]

    @property
    def beats(self) -> list[Heartbeat]:
        """Return the live beats."""
        return [process.last for process in self._live(ProcessKind.BEAT)]

    @property
    def live(self) -> list[Heartbeat]:
        """Return all live processes."""
        return [*self.workers, *self.beats]

    @property
    def configurations(self) -> set[str]:
        """Return the configurations of the live processes."""
        return {process.configuration for process in self.live}

    @property
    def pools(self) -> frozenset[str]:
        """Return the pools in the configurations of the live processes, as far as their lists were read."""
        return frozenset().union(*(self.pool_lists.get(one, frozenset()) for one in self.configurations))

    @property
    def knows_all_pools(self) -> bool:
        """Return True if the list of every live process was read."""
        return self.is_known and self.configurations <= self.pool_lists.keys()

    def managed_pools(self, queue: str) -> frozenset[str]:
        """Return the pools of the live pool managers that take messages from the queue."""
        managers = (worker.configuration for worker in self.workers_of(queue) if worker.manages_pools)
        return frozenset().union(*(self.pool_lists.get(one, frozenset()) for one in managers))

    def workers_of(self, queue: str) -> list[Heartbeat]:
        """Return the live workers that take messages from the queue."""
        return [worker for worker in self.workers if queue in worker.queues]

    def is_queue_missing(self, queue: str) -> bool:
        """Return True if no live worker takes the queue, unless the last one is restarting."""
        return self._is_missing(lambda one: one.kind is ProcessKind.WORKER and queue in one.queues)

    def is_beat_missing(self) -> bool:
        """Return True if no beat is alive, unless the last one is restarting."""
        return self._is_missing(lambda one: one.kind is ProcessKind.BEAT)

    def last_worker_of(self, queue: str) -> SeenProcess | None:
        """Return the worker that took the queue last, alive or not."""
        return self._last(lambda one: one.kind is ProcessKind.WORKER and queue in one.queues)

    def last_beat(self) -> SeenProcess | None:
        """Return the beat that was alive last."""
        return self._last(lambda one: one.kind is ProcessKind.BEAT)

    def _live(self, kind: ProcessKind) -> Iterator[SeenProcess]:
        return (process for process in self.processes if process.is_alive and process.last.kind is kind)

    def _is_missing(self, does_it: Callable[[Heartbeat], bool]) -> bool:
        if not self.is_known or any(process.is_alive for process in self.processes if does_it(process.last)):
            return False
        last = self._last(does_it)
        return last is None or not last.is_restarting

    def _last(self, does_it: Callable[[Heartbeat], bool]) -> SeenProcess | None:
        found = [process for process in self.processes if does_it(process.last)]
        return min(found, key=lambda process: process.age_seconds, default=None)


def clock_offset(sent: float, server: float, received: float) -> float:
    """Return by how many seconds a clock is ahead of the server's, below zero if it is behind.

    The clock showed `sent` before the server's time was read, and `received` after it. Between them it is right.
    """
    return max(sent - server, 0.0) or min(received - server, 0.0)


def _task(found: Mapping[str, Any]) -> RunningTask:
    subject = {str(name): _text(value) for name, value in found["subject"].items()}
    return RunningTask(name=_text(found["name"]), id=_text(found["id"]), subject=subject, since=_number(found["since"]))


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise TypeError("not a finite number")
    return float(value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("not a text")
    value.encode()  # text that cannot be shown raises a ValueError
    return value
