"""A message that is not valid becomes a dead letter. Neither the death of its reader nor its tag loses a message."""

import json
from typing import Any

import pytest

from tests.integration.celery.conftest import consumed, read, unacked
from tests.support.messages import QUEUE, message, send
from tests.support.processes import until
from vmpooler_tasks.store import Database
from vmpooler_tasks.tasks.broker import transport
from vmpooler_tasks.tasks.broker.parsing import MAX_MESSAGE_BYTES
from vmpooler_tasks.tasks.celery.failures import MAX_RAW
from vmpooler_tasks.tasks.registry import HEALTH_CHECK

VALID = json.dumps(message(HEALTH_CHECK)).encode()


class Keeper:
    """Takes the dead letters in place of a worker's Redis."""

    def __init__(self) -> None:
        self.kept: list[bytes] = []
        self.sizes: list[int] = []
        self.works = True

    def __call__(self, raw: bytes, why: str, queue: str | None = None, size: int | None = None) -> bool:
        assert why
        if self.works:
            self.kept.append(raw)
            self.sizes.append(len(raw) if size is None else size)
        return self.works


@pytest.fixture
def keeper(monkeypatch: pytest.MonkeyPatch) -> Keeper:
    own = Keeper()
    monkeypatch.setattr(transport, "keep_raw_message", own)
    return own


def with_tag(tag: str) -> dict[str, Any]:
    entry = message(HEALTH_CHECK)
    return {**entry, "properties": {**entry["properties"], "delivery_tag": tag}}


INVALID = {
    "a wrong type": json.dumps(message(HEALTH_CHECK, headers={"eta": {}})).encode(),
    "no JSON": b"garbage",
    "JSON, but no message": b"[[1], 2, 3]",
    "another character set": VALID.decode().encode("utf-16"),
    "no tag": json.dumps(with_tag("") | {"properties": {}}).encode(),
    "a number for Lua alone": VALID.replace(b'"delivery_mode": 2', b'"delivery_mode": 0x10'),
    "a tag that is not UTF-8": json.dumps(with_tag("TAG")).encode().replace(b"TAG", b"\xed\xa0\x80"),
    "a tag of surrogates": json.dumps(with_tag("\ud800")).encode(),
    "nested for Lua": VALID[:-1] + b', "deep": ' + b"[" * 600 + b"]" * 600 + b"}",
    "nested beyond Lua": VALID[:-1] + b', "deep": ' + b"[" * 100_000,
}


@pytest.mark.both_servers
@pytest.mark.parametrize("raw", INVALID.values(), ids=INVALID)
def test_invalid_message_is_kept_and_leaves_no_note(channel: Any, db: Database, keeper: Keeper, raw: bytes) -> None:
    got = consumed(channel)
    send(db, raw)
    read(channel)
    assert keeper.kept == [raw]
    assert (got, unacked(db), db.call("LLEN", QUEUE)) == ([], (0, 0), 0)


@pytest.mark.parametrize("raw", INVALID.values(), ids=INVALID)
def test_reader_that_dies_before_it_reads_an_invalid_message_does_not_lose_it(
    channel: Any, db: Database, keeper: Keeper, raw: bytes
) -> None:
    consumed(channel)
    send(db, raw)
    channel._brpop_start()
    until(lambda: not db.call("LLEN", QUEUE), "the server has taken the message")
    channel.client.connection.disconnect()
    [tag] = db.call("HKEYS", "unacked")
    channel.return_message(tag.decode(), "")
    channel.client.connection.connect()
    read(channel)
    assert len(keeper.kept) == 1
    assert (unacked(db), db.call("LLEN", QUEUE)) == ((0, 0), 0)


def test_invalid_message_that_cannot_be_kept_stays(channel: Any, db: Database, keeper: Keeper) -> None:
    consumed(channel)
    keeper.works = False
    send(db, b"garbage")
    read(channel)
    assert unacked(db) == (1, 1)
    [tag] = db.call("HKEYS", "unacked")
    channel.return_message(tag.decode(), "")
    assert unacked(db) == (1, 1)
    keeper.works = True
    channel.return_message(tag.decode(), "")
    assert keeper.kept == [b"garbage"]
    assert unacked(db) == (0, 0)


def test_too_large_message_is_neither_parsed_nor_sent_to_the_reader(channel: Any, db: Database, keeper: Keeper) -> None:
    got = consumed(channel)
    raw = VALID[:-1] + b" " * MAX_MESSAGE_BYTES + b"}"
    send(db, raw)
    read(channel)
    assert (keeper.kept, keeper.sizes) == ([raw[:MAX_RAW]], [len(raw)])
    assert (got, unacked(db)) == ([], (0, 0))


def test_messages_with_one_tag_do_not_take_each_other_s_place(channel: Any, db: Database) -> None:
    got = consumed(channel)
    for task in ("one", "two"):
        send(db, {**with_tag("same"), "headers": message(task)["headers"]})
    read(channel)
    read(channel)
    assert unacked(db) == (2, 2)
    one, two = got
    assert one.delivery_tag != two.delivery_tag
    channel.basic_ack(one.delivery_tag)
    [left] = db.call("HVALS", "unacked")
    assert json.loads(left)[0]["headers"]["task"] == "two"
    channel.basic_ack(two.delivery_tag)
    assert unacked(db) == (0, 0)
