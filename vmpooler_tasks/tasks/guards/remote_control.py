"""Lets a worker carry out only those commands of Celery's remote control that the configuration permits.

A command comes from anybody who may publish to a channel of Redis. Celery's commands end workers, leave them running
without a queue, or hold their main loop.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from celery.concurrency.base import BasePool
from celery.worker.consumer.control import Control
from celery.worker.control import Panel, nok

from vmpooler_tasks.model.names import on_one_line
from vmpooler_tasks.model.redaction import redacted, redacted_text
from vmpooler_tasks.model.remote_control import ALIASES, GROUPS, INSPECT, LASTING, permitted_commands
from vmpooler_tasks.tasks.broker.commands import check_arguments
from vmpooler_tasks.tasks.broker.parsing import InvalidMessageError
from vmpooler_tasks.tasks.process import settings
from vmpooler_tasks.throttle import Throttle

_log = logging.getLogger("vmpooler_tasks.workers")

UNANSWERED = frozenset({"hello", "election"})
"""Commands by which workers talk to each other. A worker of another application shows an error as a traceback."""

LOG_INTERVAL = 60.0


OPPOSITES = {
    "add_consumer": "cancel_consumer",
    "cancel_consumer": "add_consumer",
    "enable_events": "disable_events",
}
"""Command → the one that it undoes."""

WANTED: Mapping[str, bool] = {"add_consumer": True, "cancel_consumer": False}
"""Command → whether the worker takes the queue after it."""

SLOTS: Mapping[str, int] = {"pool_grow": 1, "pool_shrink": -1}
"""Command → the sign of the slots that it adds."""

MAX_CHANGES = 20


class LastingChanges:
    """How commands of remote control changed this worker since its start, as far as the change lasts."""

    def __init__(self) -> None:
        self._changes: dict[tuple[str, str], str] = {}
        self._added_slots = 0

    def note(self, name: str, subject: str, shown: str, *, has_effect: bool = True) -> None:
        """Remember a command about a queue or task (`subject`) if it has an effect. Forget the one that it undoes."""
        undone = self._changes.pop((OPPOSITES.get(name, ""), subject), None)
        if undone is None and name in LASTING and has_effect:
            self._changes[name, subject] = shown
            while len(self._changes) > MAX_CHANGES:
                self._changes.pop(next(iter(self._changes)))

    def note_slots(self, added: int) -> None:
        """Remember how many slots all commands together added or took away; none once they cancel each other."""
        self._added_slots += added
        self._changes = {key: shown for key, shown in self._changes.items() if key[0] not in SLOTS}
        if self._added_slots:
            name = "pool_grow" if self._added_slots > 0 else "pool_shrink"
            self.note(name, "", f"{name} n={abs(self._added_slots)}")

    def as_texts(self) -> tuple[str, ...]:
        """Return the commands, the oldest first."""
        return tuple(self._changes.values())


LASTING_CHANGES = LastingChanges()


class PermittedCommands(dict[str, Callable[..., Any]]):
    """Name → what a worker does for that command: Celery's function, or a reply that says why not.

    Every name has a function, so that Celery logs no traceback for one that it does not know. No reply has a secret:
    tasks have arguments, and a setting may be a deployment's own.
    """

    def __init__(self, chosen: tuple[str, ...]) -> None:
        super().__init__()
        self._permitted = permitted_commands(chosen)
        self._throttles: dict[str, Throttle] = {}

    def __missing__(self, method: str) -> Callable[..., Any]:
        def command(state: Any, /, **arguments: Any) -> Any:
            return self._carry_out(method, state, arguments)

        return command

    def _carry_out(self, method: str, state: Any, arguments: Mapping[str, Any]) -> Any:
        name = ALIASES.get(method, method)
        if name in UNANSWERED:
            return None
        if name not in self._permitted:
            return self._refuse(name, f"remote_control in the configuration does not permit {name}")
        try:
            check_arguments(arguments)
            _check_names(state.app, arguments)
            if name == "terminate" or arguments.get("terminate"):
                _check_pool(state.consumer.pool)
            has_effect = _has_effect(name, state, arguments)
            reply = Panel.data[name](state, **arguments)
        except InvalidMessageError as problem:
            return self._refuse(name, str(problem))
        except Exception as error:  # noqa: BLE001 - of Celery's function, whatever it is: the sender has to know
            return self._refuse(name, repr(error))
        self._note(name, arguments, reply, has_effect=has_effect)
        return redacted(reply)

    def _refuse(self, name: str, why: str) -> dict[str, str]:
        shown = on_one_line(redacted_text(why))
        known = name if name in Panel.data else ""  # any text may be a name: one throttle for all of those
        if self._throttles.setdefault(known, Throttle(LOG_INTERVAL)).acquire():
            _log.warning("[!] [workers] Refused the command %s of remote control: %s", on_one_line(name), shown)
        refusal: dict[str, str] = nok(shown)
        return refusal

    def _note(self, name: str, arguments: Mapping[str, Any], reply: Any, *, has_effect: bool) -> None:
        """Log a command that may change something, and remember a change that lasts."""
        if isinstance(reply, Mapping) and "error" in reply:
            return
        shown = " ".join([name, *_shown(arguments)])
        subject = str(arguments.get("queue") or arguments.get("task_name") or "")
        if name in SLOTS:
            LASTING_CHANGES.note_slots(SLOTS[name] * arguments.get("n", 1))
        else:
            LASTING_CHANGES.note(name, subject, shown, has_effect=has_effect)
        if name not in GROUPS[INSPECT]:
            _log.warning("[!] [workers] Remote control: %s", shown)


def _check_names(app: Any, arguments: Mapping[str, Any]) -> None:
    """Raise InvalidMessageError for a queue or task that this application does not have.

    A worker would take messages from any list of that name, and none at all if its key has another type.
    """
    queue, task = arguments.get("queue"), arguments.get("task_name")
    if queue is not None and queue not in {known.name for known in app.conf.task_queues}:
        raise InvalidMessageError(f"there is no queue {queue}")
    if task is not None and task not in app.tasks:
        raise InvalidMessageError(f"there is no task {task}")


def _check_pool(pool: Any) -> None:
    """Raise InvalidMessageError for a pool that cannot end a task that runs, such as one of threads.

    Celery finds that out only after it has revoked the task: the reply would be an error, and the task revoked.
    """
    # The pool of processes gets its method when it starts: the class does not have it.
    if getattr(pool.terminate_job, "__func__", None) is BasePool.terminate_job:
        raise InvalidMessageError("this worker cannot end a task that runs (threads); revoke it without terminate")


def _has_effect(name: str, state: Any, arguments: Mapping[str, Any]) -> bool:
    """Return False for a command about a queue that leaves the worker as it is."""
    if name not in WANTED:
        return True
    consumer = state.consumer.task_consumer  # None while the worker connects again
    return consumer is None or consumer.consuming_from(arguments.get("queue")) is not WANTED[name]


def _shown(arguments: Mapping[str, Any]) -> Iterator[str]:
    for name, value in arguments.items():
        if value is not None:
            yield on_one_line(redacted_text(f"{name}={value}"))


class RemoteControlStep(Control):
    """Celery's step that listens for commands, with the guard around each command."""

    name = "remote control"

    def __init__(self, consumer: Any, **options: Any) -> None:
        super().__init__(consumer, **options)
        self.box.node.handlers = PermittedCommands(settings().config.remote_control)
