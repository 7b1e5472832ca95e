"""A message moves from its queue to `unacked` in one step on the server, so that no death in between loses it."""

import json
import logging
from queue import Empty
from typing import Any

import pytest

from tests.integration.celery.conftest import Connection, consumed, open_channel, read, unacked
from tests.support.messages import QUEUE, message, send
from tests.support.processes import until
from tests.support.servers import TestServer
from vmpooler_tasks.store import Database
from vmpooler_tasks.tasks.broker import transport
from vmpooler_tasks.tasks.broker.holders import HOLDERS_KEY
from vmpooler_tasks.tasks.broker.transport import WAKE_SUFFIX, GuardedTransport
from vmpooler_tasks.tasks.registry import CHECK_QUEUE, HEALTH_CHECK

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
    caplog.set_level(logging.INFO)
    consumed(channel)
    send(db, message(HEALTH_CHECK))
    db.call("SET", "unacked", "of the wrong type")
    for _ in range(4):  # with a wait for a wake-up in between
        read(channel)
    assert db.call("LLEN", QUEUE) == 1
    assert caplog.text.count("Redis refuses to hand over a message: unacked: WRONGTYPE ") == 1, "once a minute"
    db.call("DEL", "unacked")
    read(channel)
    assert unacked(db) == (1, 1)
    assert "Redis does not refuse any more to hand over a message" in caplog.text


def test_refused_step_undoes_those_before_it(
    connection: Any, db: Database, server: TestServer, caplog: pytest.LogCaptureFixture
) -> None:
    """A user without RPOP: the message has been noted when Redis refuses to pop it."""
    db.call("ACL", "SETUSER", "reader", "on", ">secret", "~*", "&*", "+@all", "-rpop")
    url = server.url.replace("redis://", "redis://reader:secret@")
    send(db, message(HEALTH_CHECK))
    with Connection(url, transport=GuardedTransport) as own, open_channel(own) as channel:
        got = consumed(channel)
        read(channel)
        assert (unacked(db), db.call("HLEN", HOLDERS_KEY), db.call("LLEN", QUEUE)) == ((0, 0), 0, 1)
        assert f"Redis refuses to hand over a message: {QUEUE}: " in caplog.text
        db.call("ACL", "SETUSER", "reader", "+rpop")
        read(channel)  # waits
        read(channel)
        assert len(got) == 1
    db.call("ACL", "DELUSER", "reader")
    del connection


def test_refused_user_gets_the_message_later_and_nothing_is_lost(
    db: Database, server: TestServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Redis refuses the command as a whole, also the one that waits for a wake-up."""
    monkeypatch.setattr(transport, "PAUSE_SECONDS", 0)
    db.call("ACL", "SETUSER", "reader", "on", ">secret", "~_kombu*", "&*", "+@all", "-brpop")
    url = server.url.replace("redis://", "redis://reader:secret@")
    with Connection(url, transport=GuardedTransport) as own, open_channel(own) as channel:
        got = consumed(channel)
        read(channel)
        assert f"Redis refuses to hand over a message: unacked, unacked_index, {QUEUE}: " in caplog.text
        db.call("ACL", "SETUSER", "reader", "~*")
        read(channel)
        read(channel)
        assert f"Redis refuses to wake this worker for a message: {WAKE}: " in caplog.text
        send(db, message(HEALTH_CHECK))
        read(channel)
        assert len(got) == 1
    db.call("ACL", "DELUSER", "reader")


def test_queue_of_the_wrong_type_stops_no_other(
    connection: Any, db: Database, caplog: pytest.LogCaptureFixture
) -> None:
    db.call("SET", CHECK_QUEUE, "of the wrong type")
    with open_channel(connection) as channel:
        got = consumed(channel, queues=(QUEUE, CHECK_QUEUE))
        for _ in range(3):
            send(db, message(HEALTH_CHECK))
        for _ in range(3):
            read(channel)
        assert len(got) == 3
        read(channel)
    assert caplog.text.count(f"Redis refuses to hand over a message: {CHECK_QUEUE}: WRONGTYPE ") == 1


def test_wake_ups_of_the_wrong_type_stop_no_publisher_and_no_reader(
    connection: Any, channel: Any, db: Database
) -> None:
    got = consumed(channel)
    db.call("SET", WAKE, "of the wrong type")
    with connection.clone() as other:
        other.channel()._put(QUEUE, message(HEALTH_CHECK))
    read(channel)
    assert len(got) == 1
    read(channel)
    assert not db.call("EXISTS", WAKE)


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
