"""A reader or Redis dies or freezes at any instant of the hand-over: no message is lost, and none is in two places."""

import json
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from tests.integration.celery.conftest import Clock, Connection, consumed, open_channel, read
from tests.support import servers
from tests.support.fuzzing import fuzzed
from tests.support.instants import SECONDS, Instant, Reader, die, instants_observed
from tests.support.messages import QUEUE, message, send
from tests.support.servers import TestServer
from vmpooler_tasks.errors import StoreUnavailableError
from vmpooler_tasks.store import Database, broker_keys
from vmpooler_tasks.tasks.broker import holders, transport
from vmpooler_tasks.tasks.broker.fence import is_held
from vmpooler_tasks.tasks.broker.holders import ALIVE_KEY, HOLDERS_KEY, HeldMessages
from vmpooler_tasks.tasks.broker.transport import GuardedTransport
from vmpooler_tasks.tasks.registry import CHECK_QUEUE, HEALTH_CHECK

AOF = ("--appendonly", "yes", "--appendfsync", "always")
QUEUES = (QUEUE, CHECK_QUEUE)
PRIORITIES = ("", "\x06\x163", "\x06\x169")
SILENCE = 12.0
COMMANDS = 30
"""A reader of four messages sends about as many."""

instants = st.builds(Instant, st.integers(0, COMMANDS), st.booleans())
places = st.lists(st.tuples(st.sampled_from(QUEUES), st.sampled_from(PRIORITIES)), min_size=1, max_size=4)

Places = Sequence[tuple[str, str]]


class Scene:
    """Messages, what was done with them, and who reads them."""

    def __init__(self, server: TestServer, sent: Places, reply_timeout: float | None = None) -> None:
        self.server, self.db = server, Database(server.url)
        self.options = {"socket_timeout": reply_timeout} if reply_timeout else {}
        self.db.call("FLUSHALL")
        self.done: Counter[str] = Counter()
        self.started: Counter[str] = Counter()
        self.ids = [f"message {number}" for number in range(len(sent))]
        for identity, (queue, priority) in zip(self.ids, sent, strict=True):
            one = message(HEALTH_CHECK, task_id=identity)
            one["properties"] |= {"priority": int(priority[2:] or 0)}
            one["properties"]["delivery_info"]["routing_key"] = queue
            send(self.db, one, queue + priority)

    def where(self) -> dict[str, int]:
        """Return in how many places each message is. Fail for a message that is nowhere and was not done."""
        lists = [key for queue in QUEUES for key in broker_keys.messages(queue)]
        raws = [raw for key in lists for raw in self.db.call("LRANGE", key, 0, -1)]
        found = [json.loads(raw) for raw in raws] + [json.loads(raw)[0] for raw in self.db.call("HVALS", "unacked")]
        counted = Counter(one["headers"]["id"] for one in found)
        for identity in self.ids:
            assert counted[identity] or self.done[identity], f"{identity} is lost"
        return counted

    def read(self, *, ends_channel: bool = False) -> None:
        """Do every message, as a worker does: the fence first, then the effect, then the acknowledgement."""
        options = {"transport": GuardedTransport, "transport_options": self.options}
        with Connection(self.server.url, **options) as line, open_channel(line) as channel:
            try:
                self._read(channel)
            finally:
                channel.do_restore = ends_channel  # a process that is gone gives nothing back

    def _read(self, channel: Any) -> None:
        got = consumed(channel, queues=QUEUES)
        db = Database(self.server.url)
        while True:
            read(channel)
            if not got:
                break
            one = got.pop()
            self.started[one.headers["id"]] += 1
            if is_held(db, one.properties):
                self.done[one.headers["id"]] += 1
            channel.basic_ack(one.delivery_tag)
        db.close()

    def read_until_done(self) -> None:
        """Read again with a new connection each time that one is lost."""
        for _ in range(5):
            with suppress(RedisConnectionError, RedisTimeoutError, OSError):
                self.read(ends_channel=True)
                return
        pytest.fail("Redis does not come back")

    def inherit(self, clock: "Clock") -> None:
        """Do what is left, as the worker that notices the silence of the other one."""
        now, _ = self.db.call("TIME")
        for holder in self.db.call("ZRANGE", ALIVE_KEY, 0, -1):
            self.db.call("ZADD", ALIVE_KEY, now - SILENCE - 1, holder)
        with Connection(self.server.url, transport=GuardedTransport) as line, open_channel(line) as channel:
            own = HeldMessages()
            for _ in range(2):
                own.sweep(channel, silence=SILENCE)
                clock.now += holders.SWEEP_SECONDS
        self.read(ends_channel=True)

    def check_that_all_is_done(self) -> None:
        self.where()
        assert sorted(self.done) == self.ids
        assert self.db.call("HLEN", "unacked") == self.db.call("ZCARD", "unacked_index") == 0
        assert self.db.call("HLEN", HOLDERS_KEY) == 0
        self.db.close()


