"""What Celery's worker logs of the pool workers' ticks: not each that expired, but that some do."""

import logging
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from celery import Celery, signals
from celery.worker.request import Request

from vmpooler_tasks.tasks import registry as names
from vmpooler_tasks.tasks.observe.log_filter import LATE_TASKS, LATE_TASKS_INTERVAL, LateTasks, install
from vmpooler_tasks.tasks.registry import OWN_LINES, REPEATED
from vmpooler_tasks.throttle import Throttle

LONG_AGO = "2020-01-01T00:00:00+00:00"
HUSHED = ("celery.worker.request", "celery.worker.strategy", "celery.app.trace")


@pytest.fixture(autouse=True)
def _filters(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Restore the filters of these loggers."""
    caplog.set_level(logging.INFO)
    before = {name: list(logging.getLogger(name).filters) for name in HUSHED}
    for name in HUSHED:
        caplog.set_level(logging.INFO, logger=name)
    install()
    yield
    for name, filters in before.items():
        logging.getLogger(name).filters[:] = filters


def _nothing() -> None:
    pass


def discard(task: str) -> bool:
    """Discard an expired message as a worker does, by Celery's own code. Return True if it was discarded."""
    with Celery(set_as_current=False, broker="memory://", backend="disabled") as app:
        if task not in app.tasks:  # they are, once any test has imported ours
            app.task(_nothing, name=task, shared=False)
        message = SimpleNamespace(delivery_info={}, properties={}, headers={}, body=b"", content_type="", payload=None)
        # A tick: of anything else that expired, this project's own hook would write a dead letter.
        head = {"id": "some-id", "task": task, "lang": "py", "tick": True, "expires": LONG_AGO}
        return bool(Request(message, app=app, headers=head, body=((), {}, {}), decoded=True).revoked())


@pytest.mark.parametrize("task", sorted(REPEATED))
def test_expired_tick_of_pool_workers_is_not_logged(task: str, caplog: pytest.LogCaptureFixture) -> None:
    assert discard(task)
    assert not [message for message in caplog.messages if "Discarding" in message]


@pytest.mark.parametrize("task", [names.PURGE, names.HEALTH_CHECK, names.CLONE_VM, names.DESTROY_VM, "somebody.elses"])
def test_other_expired_task_is_logged(task: str, caplog: pytest.LogCaptureFixture) -> None:
    assert discard(task)
    assert f"Discarding revoked task: {task}[some-id]" in caplog.messages


def test_other_lines_of_the_logger_stay(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("celery.worker.request")
    logger.info("no arguments")
    logger.info("Discarding revoked task: nothing known")
    logger.info("one %s", names.CHECK_POOL)
    logger.error("a mapping: %(name)s", {"name": names.CHECK_POOL})
    assert len(caplog.messages) == 4


def test_lines_of_single_tasks_are_left_out_unless_they_failed(caplog: pytest.LogCaptureFixture) -> None:
    for name in ("celery.worker.strategy", "celery.app.trace"):
        logger = logging.getLogger(name)
        for task in OWN_LINES:
            logger.info("Task %(name)s", {"name": task})
            logger.error("Failed %(name)s", {"name": task})
    assert len(caplog.messages) == 2 * len(OWN_LINES)
    assert all(message.startswith("Failed") for message in caplog.messages)


def test_debug_level_logs_everything(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("celery.worker.request")
    logger.filters.clear()
    logger.setLevel(logging.DEBUG)
    install()
    assert discard(names.CHECK_POOLS)
    assert f"Discarding revoked task: {names.CHECK_POOLS}[some-id]" in caplog.messages


def test_expired_ticks_are_logged_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    now = 0.0
    lateness = LateTasks(Throttle(LATE_TASKS_INTERVAL, lambda: now))
    for now in (5.0, 5.1, 64.9):  # noqa: B007 - the clock reads it
        lateness.on_revoked(SimpleNamespace(name=names.CHECK_POOL), expired=True)
    assert caplog.messages == [LATE_TASKS]
    now = 65.0
    lateness.on_revoked(SimpleNamespace(name=names.CHECK_POOLS), expired=True)
    assert caplog.messages == [LATE_TASKS, LATE_TASKS]
    assert {record.levelno for record in caplog.records} == {logging.WARNING}


@pytest.mark.parametrize(("task", "expired"), [(names.CHECK_POOL, False), (names.PURGE, True), (names.CLONE_VM, True)])
def test_revoked_tasks_and_others_do_not_count_as_expired_ticks(
    task: str, expired: bool, caplog: pytest.LogCaptureFixture
) -> None:
    LateTasks().on_revoked(SimpleNamespace(name=task), expired=expired)
    assert caplog.messages == []


def test_celery_itself_reports_the_ticks_that_expired(caplog: pytest.LogCaptureFixture) -> None:
    lateness = LateTasks()
    signals.task_revoked.connect(lateness.on_revoked)
    discard(names.CHECK_POOL)
    signals.task_revoked.disconnect(lateness.on_revoked)
    assert LATE_TASKS in caplog.messages
