"""Messages go back to their queue when the worker that holds them is gone: once, and not before."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.celery.conftest import Clock, consumed, open_channel, read, unacked
from tests.support.messages import QUEUE, message, send
from vmpooler_tasks.store import Database
from vmpooler_tasks.tasks.broker import holders, transport
from vmpooler_tasks.tasks.broker.holders import ALIVE_KEY, HOLDERS_KEY, HeldMessages, silence_seconds
from vmpooler_tasks.tasks.registry import CHECK_QUEUE, HEALTH_CHECK

SILENCE = 12.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    own = Clock()
    monkeypatch.setattr(holders, "time", own)
    return own


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> HeldMessages:
    """What the first worker's process knows."""
    own = HeldMessages()
    monkeypatch.setattr(transport, "HELD_MESSAGES", own)
    return own


@pytest.fixture
def other(connection: Any) -> Iterator[Any]:
    """A channel of another worker."""
    with open_channel(connection) as own:
        yield own


def silence(db: Database, channel: Any, seconds: float) -> None:
    """Make the holder silent for so long."""
    now, _ = db.call("TIME")
    db.call("ZADD", ALIVE_KEY, now - seconds, channel.holder)


def sweep(by: HeldMessages, channel: Any, clock: Clock, times: int = 2) -> int:
    """Sweep as another process does, every few seconds. Return how many messages went back."""
    returned = 0
    for _ in range(times):
        returned += by.sweep(channel, silence=SILENCE)
        clock.now += holders.SWEEP_SECONDS
    return returned


def take(db: Database, channel: Any) -> Any:
    """Let the channel take a message."""
    got = consumed(channel)
    send(db, message(HEALTH_CHECK, task_id="one"))
    while not got:
        read(channel)
    return got[0]


def test_messages_of_a_silent_holder_are_taken_next_by_another(
    channel: Any, other: Any, db: Database, held: HeldMessages, clock: Clock
) -> None:
    take(db, channel)
    send(db, message(HEALTH_CHECK, task_id="later"))
    silence(db, channel, SILENCE + 1)
    another = HeldMessages()
    assert sweep(another, other, clock, times=1) == 0, "one look proves nothing"
    assert sweep(another, other, clock, times=1) == 1
    assert unacked(db) == (0, 0)
    got = consumed(other)
    read(other)
    assert [one.headers["id"] for one in got] == ["one"]
    assert got[0].headers["redelivered"] is True
    assert got[0].delivery_info["redelivered"] is True
    del held


def test_messages_of_a_living_holder_stay(
    channel: Any, other: Any, db: Database, held: HeldMessages, clock: Clock
) -> None:
    take(db, channel)
    another = HeldMessages()
    for _ in range(3):
        silence(db, channel, SILENCE + 1)
        held.sweep(channel, silence=SILENCE)
        assert sweep(another, other, clock, times=1) == 0
    assert unacked(db) == (1, 1)


def test_after_a_frozen_redis_nobody_is_gone(
    channel: Any, other: Any, db: Database, held: HeldMessages, clock: Clock
) -> None:
    take(db, channel)
    another = HeldMessages()
    silence(db, channel, 70)
    assert sweep(another, other, clock, times=1) == 0
    held.sweep(channel, silence=SILENCE)  # a moment later
    assert sweep(another, other, clock, times=3) == 0
    assert unacked(db) == (1, 1)


