"""How the log is written: the guide's lines for people, one JSON object a line for machines, the same fields in both.

What a process logs with is chosen once, by `--log-format` or VMPOOLER_LOG_FORMAT, and is the same for its children.
docs/logging.md has the fields.
"""

import logging
import math
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any, NoReturn

from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.json import JsonFormatter as PythonJsonFormatter

from vmpooler_tasks.errors import VmpoolerTasksError
from vmpooler_tasks.model.names import on_one_line
from vmpooler_tasks.model.redaction import redacted_text

VARIABLE = "VMPOOLER_LOG_FORMAT"
OPTION = "--log-format"
PLAIN = "%(asctime)s %(levelname)s %(message)s"
"""What stands before a line of text where nothing else is asked for."""

Context = Callable[[], Mapping[str, str]]
"""Answers what every line of the moment is about: inside a task, the task and its id."""

_FAILURES = "celery.app.trace"
"""Celery's logger of failed tasks, whose lines hold an error's text."""

_NO_FIELDS = frozenset({*RESERVED_ATTRS, "taskName", "color_message"})
"""What a record holds that is no field: logging's own, and uvicorn's message once more, in colours."""


_subject: ContextVar[Mapping[str, str]] = ContextVar("subject", default=MappingProxyType({}))


class LogFormat(StrEnum):
    TEXT = "text"
    JSON = "json"


class LogFormatError(VmpoolerTasksError):
    """No such log format"""

    exit_status = os.EX_CONFIG

    def __init__(self, named: str, value: str) -> None:
        super().__init__(f"{named} is {on_one_line(value)!r}; it is either text or json")
        if named == OPTION:
            self.exit_status = os.EX_USAGE


def choose(option: str | None = None) -> LogFormat:
    """The format that this option or else VMPOOLER_LOG_FORMAT names, from now on also for this process's children.

    Raises LogFormatError for any but `text` and `json`; an empty variable counts as not set.
    """
    named, value = (VARIABLE, os.environ.get(VARIABLE) or LogFormat.TEXT) if option is None else (OPTION, option)
    try:
        chosen = LogFormat(value)
    except ValueError:
        raise LogFormatError(named, value) from None
    if option is not None:
        os.environ[VARIABLE] = chosen
    return chosen


def in_json() -> bool:
    """Whether this process has chosen JSON."""
    return os.environ.get(VARIABLE) == LogFormat.JSON


def refuse(error: VmpoolerTasksError) -> NoReturn:
    """Ends this process, which has not begun, with the error as a line of the log, or for people as a plain one."""
    if in_json():
        logging.getLogger("vmpooler_tasks").critical("%s", error)
    else:
        sys.stderr.write(f"vmpooler-tasks: {error}\n")
    sys.exit(error.exit_status)


def configure(chosen: LogFormat, level: int = logging.INFO) -> None:
    """Logs on stderr in this format, and nowhere else. In JSON, warnings and uncaught exceptions are lines as well."""
    handler = logging.StreamHandler()
    handler.setFormatter(formatter(chosen))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    if chosen is LogFormat.JSON:
        logging.captureWarnings(True)
        _log_what_is_uncaught()


def formatter(chosen: LogFormat, context: Context = dict) -> logging.Formatter:
    """For any handler, such as one of uvicorn's."""
    made: TextFormatter | JsonFormatter = JsonFormatter() if chosen is LogFormat.JSON else TextFormatter(PLAIN)
    made.context = context
    return made


@contextmanager
def bind_fields(fields: Mapping[str, str]) -> Iterator[None]:
    """Add these fields to every log line within the block, also in threads that get a copy of the context."""
    token = _subject.set(fields)
    try:
        yield
    finally:
        _subject.reset(token)


def fields_of(record: logging.LogRecord, context: Context = dict) -> dict[str, Any]:
    """What the line is about: the context's fields, and above them the record's own."""
    own = {
        name: value
        for name, value in record.__dict__.items()
        if name not in _NO_FIELDS and not name.startswith("_") and isinstance(value, str | int | float) and value != ""
    }
    return {**_subject.get(), **context(), **_of_celery(record), **own}


def _of_celery(record: logging.LogRecord) -> dict[str, str]:
    """Celery's own lines about a task have its name and id as their arguments."""
    args = record.args
    if isinstance(args, Mapping) and isinstance(args.get("name"), str) and isinstance(args.get("id"), str):
        return {"task": str(args["name"]), "task_id": str(args["id"])}
    return {}


