"""The tasks that this worker runs now."""

import time
from collections.abc import Iterable
from typing import Any

from celery.worker import state

from vmpooler_tasks.model.fleet import MAX_TASKS, RunningTask
from vmpooler_tasks.model.names import on_one_line
from vmpooler_tasks.tasks.registry import TASKS

MAX_SUBJECT_CHARACTERS = 200


def running_tasks() -> list[RunningTask]:
    """Return the tasks that run now, the oldest first, at most MAX_TASKS. Their times are those of this machine."""
    requests = [request for request in active_requests() if request.time_start]
    requests.sort(key=lambda request: request.time_start)
    return [
        RunningTask(
            name=str(request.name),
            id=str(request.id),
            subject=_subject(str(request.name), request.args, request.kwargs),
            since=min(request.time_start, time.time()),
        )
        for request in requests[:MAX_TASKS]
    ]


def active_requests() -> list[Any]:
    """Return the requests that run now."""
    return copied(state.active_requests)


def copied(requests: Iterable[Any]) -> list[Any]:
    """Copy one of Celery's sets of requests, which the threads of a pool change at any moment."""
    for _ in range(10):
        try:
            return list(requests)
        except RuntimeError:  # it changed while it was copied
            continue
    return []


def _subject(name: str, args: object, kwargs: object) -> dict[str, str]:
    """Return the arguments that the table of tasks names; a message may hold anything."""
    spec = TASKS.get(name)
    if spec is None:
        return {}
    by_position = args if isinstance(args, list | tuple) else ()
    by_name = kwargs if isinstance(kwargs, dict) else {}
    given = {**dict(zip(spec.subject, by_position, strict=False)), **by_name}
    return {
        part: on_one_line(value)[:MAX_SUBJECT_CHARACTERS]
        for part in spec.subject
        if isinstance(value := given.get(part), str) and value
    }