def test_the_acknowledgement_of_a_worker_that_wakes_has_no_effect(
    channel: Any, other: Any, db: Database, held: HeldMessages, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    first = take(db, channel)
    silence(db, channel, SILENCE + 1)
    sweep(HeldMessages(), other, clock)
    got = consumed(other)
    read(other)
    channel.basic_ack(first.delivery_tag)
    assert unacked(db) == (1, 1)
    assert "Another worker has taken over the message" in caplog.text
    channel.qos.restore_by_tag(first.delivery_tag)
    channel.basic_reject(first.delivery_tag, requeue=True)
    assert db.call("LLEN", QUEUE) == 0, "it gives nothing back that another holds"
    other.basic_ack(got[0].delivery_tag)
    assert unacked(db) == (0, 0)
    assert not db.call("EXISTS", HOLDERS_KEY)
    del held


def test_two_that_notice_return_it_once(
    channel: Any, other: Any, db: Database, held: HeldMessages, clock: Clock
) -> None:
    take(db, channel)
    silence(db, channel, SILENCE + 1)
    one, two = HeldMessages(), HeldMessages()
    assert sweep(one, other, clock, times=1) + sweep(two, other, clock, times=1) == 0
    assert sweep(one, other, clock, times=1) + sweep(two, other, clock, times=1) == 1
    assert db.call("LLEN", QUEUE) == 1
    del held


def test_channel_that_is_lost_keeps_the_messages_of_running_tasks(
    channel: Any, other: Any, db: Database, held: HeldMessages, clock: Clock
) -> None:
    """A task that runs is not given to another, and its message goes when it has ended."""
    got = take(db, channel)
    held.running_tags = lambda: frozenset({got.delivery_tag})
    holder, _ = channel.holder, channel.close()
    assert unacked(db) == (1, 1)
    silence(db, channel, SILENCE + 1)
    assert sweep(held, other, clock) == 0
    assert sweep(HeldMessages(), other, clock) == 0, "its process lives"
    held.running_tags = frozenset
    held.note_finished(got.delivery_tag, holder)  # its acknowledgement failed: the connection is lost
    sweep(held, other, clock, times=1)
    assert unacked(db) == (0, 0)
    assert db.call("LLEN", QUEUE) == 0


def test_channel_that_is_lost_returns_what_nobody_works_on(
    channel: Any, other: Any, db: Database, held: HeldMessages, clock: Clock
) -> None:
    """Also a message whose reply was on its way when the connection was lost."""
    consumed(channel)
    send(db, message(HEALTH_CHECK))
    channel._brpop_start()
    channel.client.connection.disconnect()
    channel._in_poll = None
    channel.close()
    assert sweep(held, other, clock, times=1) == 1
    assert unacked(db) == (0, 0)
    assert db.call("LLEN", QUEUE) == 1


def test_message_beyond_the_visibility_timeout_goes_back(
    channel: Any, other: Any, db: Database, held: HeldMessages, clock: Clock
) -> None:
    tag = take(db, channel).delivery_tag
    db.call("ZADD", "unacked_index", 1, tag)
    assert sweep(held, other, clock, times=1) == 1
    assert db.call("LLEN", QUEUE) == 1


@pytest.mark.filterwarnings("ignore:Message could not be delivered")
def test_message_to_an_exchange_without_bindings_goes_back_to_the_queue_of_its_routing_key(
    channel: Any, other: Any, db: Database, held: HeldMessages, clock: Clock
) -> None:
    consumed(channel)
    sent = message(HEALTH_CHECK)
    sent["properties"]["delivery_info"]["exchange"] = "without bindings"
    send(db, sent)
    read(channel)
    silence(db, channel, SILENCE + 1)
    assert sweep(HeldMessages(), other, clock) == 1
    assert db.call("LLEN", QUEUE) == 1
    del held


@pytest.mark.parametrize("key", [HOLDERS_KEY, ALIVE_KEY, "unacked_index"])
def test_key_of_the_wrong_type_stops_no_message(
    channel: Any, db: Database, held: HeldMessages, clock: Clock, key: str, caplog: pytest.LogCaptureFixture
) -> None:
    db.call("SET", key, "of the wrong type")
    got = take(db, channel)
    assert sweep(held, channel, clock) == 0
    assert "hand over" not in caplog.text
    assert f"Redis refuses to return the messages of lost workers: {key}: WRONGTYPE" in caplog.text
    channel.basic_ack(got.delivery_tag)
    assert db.call("HLEN", "unacked") == 0


def test_entry_that_is_no_message_is_kept_and_stops_no_other(
    channel: Any, other: Any, db: Database, held: HeldMessages, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[bytes] = []

    def keep(raw: bytes, *_: object) -> bool:
        kept.append(raw)
        return True

    monkeypatch.setattr(transport, "keep_raw_message", keep)
    take(db, channel)
    db.call("HSET", "unacked", "odd", json.dumps(["not", 1, None]))
    db.call("HSET", HOLDERS_KEY, "odd", channel.holder)
    silence(db, channel, SILENCE + 1)
    assert sweep(HeldMessages(), other, clock) == 1
    assert kept == [b'["not", 1, null]']
    assert unacked(db) == (0, 0)
    del held


def test_deleted_holders_are_recorded_again(
    channel: Any, other: Any, db: Database, held: HeldMessages, clock: Clock
) -> None:
    take(db, channel)
    db.call("DEL", HOLDERS_KEY)
    assert sweep(held, channel, clock, times=1) == 0
    assert db.call("HVALS", HOLDERS_KEY) == [channel.holder.encode()]
    silence(db, channel, SILENCE + 1)
    assert sweep(HeldMessages(), other, clock) == 1, "as without the deletion"


def test_message_that_waits_longer_than_the_visibility_timeout_stays(
    channel: Any, other: Any, db: Database, held: HeldMessages, clock: Clock
) -> None:
    """A task with a countdown of hours, for example. A task that runs for so long is given to another."""
    waits, runs = take(db, channel), take(db, channel)
    held.running_tags = lambda: frozenset({runs.delivery_tag})
    for tag in (waits.delivery_tag, runs.delivery_tag):
        db.call("ZADD", "unacked_index", 1, tag)
    channel.reaffirm(held.running_tags())
    assert sweep(HeldMessages(), other, clock, times=1) == 1
    assert db.call("HKEYS", "unacked") == [waits.delivery_tag.encode()]


def test_queue_of_the_wrong_type_keeps_no_other_message_from_its_return(
    channel: Any, other: Any, db: Database, held: HeldMessages, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    got = consumed(channel, queues=(CHECK_QUEUE, QUEUE))
    for queue in (CHECK_QUEUE, QUEUE):
        sent = message(HEALTH_CHECK)
        sent["properties"]["delivery_info"]["routing_key"] = queue
        send(db, sent, queue)
        read(channel)
    assert len(got) == 2
    db.call("SET", CHECK_QUEUE, "of the wrong type")
    silence(db, channel, SILENCE + 1)
    assert sweep(HeldMessages(), other, clock) == 1
    assert unacked(db) == (1, 1), "it stays until its queue can take it"
    assert "Redis refuses to return the messages of lost workers: WRONGTYPE " in caplog.text
    assert CHECK_QUEUE in caplog.text
    del held


def test_silence_is_shorter_than_the_lease() -> None:
    assert silence_seconds(60) == 30
    assert silence_seconds(30) == 15
    assert silence_seconds(600) == 30
    assert silence_seconds(1) == 12, "four renewals"
