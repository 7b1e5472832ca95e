"""Messages of one pool, however many, do not delay those of the others."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from tests.integration.celery.conftest import consumed, read
from tests.support.messages import message
from tests.support.servers import TestServer
from vmpooler_tasks.config import RedisSection, Settings
from vmpooler_tasks.jobs.pools.context import Work
from vmpooler_tasks.model.pools.lifecycle import Step
from vmpooler_tasks.store import Database, broker_keys
from vmpooler_tasks.tasks import enqueue, messages
from vmpooler_tasks.tasks.registry import CHECK_QUEUE, CLONE_QUEUE, DESTROY_QUEUE, HEALTH_CHECK

URGENT, SHARE, REST, _ = range(4)


@pytest.fixture
def sending(db: Database, server: TestServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let this process send as a worker does, with a share of three, and room for five more."""
    settings = Settings(redis=RedisSection(url=server.url))
    with enqueue._client(settings) as client:
        monkeypatch.setattr(messages, "current_app", client)
        monkeypatch.setattr(messages, "settings", lambda: settings)
        monkeypatch.setattr(messages, "broker", lambda: db)
        monkeypatch.setattr(messages, "SHARE", 3)
        monkeypatch.setattr(messages, "MAX_WAITING_CHECKS", 8)
        yield


def work(step: Step, count: int, pool: str = "flooded") -> list[Work]:
    return [Work(step, f"{pool}-{number}", pool) for number in range(count)]


def waiting(db: Database, queue: str) -> list[int]:
    """The messages of each priority."""
    return [db.call("LLEN", key) for key in broker_keys.messages(queue)]


@pytest.mark.usefixtures("sending")
def test_a_flood_of_checks_fills_its_share_and_the_room_that_is_left(db: Database) -> None:
    assert messages.send_work(work(Step.CHECK_READY, 100)) == 3 + 8
    assert waiting(db, CHECK_QUEUE) == [0, 3, 8, 0]
    assert messages.send_work(work(Step.CHECK_READY, 2, "other")) == 2
    assert messages.send_work(work(Step.CHECK_READY, 100)) == 3, "no room is left"
    assert waiting(db, CHECK_QUEUE) == [0, 8, 8, 0]


@pytest.mark.usefixtures("sending")
def test_each_step_has_a_share_and_clones_are_urgent(db: Database) -> None:
    many = [*work(Step.CHECK_PENDING, 2), *work(Step.CHECK_READY, 4), *work(Step.DESTROY, 9), *work(Step.CLONE, 9)]
    assert messages.send_work(many) == len(many)
    assert waiting(db, CHECK_QUEUE) == [0, 5, 1, 0]
    assert waiting(db, DESTROY_QUEUE) == [0, 3, 6, 0], "what is planned is sent"
    assert waiting(db, CLONE_QUEUE) == [9, 0, 0, 0]


@pytest.mark.usefixtures("sending")
def test_inspections_are_urgent_and_a_tick_waits_for_those_of_the_last(db: Database) -> None:
    messages.send_work(work(Step.CHECK_READY, 100))
    assert not messages.has_waiting_inspections()
    messages.send_inspections(["one", "two"])
    assert messages.has_waiting_inspections()
    assert waiting(db, CHECK_QUEUE)[URGENT] == 2


def put(db: Database, queue: str, priority: int, names: Sequence[str]) -> None:
    for name in names:
        db.call("LPUSH", broker_keys.messages(queue)[priority], json.dumps(message(HEALTH_CHECK, task_id=name)))


def test_a_worker_takes_from_its_queues_in_turn_and_of_each_the_urgent_first(channel: Any, db: Database) -> None:
    got = consumed(channel, queues=(CHECK_QUEUE, CLONE_QUEUE))
    put(db, CHECK_QUEUE, REST, ["check-3", "check-4"])
    put(db, CHECK_QUEUE, SHARE, ["check-2"])
    put(db, CHECK_QUEUE, URGENT, ["check-1"])
    put(db, CLONE_QUEUE, URGENT, ["clone-1", "clone-2", "clone-3"])
    for _ in range(7):
        read(channel)
    names = [one.headers["id"] for one in got]
    assert [name for name in names if name.startswith("check")] == [f"check-{number}" for number in range(1, 5)]
    assert {name[:5] for name in names[:2]} == {name[:5] for name in names[2:4]} == {"check", "clone"}
