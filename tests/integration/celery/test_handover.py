"""A message moves from its queue to `unacked` in one step on the server, so that no death in between loses it."""

import json
from queue import Empty
from typing import Any

import pytest
from redis.exceptions import ResponseError

from tests.integration.celery.conftest import consumed, read, unacked
from tests.support.messages import QUEUE, message, send
from tests.support.processes import until
from vmpooler_tasks.model.names import DeadLetterQueue
from vmpooler_tasks.store import Database, keys
from vmpooler_tasks.tasks.broker.transport import WAKE_SUFFIX
from vmpooler_tasks.tasks.registry import HEALTH_CHECK

WAKE = QUEUE + WAKE_SUFFIX


@pytest.mark.both_servers
def test_reader_that_dies_before_it_reads_the_reply_loses_no_message(channel: Any, db: Database) -> None:
    consumed(channel)
    send(db, message(HEALTH_CHECK))
    channel._brpop_start()
    until(lambda: not db.call("LLEN", QUEUE), "the server has taken the message")
    channel.client.connection.disconnect()
    assert unacked(db) == (1, 1)
    channel.qos.restore_by_tag(db.call("HKEYS", "unacked")[0].decode())
    assert db.call("LLEN", QUEUE) == 1
    assert unacked(db) == (0, 0)


def test_message_is_noted_once_and_removed_when_it_is_acknowledged(channel: Any, db: Database) -> None:
    got = consumed(channel)
    send(db, message(HEALTH_CHECK))
    read(channel)
    assert unacked(db) == (1, 1)
    assert not channel.taken
    channel.basic_ack(got[0].delivery_tag)
    assert unacked(db) == (0, 0)


def test_consumer_without_acknowledgement_leaves_no_note(channel: Any, db: Database) -> None:
    got = consumed(channel, no_ack=True)
    send(db, message(HEALTH_CHECK))
    read(channel)
    assert len(got) == 1
    assert unacked(db) == (0, 0)


def test_message_stays_in_its_queue_if_redis_refuses_the_note(
    channel: Any, db: Database, caplog: pytest.LogCaptureFixture
) -> None:
    consumed(channel)
    send(db, message(HEALTH_CHECK))
    db.call("SET", "unacked", "of the wrong type")
    channel._brpop_start()
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        channel._brpop_read()
    assert db.call("LLEN", QUEUE) == 1
    assert "Redis refuses to hand over a message of unacked, unacked_index, vmpooler.maintenance: " in caplog.text
    db.call("DEL", "unacked")
    read(channel)
    assert unacked(db) == (1, 1)


def test_invalid_message_is_kept_and_leaves_no_note(
    channel: Any, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[bytes] = []
    monkeypatch.setattr("vmpooler_tasks.tasks.broker.transport.keep_raw_message", lambda raw, *_: kept.append(raw))
    got = consumed(channel)
    send(db, message(HEALTH_CHECK, headers={"eta": {}}))
    send(db, b"garbage")
    read(channel)
    read(channel)
    assert len(kept) == 2
    assert got == []
    assert unacked(db) == (0, 0)
    assert not db.call("EXISTS", keys.dead_letters(DeadLetterQueue.TASKS))


def test_idle_reader_waits_and_is_woken_by_a_publisher(connection: Any, channel: Any, db: Database) -> None:
    got = consumed(channel)
    read(channel)  # finds nothing
    channel._brpop_start()  # waits
    with connection.clone() as other:
        other.channel()._put(QUEUE, message(HEALTH_CHECK))
    with pytest.raises(Empty):
        channel._brpop_read()
    read(channel)
    assert len(got) == 1
    read(channel)
    assert not db.call("EXISTS", WAKE), "wake-ups are forgotten when the queue is empty"


def test_message_without_a_wake_up_is_found_in_the_next_turn(channel: Any, db: Database) -> None:
    got = consumed(channel)
    read(channel)  # finds nothing
    db.call("LPUSH", QUEUE, json.dumps(message(HEALTH_CHECK)))  # as a publisher that does not know of wake-ups
    read(channel)  # waits for a second at most
    read(channel)
    assert len(got) == 1


def test_priorities_are_read_in_their_order(channel: Any, db: Database) -> None:
    got = consumed(channel)
    send(db, message(HEALTH_CHECK, task_id="later"), QUEUE + "\x06\x169")
    send(db, message(HEALTH_CHECK, task_id="first"))
    read(channel)
    read(channel)
    assert [one.headers["id"] for one in got] == ["first", "later"]
