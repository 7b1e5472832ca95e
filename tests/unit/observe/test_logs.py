"""The lines of the log in both formats; no text can forge a line."""

import io
import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.hostile_names import HOSTILE_NAMES
from vmpooler_tasks import logs
from vmpooler_tasks.errors import InvalidInputError
from vmpooler_tasks.jobs.purge.entries import StaleEntry
from vmpooler_tasks.jobs.purge.report import PurgeReport
from vmpooler_tasks.logs import LogFormat
from vmpooler_tasks.model.purge import PurgeTarget

TASK = {"task": "vmpooler_tasks.purge_stale_entries", "task_id": "1b2c"}
FORGED = "x'\n[2026-01-01 00:00:00,000: INFO/MainProcess] [*] [purge] all is well\r\x1b[2J\u2028{}"

Say = Callable[..., str]


@pytest.fixture(params=list(LogFormat))
def chosen(request: pytest.FixtureRequest) -> LogFormat:
    return LogFormat(request.param)


def written(chosen: LogFormat, say: Callable[[logging.Logger], object], context: logs.Context = dict) -> str:
    """Return what the logger `vmpooler_tasks.test` writes while `say` uses it."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logs.formatter(chosen, context))
    log = logging.Logger("vmpooler_tasks.test")  # noqa: LOG001 - nobody else's: pytest listens to those that are known
    log.addHandler(handler)
    say(log)
    return stream.getvalue()


def parsed(say: Callable[[logging.Logger], object], context: logs.Context = dict) -> dict[str, Any]:
    text = written(LogFormat.JSON, say, context)
    assert text.endswith("\n")
    assert len(text.splitlines()) == 1
    found: dict[str, Any] = json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    return found


def line(say: Callable[[logging.Logger], object], context: logs.Context = dict) -> str:
    """Return the line of text without its time and level."""
    return written(LogFormat.TEXT, say, context).split(" ", 3)[3].removesuffix("\n")


def test_an_object_has_time_level_logger_process_and_message() -> None:
    found = parsed(lambda log: log.warning("[!] %s", "so"))
    assert found.pop("time").endswith("Z")
    assert found == {"level": "WARNING", "logger": "vmpooler_tasks.test", "process": "MainProcess", "message": "[!] so"}


def test_times_are_utc_with_milliseconds() -> None:
    record = logging.makeLogRecord({"created": 1705314600.0625, "msg": "x", "levelname": "INFO"})
    assert json.loads(logs.formatter(LogFormat.JSON).format(record))["time"] == "2024-01-15T10:30:00.062Z"


def test_extras_stand_beside_the_message() -> None:
    about = {"vm": "pooler-a", "pool": "centos", "age": 3.5, "limit": float("inf"), "data": {"args": "secret"}}
    found = parsed(lambda log: log.info("x", extra=about), lambda: TASK)
    assert {"vm": "pooler-a", "pool": "centos", "age": 3.5, "limit": "inf", **TASK}.items() <= found.items()
    assert "data" not in found


def test_text_starts_with_the_fields_that_the_message_does_not_name() -> None:
    def say(log: logging.Logger) -> None:
        log.info("[*] 'pooler-a' is READY", extra={"vm": "pooler-a", "pool": "centos", "status": "ready"})

    assert line(say) == "pool=centos: [*] 'pooler-a' is READY"
    assert line(say, lambda: TASK) == ("vmpooler_tasks.purge_stale_entries[1b2c] pool=centos: [*] 'pooler-a' is READY")


def test_task_in_the_message_is_not_repeated() -> None:
    def say(log: logging.Logger) -> None:
        log.info("Task %(name)s[%(id)s] received", {"name": TASK["task"], "id": TASK["task_id"]})

    assert line(say, lambda: TASK) == "Task vmpooler_tasks.purge_stale_entries[1b2c] received"
    assert TASK.items() <= parsed(say).items()


def test_fields_of_a_line_override_those_of_the_context() -> None:
    assert parsed(lambda log: log.info("x", extra={"task_id": "other"}), lambda: TASK)["task_id"] == "other"


@pytest.mark.parametrize("dry_run", [False, True])
def test_the_lines_of_a_purge_have_vm_pool_and_queue(dry_run: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def purge(log: logging.Logger) -> None:
        monkeypatch.setattr("vmpooler_tasks.jobs.purge.report._log", log)
        PurgeReport(dry_run).add_entries(PurgeTarget.READY, "centos", [StaleEntry(b"pooler-a", b"", 90000.0)], 86400.0)

    found = parsed(purge, lambda: TASK)
    assert {"vm": "pooler-a", "pool": "centos", "queue": "ready", **TASK}.items() <= found.items()
    told = line(purge, lambda: TASK)
    assert told.endswith(found["message"])
    assert all(f"{value}" in told for value in ("pooler-a", "centos", "ready", *TASK.values()))


def fail(log: logging.Logger) -> None:
    try:
        raise InvalidInputError(f"password=hunter2 {FORGED}")  # noqa: TRY301
    except InvalidInputError:
        log.exception("It failed")


def test_an_exception_and_its_traceback_are_fields() -> None:
    found = parsed(fail)
    assert found["message"] == "It failed"
    assert found["exception"].startswith("InvalidInputError: The input is not valid: password=[redacted]")
    assert found["traceback"].startswith("Traceback (most recent call last):\n")
    assert "hunter2" not in json.dumps(found)


def test_traceback_in_text_is_indented() -> None:
    first, *rest = written(LogFormat.TEXT, fail).splitlines()
    assert first.endswith(" It failed")
    assert rest
    assert all(line.startswith("  ") for line in rest)
    assert rest[0] == "  Traceback (most recent call last):"
    assert "hunter2" not in "".join(rest)


@pytest.mark.parametrize("where", ["message", "field", "error"])
def test_no_text_forges_a_line(chosen: LogFormat, where: str) -> None:
    says: dict[str, Callable[[logging.Logger], object]] = {
        "message": lambda log: log.info("%s", FORGED),
        "field": lambda log: log.info("x", extra={"vm": FORGED}),
        "error": fail,
    }
    first, *rest = written(chosen, says[where]).split("\n")
    assert json.loads(first) if chosen is LogFormat.JSON else first
    assert rest.pop() == ""
    assert all(line.startswith("  ") for line in rest)
    assert not rest or chosen is LogFormat.TEXT
    assert all(line.isprintable() for line in (first, *rest))


@pytest.mark.parametrize("name", HOSTILE_NAMES.values(), ids=HOSTILE_NAMES)
def test_hostile_names_are_text_in_every_line(chosen: LogFormat, name: str) -> None:
    def say(log: logging.Logger) -> None:
        try:
            raise ValueError(name)  # noqa: TRY301
        except ValueError:
            log.exception("[!] %s", name, extra={"vm": name, "task": name, "task_id": name})

    text = written(chosen, say, lambda: {"pool": name})
    assert text.endswith("\n")
    first, *rest = text[:-1].split("\n")
    assert all(line.isprintable() for line in (first, *rest))
    assert all(line.startswith("  ") for line in rest)
    if chosen is LogFormat.JSON:
        assert (rest, first.isascii()) == ([], True)


def test_message_that_cannot_be_formatted_is_an_object() -> None:
    found = parsed(lambda log: log.error("%d", "no number"))
    assert found["message"] == "'%d' could not be formatted: TypeError"
    assert found["level"] == "ERROR"


def test_single_surrogate_is_written(chosen: LogFormat) -> None:
    assert written(chosen, lambda log: log.info("vm \udc9f")).encode("ascii")


# --- the choice ------------------------------------------------------------------------------------------------------


@pytest.fixture
def environ(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    monkeypatch.setenv(logs.VARIABLE, "")
    yield monkeypatch
    monkeypatch.undo()


@pytest.mark.parametrize(
    ("variable", "option", "expected"),
    [
        ("", None, "text"),
        ("json", None, "json"),
        ("json", "text", "text"),
        ("", "json", "json"),
        ("xml", "json", "json"),
    ],
)
def test_option_overrides_the_variable(
    environ: pytest.MonkeyPatch, variable: str, option: str | None, expected: str
) -> None:
    environ.setenv(logs.VARIABLE, variable)
    assert logs.choose(option) == expected
    assert (os.environ[logs.VARIABLE] or "text") == expected, "for the processes that this one starts"


@pytest.mark.parametrize(
    ("variable", "option", "status", "said"),
    [
        ("JSON", None, 78, "No such log format: VMPOOLER_LOG_FORMAT is 'JSON'; it is either text or json"),
        ("", "xml\n", 64, r"No such log format: --log-format is 'xml\\n'; it is either text or json"),
    ],
)
def test_another_word_is_one_line(
    environ: pytest.MonkeyPatch, variable: str, option: str | None, status: int, said: str
) -> None:
    environ.setenv(logs.VARIABLE, variable)
    with pytest.raises(logs.LogFormatError) as refused:
        logs.choose(option)
    assert (str(refused.value), refused.value.exit_status) == (said, status)


def test_whatever_ends_a_process_is_an_object() -> None:
    script = """
import logging, threading, warnings
from vmpooler_tasks import logs
logs.configure(logs.LogFormat.JSON)
warnings.warn("beware")
def fail(): raise ValueError("in a thread")
thread = threading.Thread(target=fail); thread.start(); thread.join()
class Gone:
    def __del__(self): raise ValueError("in a finalizer")
Gone()
raise ValueError("at last")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    said = [json.loads(each) for each in done.stderr.splitlines()]
    assert done.returncode == 1
    assert [found["level"] for found in said] == ["WARNING", "CRITICAL", "ERROR", "CRITICAL"]
    assert "beware" in said[0]["message"]
    assert [found["exception"] for found in said[1:]] == [
        "ValueError: in a thread",
        "ValueError: in a finalizer",
        "ValueError: at last",
    ]
    assert said[1]["thread"]
