"""Check the arguments of an editable task against its signature."""

import inspect
from collections.abc import Iterator
from typing import Any

from celery import Celery
from pydantic import ConfigDict, TypeAdapter, ValidationError

from vmpooler_tasks.errors import InvalidInputError
from vmpooler_tasks.jobs.redrive.edit import Arguments, Named
from vmpooler_tasks.tasks.celery import defaults
from vmpooler_tasks.tasks.registry import TASKS

_STRICT = ConfigDict(strict=True)
_WORDS = {"boolean": "true or false", "string": "text", "integer": "whole number", "number": "number", "null": "null"}

FIXED = ("who",)
"""Arguments that stay in every task, besides its subject: the audit names who ordered it."""


def signature_of(app: Celery, task: str) -> inspect.Signature:
    """Return the signature of a task of ours. An application that has not loaded our tasks loads them."""
    app.conf.update(imports=defaults.imports)
    app.loader.import_default_modules()
    return inspect.signature(app.tasks[task].run)


def check_arguments(app: Celery, task: str, before: Arguments, after: Arguments) -> tuple[Named, Named]:
    """Return the arguments before and after by their names.

    Raises InvalidInputError that names each argument which the task does not take, or which has to stay.
    """
    signature = signature_of(app, task)
    try:
        new = signature.bind(*after.args, **after.kwargs).arguments
    except TypeError as error:
        known = ", ".join(signature.parameters) or "none"
        raise InvalidInputError(f"{error}; the arguments of {task} are: {known}") from error
    old = {**dict(zip(signature.parameters, before.args, strict=False)), **before.kwargs}
    problems = [*_wrong_types(signature, new), *_changed(task, old, new)]
    if problems:
        raise InvalidInputError("; ".join(problems))
    return old, new


def _wrong_types(signature: inspect.Signature, given: Named) -> Iterator[str]:
    for name, value in given.items():
        try:
            TypeAdapter(signature.parameters[name].annotation, config=_STRICT).validate_python(value)
        except ValidationError:
            yield f"{name}: must be {_type_words(signature.parameters[name])}, not {value!r:.60}"


def _changed(task: str, old: Named, new: Named) -> Iterator[str]:
    for name in fixed_arguments(task):
        before = old.get(name)
        if before != new.get(name):
            yield f"{name}: has to stay {'away' if before is None else repr(before)}"


def fixed_arguments(task: str) -> tuple[str, ...]:
    """Return the names of the arguments that an edit may not change: its VM, its pool, who ordered it."""
    return (*TASKS[task].subject, *FIXED)


def describe_arguments(app: Celery, task: str) -> list[dict[str, Any]]:
    """Return the name, type in words, and default of each argument, whether it is required, and whether it is fixed."""
    return [
        {
            "name": name,
            "type": _type_words(parameter),
            "required": parameter.default is inspect.Parameter.empty,
            "fixed": name in fixed_arguments(task),
        }
        for name, parameter in signature_of(app, task).parameters.items()
    ]


def _type_words(parameter: inspect.Parameter) -> str:
    return _words(TypeAdapter(parameter.annotation).json_schema())


def _words(schema: dict[str, Any]) -> str:
    if "anyOf" in schema:
        return " or ".join(map(_words, schema["anyOf"]))
    if schema.get("type") == "array":
        return f"a list of {_words(schema.get('items', {}))}"
    return _WORDS.get(schema.get("type", ""), "any value")
