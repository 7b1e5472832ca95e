"""Celery's processes log in the chosen format: `--log-format` of worker and beat, the tasks' fields, no other line."""

import logging
import os
import sys
from itertools import product
from typing import Any

import click
from celery import Celery, signals
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
    in_json,
    refuse,
)
from vmpooler_tasks.tasks.registry import CHECK_POOL, ELSEWHERE

PROGRAMS = ("worker", "beat")

_SUBJECTS = {"vm": "vm", "pool": "pool", "request_id": "request"}
"""What the pool workers' tasks take, in this order, and what it is called in the log: all their lines are about it."""


def add_options(app: Celery) -> None:
    """Gives worker and beat their `--log-format`."""
    for program in PROGRAMS:
        app.user_options[program].add(
            click.Option(
                ("--log-format",),
                metavar="text|json",
                is_eager=True,
                expose_value=False,
                callback=_begin,
                allow_from_autoenv=False,
                help=f"How to write the log; {VARIABLE} is the default. [default: text]",
            )
        )


def begin() -> None:
    """Prepares this process for its log, if it is a worker or a beat; for those that run without our application."""
    context = click.get_current_context(silent=True)
    if context is not None and context.info_name in PROGRAMS:
        _begin(context)


def _begin(context: click.Context, _: click.Parameter | None = None, value: str | None = None) -> None:
    """First of all, so that whatever goes wrong from now on is said in the format that is wanted."""
    try:
        chosen = choose(value)
    except LogFormatError as error:
        refuse(error)
    if chosen is LogFormat.JSON and not context.resilient_parsing:
        configure(chosen, logging.WARNING)
        context.obj.quiet = True  # the banner is for people
        from celery.apps import worker  # noqa: PLC0415 - whoever only sends tasks needs no worker

        worker.safe_say = _say


def _say(message: str, stream: Any = sys.__stderr__) -> None:
    """What a worker says of signals, past its log: inside a signal's handler none may be written to."""
    level = logging.WARNING
    record = logging.LogRecord("celery.apps.worker", level, __file__, 0, "%s", (message,), None)
    os.write(stream.fileno(), f"{JsonFormatter().format(record)}\n".encode())


@signals.after_setup_logger.connect(weak=False)
def _format(logger: logging.Logger, format: str, colorize: bool, **_: Any) -> None:  # noqa: A002 - Celery's name
    for handler in (*logger.handlers, *get_multiprocessing_logger().handlers):
        dates = handler.formatter.datefmt if handler.formatter else None
        made: JsonFormatter | _Coloured = JsonFormatter() if in_json() else _Coloured(format, dates, coloured=colorize)
        made.context = about_the_task
        handler.setFormatter(made)


@signals.after_setup_task_logger.connect(weak=False)
def _format_of_tasks(logger: logging.Logger, **_: Any) -> None:
    """The same: the task is told in all lines, not in those alone for which Celery has a format of its own."""
    for handler, of_all in product(logger.handlers, logging.getLogger().handlers):
        handler.setFormatter(of_all.formatter)


class _Coloured(TextFormatter, ColorFormatter):
    """On a terminal, as Celery colours its lines."""

    def __init__(self, form: str, dates: str | None, *, coloured: bool) -> None:
        ColorFormatter.__init__(self, form, coloured, dates)


def about_the_task() -> dict[str, str]:
    """The task that this thread is in, and what it is about."""
    task = get_current_task()
    request = task.request if task else None
    if not request or not request.id:
        return {}
    fields = {"task": str(task.name), "task_id": str(request.id)}
    if task.name in ELSEWHERE:
        names = ("pool",) if task.name == CHECK_POOL else tuple(_SUBJECTS)
        given = {**dict(zip(names, request.args or (), strict=False)), **(request.kwargs or {})}
        fields |= {_SUBJECTS[name]: value for name in names if isinstance(value := given.get(name), str) and value}
    return fields
