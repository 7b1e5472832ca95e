"""A task is not run by a worker whose message was given to another one meanwhile."""

from typing import Any

import pytest
from celery.exceptions import Ignore
from celery.utils.threads import LocalStack

from tests.integration.celery.conftest import consumed, read
from tests.support.messages import message, send
from vmpooler_tasks.store import Database, broker_keys
from vmpooler_tasks.tasks.broker.fence import HOLDER, is_held
from vmpooler_tasks.tasks.celery import base
from vmpooler_tasks.tasks.registry import HEALTH_CHECK


@pytest.fixture
def taken(channel: Any, db: Database) -> Any:
    got = consumed(channel)
    send(db, message(HEALTH_CHECK))
    read(channel)
    return got[0]


def test_message_is_held_until_it_is_acknowledged(channel: Any, db: Database, taken: Any) -> None:
    assert taken.properties[HOLDER] == channel.holder
    assert is_held(db, taken.properties)
    channel.basic_ack(taken.delivery_tag)
    assert not is_held(db, taken.properties)


def test_message_that_went_back_is_not_held(channel: Any, db: Database, taken: Any) -> None:
    channel.return_message(taken.delivery_tag, channel.holder)
    assert not is_held(db, taken.properties)
    assert HOLDER not in db.call("LINDEX", "vmpooler.maintenance", 0).decode()


def test_message_that_another_has_is_not_held(db: Database, taken: Any) -> None:
    db.call("HSET", broker_keys.UNACKNOWLEDGED_HOLDERS, taken.delivery_tag, "another")
    assert not is_held(db, taken.properties)


@pytest.mark.parametrize("key", [broker_keys.UNACKNOWLEDGED_HOLDERS, broker_keys.UNACKNOWLEDGED])
def test_key_of_the_wrong_type_stops_no_task(db: Database, taken: Any, key: bytes) -> None:
    db.call("SET", broker_keys.UNACKNOWLEDGED_HOLDERS, "of the wrong type")
    db.call("SET", key, "of the wrong type")
    assert is_held(db, taken.properties)
    db.call("DEL", key)


def test_what_is_no_message_is_held(db: Database) -> None:
    assert is_held(db, None)
    assert is_held(db, {"delivery_tag": "of a stock worker"})


def test_task_is_ignored_without_its_message(
    db: Database, taken: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(base, "broker", lambda: db)
    task = base.Task()
    task.name, task.request_stack = "example", LocalStack()
    task.push_request(id="one", properties=taken.properties)
    try:
        task.before_start("one", (), {})
        db.call("HDEL", broker_keys.UNACKNOWLEDGED_HOLDERS, taken.delivery_tag)
        db.call("HDEL", broker_keys.UNACKNOWLEDGED, taken.delivery_tag)
        with pytest.raises(Ignore):
            task.before_start("one", (), {})
    finally:
        task.pop_request()
    assert "example[one] is not run here: another worker has its message" in caplog.text
