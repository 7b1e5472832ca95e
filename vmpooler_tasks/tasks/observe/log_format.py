"""Celery's processes log in the chosen format: `--log-format` of worker and beat, with the tasks' fields."""

import importlib
import logging
import os
import sys
from itertools import product
from typing import Any

import click
from celery import Celery
from celery._state import get_current_task
from celery.utils.log import ColorFormatter, get_multiprocessing_logger

from vmpooler_tasks.logs import (
    VARIABLE,
    JsonFormatter,
    LogFormat,
    LogFormatError,
    TextFormatter,
    choose,
    configure,
    end_with_error,
    is_json_log,
)
from vmpooler_tasks.tasks.registry import TASKS

PROGRAMS = ("worker", "beat")

_FIELDS = {"vm": "vm", "pool": "pool", "request_id": "request", "size": "size", "snapshot": "snapshot"}
"""Argument of a task → name of its field in the log."""


def add_options(app: Celery) -> None:
    """Add `--log-format` to worker and beat."""
    for program in PROGRAMS:
        app.user_options[program].add(
            click.Option(
                ("--log-format",),
                metavar="text|json",
                is_eager=True,
                expose_value=False,
                callback=_choose,
                allow_from_autoenv=False,
                help=f"How to write the log; {VARIABLE} is the default. [default: text]",
            )
        )


def choose_for_this_program() -> None:
    """Choose the log format if this process is a worker or a beat; for those that run without our application."""
    context = click.get_current_context(silent=True)
    if context is not None and context.info_name in PROGRAMS:
        _choose(context)


def _choose(context: click.Context, _: click.Parameter | None = None, value: str | None = None) -> None:
    """Choose the log format before anything else, so that every error is logged in it."""
    try:
        chosen = choose(value)
    except LogFormatError as error:
        end_with_error(error)
    if chosen is LogFormat.JSON and not context.resilient_parsing:
        configure(chosen, logging.WARNING)
        context.obj.quiet = True  # the banner is for people
        importlib.import_module("celery.apps.worker").safe_say = _write_notice  # type: ignore[attr-defined]


def _write_notice(message: str, stream: Any = sys.__stderr__) -> None:
    """Write a worker's notice about a signal without its log: a signal handler must not use one."""
    level = logging.WARNING
    record = logging.LogRecord("celery.apps.worker", level, __file__, 0, "%s", (message,), None)
    os.write(stream.fileno(), f"{JsonFormatter().format(record)}\n".encode())


def format_handlers(logger: logging.Logger, format: str, colorize: bool, **_: Any) -> None:  # noqa: A002 - Celery's name
    for handler in (*logger.handlers, *get_multiprocessing_logger().handlers):
        dates = handler.formatter.datefmt if handler.formatter else None
        made: JsonFormatter | _Coloured = (
            JsonFormatter() if is_json_log() else _Coloured(format, dates, coloured=colorize)
        )
        made.context = task_fields
        handler.setFormatter(made)


def format_task_handlers(logger: logging.Logger, **_: Any) -> None:
    """Give Celery's task logger the format of all lines: every line of a task shows it, not only Celery's own."""
    for handler, of_all in product(logger.handlers, logging.getLogger().handlers):
        handler.setFormatter(of_all.formatter)


class _Coloured(TextFormatter, ColorFormatter):
    """Our format with the colours that Celery gives its lines on a terminal."""

    def __init__(self, form: str, dates: str | None, *, coloured: bool) -> None:
        ColorFormatter.__init__(self, form, coloured, dates)


def task_fields() -> dict[str, str]:
    """Return the fields of the task that this thread runs: its name, its id, and its subject."""
    task = get_current_task()
    request = task.request if task else None
    if not request or not request.id:
        return {}
    fields = {"task": str(task.name), "task_id": str(request.id)}
    if spec := TASKS.get(task.name):
        given = {**dict(zip(spec.subject, request.args or (), strict=False)), **(request.kwargs or {})}
        fields |= {_FIELDS[name]: value for name in spec.subject if isinstance(value := given.get(name), str) and value}
    return fields