@pytest.fixture(scope="module")
def clock() -> Iterator[Clock]:
    with pytest.MonkeyPatch.context() as patch, instants_observed():
        own = Clock()
        patch.setattr(holders, "time", own)
        patch.setattr(transport, "HELD_MESSAGES", HeldMessages())
        yield own


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestServer]:
    with servers.running("valkey", tmp_path_factory.mktemp("broker")) as own:
        yield own


@pytest.fixture(scope="module")
def durable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestServer]:
    """A Redis that keeps what it has confirmed."""
    with servers.running("valkey", tmp_path_factory.mktemp("durable"), AOF) as own:
        yield own


@fuzzed(in_ci=30)
@given(sent=places, instant=instants)
def test_reader_that_is_killed_at_any_instant(broker: TestServer, clock: Clock, sent: Places, instant: Instant) -> None:
    scene = Scene(broker, sent)
    reader = Reader(scene.read, instant, die)
    reader.start()
    reader.join_or_fail()
    for _ in range(2):
        scene.db.call("PING")  # the server has read what the dead one had sent
    assert set(scene.where().values()) <= {1}, "in one place"
    scene.inherit(clock)
    scene.check_that_all_is_done()
    assert max(scene.done.values()) <= 2, "by the dead one, before its acknowledgement, and by its heir"


@fuzzed(in_ci=30)
@given(sent=places, instant=instants)
def test_reader_that_is_frozen_at_any_instant(broker: TestServer, clock: Clock, sent: Places, instant: Instant) -> None:
    scene, thaw, frozen = Scene(broker, sent), threading.Event(), threading.Event()

    def freeze() -> None:
        frozen.set()
        assert thaw.wait(SECONDS)

    reader = Reader(scene.read, instant, freeze)
    reader.start()
    while not (frozen.wait(0.001) or reader.stopped.is_set()):
        pass
    assert set(scene.where().values()) <= {1}
    was_started = Counter(scene.started)
    scene.inherit(clock)
    thaw.set()
    reader.join_or_fail()
    scene.inherit(clock)
    scene.check_that_all_is_done()
    twice = {identity for identity, count in scene.done.items() if count > 1}
    assert twice <= set(was_started), "the fence stops what had not started"
    assert len(twice) <= 1


@fuzzed(in_ci=10)
@given(sent=places, instant=instants)
def test_redis_that_is_killed_at_any_instant(durable: TestServer, clock: Clock, sent: Places, instant: Instant) -> None:
    scene = Scene(durable, sent)

    def restart() -> None:
        durable.kill()
        durable.start()

    reader = Reader(scene.read_until_done, instant, restart)
    reader.start()
    reader.join_or_fail()
    assert set(scene.where().values()) <= {1}, "in one place"
    scene.inherit(clock)
    scene.check_that_all_is_done()
    assert max(scene.done.values()) <= 2, "once more, if the acknowledgement was lost"


@fuzzed(in_ci=6)
@given(sent=places, instant=instants)
def test_redis_that_is_frozen_at_any_instant(broker: TestServer, clock: Clock, sent: Places, instant: Instant) -> None:
    """It thaws when the reader has given up the connection: what it had sent by then is still carried out."""
    scene, has_thawed = Scene(broker, sent, reply_timeout=0.3), threading.Event()

    def freeze() -> None:
        if not has_thawed.is_set():
            broker.freeze()

    def work() -> None:
        with suppress(RedisConnectionError, RedisTimeoutError, OSError, StoreUnavailableError):
            scene.read(ends_channel=True)
        has_thawed.set()
        broker.thaw()
        scene.options = {}
        scene.read_until_done()

    try:
        reader = Reader(work, instant, freeze)
        reader.start()
        reader.join_or_fail()
    finally:
        broker.thaw()
    for _ in range(2):
        scene.db.call("PING")  # the server has read what it was sent while it was frozen
    assert set(scene.where().values()) <= {1}, "in one place"
    scene.inherit(clock)
    scene.check_that_all_is_done()
    assert max(scene.done.values()) <= 2, "once more, if the acknowledgement was lost"