class TextFormatter(logging.Formatter):
    """Lines for people. Only a line's beginning stands at the left edge, so that no text can forge one.

    What the sentence does not name itself stands before it: the task as Celery writes it, the rest as `name=value`.
    """

    context: Context = dict

    def format(self, record: logging.LogRecord) -> str:
        if record.exc_info:
            record.exc_text = None  # as another handler's formatter may have left it, for its own use
        return super().format(record)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        record.message = _introduced(_message(record), fields_of(record, self.context))
        return super().formatMessage(record)

    def formatException(self, ei: Any) -> str:  # noqa: N802
        return "  " + _indented(redacted_text(super().formatException(ei)))

    def formatStack(self, stack_info: str) -> str:  # noqa: N802
        return "  " + _indented(super().formatStack(stack_info))


def _introduced(message: str, fields: dict[str, Any]) -> str:
    task, task_id = fields.pop("task", None), fields.pop("task_id", None)
    told = message.lower()
    words = []
    if task_id and str(task_id) not in message:
        words.append(on_one_line(f"{task}[{task_id}]"))
    elif task and str(task) not in message:
        words.append(on_one_line(f"task={task}"))
    for name, value in fields.items():
        shown = on_one_line(str(value))
        if shown.lower() not in told:
            words.append(f"{name}={shown}")
    return _indented(f"{' '.join(words)}: {message}" if words else message)


def _message(record: logging.LogRecord) -> str:
    """The sentence as it was formatted; an error's text in it loses its passwords."""
    return redacted_text(record.message) if record.exc_info or record.name == _FAILURES else record.message


def _indented(text: str) -> str:
    if text.isprintable():
        return text
    return "\n  ".join(map(on_one_line, text.rstrip("\n").split("\n")))


class JsonFormatter(PythonJsonFormatter):
    """One object a line, in ASCII: one line for every reader, whatever its locale takes for the end of one."""

    context: Context = dict

    def __init__(self) -> None:
        super().__init__(json_ensure_ascii=True)

    def format(self, record: logging.LogRecord) -> str:
        try:
            return super().format(record)
        except Exception as error:  # noqa: BLE001 - logging would write a traceback between the objects
            told = logging.makeLogRecord({**record.__dict__, "args": (), "exc_info": None, "exc_text": None})
            told.msg = f"{record.msg!r} could not be formatted: {type(error).__name__}"
            return super().format(told)

    def add_fields(self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]) -> None:
        log_data |= {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")[:-6] + "Z",
            "level": record.levelname,
            "logger": record.name,
            "process": record.processName,
        }
        if record.threadName != threading.main_thread().name:
            log_data["thread"] = record.threadName
        for name, value in fields_of(record, self.context).items():
            log_data.setdefault(name, _as_json(value))
        log_data["message"] = _message(record) if not isinstance(record.msg, dict) else str(record.msg)
        if isinstance(record.exc_info, tuple) and record.exc_info[1] is not None:
            error = record.exc_info[1]
            log_data["exception"] = redacted_text(f"{type(error).__name__}: {error}")
        for name, told in (("exc_info", "traceback"), ("stack_info", "stack")):
            if message_dict.get(name):
                log_data[told] = redacted_text(str(message_dict[name]))


def _as_json(value: str | float) -> str | float:
    """JSON has no word for what is no number."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _log_what_is_uncaught() -> None:
    log = logging.getLogger("vmpooler_tasks.uncaught")
    usual = sys.excepthook

    def of_process(kind: type[BaseException], error: BaseException, traceback: Any) -> None:
        if issubclass(kind, KeyboardInterrupt):
            usual(kind, error, traceback)
        else:
            log.critical("The process ends: %s", _named(error), exc_info=(kind, error, traceback))

    def of_thread(args: threading.ExceptHookArgs) -> None:
        error = args.exc_value or args.exc_type()
        log.critical("A thread ends: %s", _named(error), exc_info=(args.exc_type, error, args.exc_traceback))

    def of_nobody(args: "sys.UnraisableHookArgs") -> None:
        error = args.exc_value or args.exc_type()
        log.error("Ignored: %s", _named(error), exc_info=(args.exc_type, error, args.exc_traceback))

    sys.excepthook, threading.excepthook, sys.unraisablehook = of_process, of_thread, of_nobody


def _named(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"
