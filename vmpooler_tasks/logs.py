"""The log formats: the guide's lines for people, one JSON object per line for machines, with the same fields.

`--log-format` or VMPOOLER_LOG_FORMAT selects the format of a process and of its children. docs/logging.md lists the
fields.
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
"""The default prefix of a line of text."""

Context = Callable[[], Mapping[str, str]]
"""Returns the fields of every line at this moment: inside a task, the task and its id."""

_FAILED_TASKS_LOGGER = "celery.app.trace"
"""Celery's logger of failed tasks. Its lines contain the text of the error."""

_RESERVED_NAMES = frozenset({*RESERVED_ATTRS, "taskName", "color_message"})
"""Attributes of a record that are not fields: those of logging, and uvicorn's coloured copy of the message."""


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
    """Return the format of the option, else of VMPOOLER_LOG_FORMAT, and set it for the children of this process.

    Raise LogFormatError for anything but `text` and `json`. An empty variable counts as not set.
    """
    named, value = (VARIABLE, os.environ.get(VARIABLE) or LogFormat.TEXT) if option is None else (OPTION, option)
    try:
        chosen = LogFormat(value)
    except ValueError:
        raise LogFormatError(named, value) from None
    if option is not None:
        os.environ[VARIABLE] = chosen
    return chosen


def is_json_log() -> bool:
    """Return whether this process logs JSON."""
    return os.environ.get(VARIABLE) == LogFormat.JSON


def end_with_error(error: VmpoolerTasksError) -> NoReturn:
    """End this process before its start, with the error as a JSON line of the log, or as plain text."""
    if is_json_log():
        logging.getLogger("vmpooler_tasks").critical("%s", error)
    else:
        sys.stderr.write("vmpooler-tasks: " + "\n".join(map(on_one_line, str(error).split("\n"))) + "\n")
    sys.exit(error.exit_status)


def configure(chosen: LogFormat, level: int = logging.INFO) -> None:
    """Log to stderr in this format, and nowhere else. With JSON, warnings and uncaught exceptions are lines, too."""
    handler = logging.StreamHandler()
    handler.setFormatter(formatter(chosen))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    if chosen is LogFormat.JSON:
        logging.captureWarnings(True)
        _log_uncaught_exceptions()


def formatter(chosen: LogFormat, context: Context = dict) -> logging.Formatter:
    """Return a formatter for any handler, such as one of uvicorn's."""
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
    """Return the fields of the line: those of the context, overridden by those of the record."""
    own = {
        name: value
        for name, value in record.__dict__.items()
        if name not in _RESERVED_NAMES
        and not name.startswith("_")
        and isinstance(value, str | int | float)
        and value != ""
    }
    return {**_subject.get(), **context(), **_celery_fields(record), **own}


def _celery_fields(record: logging.LogRecord) -> dict[str, str]:
    """Return the task of one of Celery's own lines, which has its name and id as arguments."""
    args = record.args
    if isinstance(args, Mapping) and isinstance(args.get("name"), str) and isinstance(args.get("id"), str):
        return {"task": str(args["name"]), "task_id": str(args["id"])}
    return {}


class TextFormatter(logging.Formatter):
    """Format lines for people. Only the start of a record is in the first column, so that no text can forge a record.

    Fields that the sentence does not name stand before it: the task as Celery writes it, the others as `name=value`.
    """

    context: Context = dict

    def format(self, record: logging.LogRecord) -> str:
        if record.exc_info:
            record.exc_text = None  # the formatter of another handler may have set it
        return super().format(record)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        record.message = _with_fields(_message(record), fields_of(record, self.context))
        return super().formatMessage(record)

    def formatException(self, ei: Any) -> str:  # noqa: N802
        return "  " + _indent(redacted_text(super().formatException(ei)))

    def formatStack(self, stack_info: str) -> str:  # noqa: N802
        return "  " + _indent(super().formatStack(stack_info))


def _with_fields(message: str, fields: dict[str, Any]) -> str:
    task, task_id = fields.pop("task", None), fields.pop("task_id", None)
    sentence = message.lower()
    words = []
    if task_id and str(task_id) not in message:
        words.append(on_one_line(f"{task}[{task_id}]"))
    elif task and str(task) not in message:
        words.append(on_one_line(f"task={task}"))
    for name, value in fields.items():
        text = on_one_line(str(value))
        if text.lower() not in sentence:
            words.append(f"{name}={text}")
    return _indent(f"{' '.join(words)}: {message}" if words else message)


def _message(record: logging.LogRecord) -> str:
    """Return the formatted sentence. Passwords in the text of an error are removed."""
    return redacted_text(record.message) if record.exc_info or record.name == _FAILED_TASKS_LOGGER else record.message


def _indent(text: str) -> str:
    if text.isprintable():
        return text
    return "\n  ".join(map(on_one_line, text.rstrip("\n").split("\n")))


class JsonFormatter(PythonJsonFormatter):
    """Format one ASCII object per line, which is one line for every reader, whatever its locale."""

    context: Context = dict

    def __init__(self) -> None:
        super().__init__(json_ensure_ascii=True)

    def format(self, record: logging.LogRecord) -> str:
        try:
            return super().format(record)
        except Exception as error:  # noqa: BLE001 - logging would write a traceback between the objects
            reported = logging.makeLogRecord({**record.__dict__, "args": (), "exc_info": None, "exc_text": None})
            reported.msg = f"{record.msg!r} could not be formatted: {type(error).__name__}"
            return super().format(reported)

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
        for name, field in (("exc_info", "traceback"), ("stack_info", "stack")):
            if message_dict.get(name):
                log_data[field] = redacted_text(str(message_dict[name]))


def _as_json(value: str | float) -> str | float:
    """Return the value; infinity and NaN as text, because JSON does not have them."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _log_uncaught_exceptions() -> None:
    log = logging.getLogger("vmpooler_tasks.uncaught")
    usual = sys.excepthook

    def log_process_error(kind: type[BaseException], error: BaseException, traceback: Any) -> None:
        if issubclass(kind, KeyboardInterrupt):
            usual(kind, error, traceback)
        else:
            log.critical("The process ends: %s", _error_text(error), exc_info=(kind, error, traceback))

    def log_thread_error(args: threading.ExceptHookArgs) -> None:
        error = args.exc_value or args.exc_type()
        log.critical("A thread ends: %s", _error_text(error), exc_info=(args.exc_type, error, args.exc_traceback))

    def log_ignored_error(args: "sys.UnraisableHookArgs") -> None:
        error = args.exc_value or args.exc_type()
        log.error("Ignored: %s", _error_text(error), exc_info=(args.exc_type, error, args.exc_traceback))

    sys.excepthook, threading.excepthook, sys.unraisablehook = log_process_error, log_thread_error, log_ignored_error


def _error_text(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"
