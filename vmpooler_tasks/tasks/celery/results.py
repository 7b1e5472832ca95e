"""Celery's Redis result backend. Neither a result that cannot be stored nor one that cannot be read fails a task."""

import logging
from typing import Annotated, Any

from celery import states
from celery.backends.redis import RedisBackend
from pydantic import AfterValidator, BaseModel

from vmpooler_tasks.model.names import on_one_line
from vmpooler_tasks.model.redaction import redacted, redacted_text
from vmpooler_tasks.tasks.broker.parsing import InvalidMessageError, Name, first_problem_named, parse_json

_log = logging.getLogger("vmpooler_tasks.results")


def _checked_child(value: Any) -> Any:
    """Return a result that this one has started, as Celery stores it. Raise ValueError or TypeError for others."""
    named, nodes = value
    identity, parent = named if isinstance(named, list) else (named, None)
    if not isinstance(identity, str):
        raise TypeError("the id of a child is not text")
    for node in ([parent] if parent else []) + (nodes or []):
        _checked_child(node)
    return value


class _Result(BaseModel):
    status: Name
    task_id: Name
    result: Any = None
    traceback: str | None = None
    children: list[Annotated[Any, AfterValidator(_checked_child)]] | None = None


class ResultBackend(RedisBackend):
    def encode_result(self, result: Any, state: str) -> Any:
        """Return a result as it is stored. The error of a failed task is stored without secrets: Flower shows it."""
        encoded = super().encode_result(result, state)
        return redacted(encoded) if state in states.EXCEPTION_STATES else encoded

    def store_result(self, task_id: str, result: Any, state: str, traceback: Any = None, **options: Any) -> Any:
        """Store a result, and the traceback of a failed task without secrets."""
        shown = redacted_text(traceback) if isinstance(traceback, str) else traceback
        return super().store_result(task_id, result, state, traceback=shown, **options)

    def set(self, key: Any, value: Any, expires: Any = None, **retry_policy: Any) -> None:
        """Store a result, and log an error instead of raising it.

        A raised error would come before the dead letter is written and the message acknowledged: the dead letter would
        be missing, and the worker would wait for ever for room to take the next message.
        """
        try:
            super().set(key, value, expires, **retry_policy)
        except (*self.connection_errors, *self.channel_errors) as error:
            _log.error("[!] [results] Could not store %s: %s", key, error)

    def get(self, key: Any) -> Any:
        """Return what is stored. Return None if Redis refuses, for example because the key has another type."""
        try:
            return super().get(key)
        except self.channel_errors as error:
            _log.error("[!] [results] Could not read %s: %s", on_one_line(str(key)), error)
            return None

    def decode_result(self, payload: Any) -> Any:
        """Return the stored result. Count one that is not valid as missing: anybody who reaches Redis can write it.

        A worker reads the result of a task before it stores another. Celery unpacks a compressed one without a bound.
        """
        try:
            with first_problem_named():
                _Result.model_validate(parse_json(payload, "the result"))
            return super().decode_result(payload)
        except InvalidMessageError as problem:
            found = str(problem)
        except Exception as error:  # noqa: BLE001 - a recorded exception may be of any class, with any arguments
            found = repr(error)
        _log.warning("[!] [results] Ignored a result: %s", on_one_line(found))
        return {"status": states.PENDING, "result": None}
