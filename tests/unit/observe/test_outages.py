"""The log lines of an outage, and which lines of others are left out."""

import logging

import pytest
from kombu.exceptions import OperationalError
from redis import exceptions

from vmpooler_tasks.errors import StoreUnavailableError
from vmpooler_tasks.store.redis import outages
from vmpooler_tasks.store.redis.outages import OutageLog
from vmpooler_tasks.tasks.observe import outages as filters

ONE, TWO = "redis://one:6379/0", "redis://two:6379/0"


class Time:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def log(time: Time, caplog: pytest.LogCaptureFixture) -> OutageLog:
    caplog.set_level(logging.INFO)
    return OutageLog(time)


def test_each_outage_is_two_lines(log: OutageLog, time: Time, caplog: pytest.LogCaptureFixture) -> None:
    log.announce("Connection lost: ")
    log.note_failure(ONE, f"Redis does not reply: {ONE}: refused.")
    for _ in range(3):
        log.note_failure(ONE, "again")
    assert log.is_lasting
    time.now += 7
    log.note_reply(ONE)
    log.note_reply(ONE)
    log.note_failure(ONE, "a connection of a thread from before")
    log.note_failure(ONE, "the connection from before", is_lost=True)
    log.note_connected(ONE)
    log.note_failure(ONE, f"Redis does not reply: {ONE}: a\nb", is_lost=True)
    assert caplog.messages == [
        f"[!] [redis] Redis does not reply: {ONE}: refused. This process tries again until it does",
        f"[*] [redis] Connected to {ONE}: Redis replies again, after 7 s",
        f"[!] [redis] Connection lost: Redis does not reply: {ONE}: a\\nb. This process tries again until it does",
    ]


def test_outages_of_two_servers_are_two(log: OutageLog, caplog: pytest.LogCaptureFixture) -> None:
    log.announce()
    log.note_failure(ONE, "one")
    log.note_failure(TWO, "two")
    log.note_reply(ONE)
    assert log.is_lasting
    assert len(caplog.messages) == 3
    log.note_reply(TWO)
    assert not log.is_lasting


def test_a_process_that_announces_nothing_logs_nothing(log: OutageLog, caplog: pytest.LogCaptureFixture) -> None:
    log.note_failure(ONE, "one")
    assert log.is_lasting
    log.note_reply(ONE)
    log.announce()
    log._announcer = -1  # another process
    log.silence()
    log.note_failure(ONE, "one")
    assert caplog.messages == []


def test_a_pool_without_children_silences_nobody(log: OutageLog, caplog: pytest.LogCaptureFixture) -> None:
    """With `-P solo`, Celery prepares the worker itself as if it were a child."""
    log.announce()
    log.silence()
    log.note_failure(ONE, "one")
    assert len(caplog.messages) == 1


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch) -> OutageLog:
    """The log of this process, in an outage or not."""
    found = OutageLog()
    for module in (outages, filters):
        monkeypatch.setattr(module, "OUTAGES", found)
    monkeypatch.setattr(filters, "broker_address", lambda: ONE)
    return found


def record(name: str, level: int, text: str, *args: object, error: BaseException | None = None) -> logging.LogRecord:
    return logging.LogRecord(name, level, __file__, 1, text, args, (type(error), error, None) if error else None)


LOST, REFUSED = exceptions.ConnectionError("Connection refused"), exceptions.NoPermissionError("no")
REPEATED = (
    record("celery.worker.consumer.consumer", logging.WARNING, "%s (%r)", "consumer: Connection to broker lost", LOST),
    record(
        "celery.worker.consumer.consumer", logging.WARNING, "%s (%r)", "consumer: Connection to broker lost", REFUSED
    ),
    record("celery.worker.consumer.consumer", logging.ERROR, "consumer: Cannot connect to %s: %s.\n%s", ONE, LOST, ""),
    record("celery.worker.request", logging.CRITICAL, "Couldn't ack %r, reason:%r", "tag", LOST, error=LOST),
    record("kombu.transport", logging.INFO, "Restoring 2 unacknowledged message(s)"),
    record("vmpooler_tasks.beat", logging.ERROR, "[!] [beat] %s; trying again", StoreUnavailableError("x")),
    record("vmpooler_tasks.workers", logging.WARNING, "could not record: %s", "Redis does not reply: x"),
    record("celery.app.trace", logging.INFO, "Task raised expected: %s", "StoreUnavailableError('x')"),
    record("vmpooler_tasks.beat", logging.ERROR, "%s could not be sent: %s", "x", OperationalError("x")),
    record("any", logging.ERROR, "failed", error=exceptions.TimeoutError("x")),
)
OTHER = (
    record("vmpooler_tasks.dlq", logging.CRITICAL, "[!] [dlq] %s; could not be kept", StoreUnavailableError("x")),
    record(outages.LOGGER, logging.ERROR, "[!] [redis] Redis does not reply: x"),
    record("vmpooler_tasks.pools", logging.ERROR, "the provider failed: %s", ConnectionError("of the provider")),
    record("celery.app.trace", logging.ERROR, "Task failed", error=ValueError("x")),
    record("celery.worker.consumer.consumer", logging.WARNING, "%s (%r)", "x", REFUSED),
    record("celery.worker.consumer.consumer", logging.ERROR, "consumer: Cannot connect to %s: %s.", ONE, REFUSED),
)


@pytest.mark.parametrize("wanted", [True, False])
def test_an_outage_leaves_out_what_repeats_it_and_nothing_else(wanted: bool, own: OutageLog) -> None:
    own.note_failure(ONE, "gone")
    assert [
        one.getMessage() for one in (OTHER if wanted else REPEATED) if filters.filter_and_note(one) is not wanted
    ] == []


def test_a_lost_connection_that_a_library_logs_starts_an_outage(own: OutageLog) -> None:
    assert filters.filter_and_note(record("vmpooler_tasks.workers", logging.INFO, "Redis does not reply: earlier"))
    assert not filters.filter_and_note(record("any", logging.ERROR, "failed", error=LOST))
    assert own.is_lasting


def test_an_acknowledgement_over_a_closed_connection_starts_none(own: OutageLog) -> None:
    closed = exceptions.ConnectionError("the connection was closed")
    assert not filters.filter_and_note(record("any", logging.CRITICAL, "Couldn't ack %r, reason:%r", "tag", closed))
    assert not own.is_lasting
