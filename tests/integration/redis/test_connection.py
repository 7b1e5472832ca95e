"""The connection to Redis: scripts by digest, pages, pending replies, and errors as ours."""

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import servers
from tests.support.servers import TestServer
from tests.support.world import POOL, World
from vmpooler_tasks.errors import StoreRefusedError, StoreUnavailableError, WrongTypeError
from vmpooler_tasks.model.names import DeadLetterQueue, Queue
from vmpooler_tasks.store import Database, PendingReply, fleet_keys, keys
from vmpooler_tasks.store.deadletters import read as dlq
from vmpooler_tasks.store.deadletters.delete import delete
from vmpooler_tasks.store.fleet import audit
from vmpooler_tasks.store.redis import server
from vmpooler_tasks.store.redis.scripts import script_text
from vmpooler_tasks.store.vmpooler import queues

pytestmark = pytest.mark.both_servers

SECRET = "hunter2"


def fields(db: Database, *vms: bytes) -> PendingReply[list[list[bytes | None]]]:
    return queues.query_fields(db, vms, b"pool")


def test_a_script_is_sent_once_and_then_named(world: World) -> None:
    world.client.script_flush()
    world.client.config_resetstat()
    for _ in range(5):
        fields(world.db, b"a").read()
    stats = world.client.info("commandstats")
    assert stats["cmdstat_script|load"]["calls"] == 1
    assert stats["cmdstat_evalsha"]["calls"] == 6, "one of them only learned that the server did not know it"


def test_a_server_that_forgot_its_scripts_gets_them_again(world: World) -> None:
    world.vm(Queue.READY, "a", 60)
    assert fields(world.db, b"a").read() == [[POOL.encode()]]
    world.client.script_flush()
    assert fields(world.db, b"a").read() == [[POOL.encode()]]
    assert [name for page, _ in queues.read_pages(world.db, Queue.READY, POOL, b"ready") for name in page] == [b"a"]


def test_a_stream_goes_on_when_scripts_are_forgotten_between_two_pages(world: World) -> None:
    names = {f"pooler-{index:05}".encode() for index in range(3000)}
    world.client.sadd(keys.queue(Queue.READY, POOL), *names)
    found: set[bytes] = set()
    for page, stamps in queues.read_pages(world.db, Queue.READY, POOL, b"ready"):
        found.update(page)
        assert stamps == [None] * len(page)
        world.client.script_flush()
    assert found == names


def test_a_stream_that_is_closed_early_leaves_no_reply_behind(world: World) -> None:
    world.client.sadd(keys.queue(Queue.READY, POOL), *(f"pooler-{index}" for index in range(3000)))
    for _ in range(5):
        pages = queues.read_pages(world.db, Queue.READY, POOL, b"ready")
        next(pages)
        pages.close()  # type: ignore[attr-defined]
        assert world.db.call("PING") in {b"PONG", True}
        assert queues.size(world.db, Queue.READY, POOL) == 3000


def test_several_replies_may_be_pending_at_once(world: World) -> None:
    for name in ("a", "b", "c"):
        world.vm(Queue.READY, name, 60, pool=name)
    replies = [fields(world.db, name) for name in (b"a", b"b", b"c")]
    assert [reply.read() for reply in reversed(replies)] == [[[b"c"]], [[b"b"]], [[b"a"]]]


def test_a_closed_reply_reaches_no_other_caller(world: World) -> None:
    world.vm(Queue.READY, "a", 60)
    fields(world.db, b"a").close()
    assert fields(world.db, b"absent").read() == [[None]]
    assert world.db.client.connection_pool._in_use_connections == set()


def test_a_reply_that_is_neither_read_nor_closed_reaches_no_other_caller(world: World) -> None:
    """Its connection is lost to the pool, which is a leak, but never gives another caller a wrong reply."""
    world.vm(Queue.READY, "a", 60)
    for _ in range(3):
        fields(world.db, b"a")
        assert fields(world.db, b"absent").read() == [[None]]


def test_a_reply_may_be_closed_after_it_was_read(world: World) -> None:
    reply = fields(world.db, b"absent")
    assert reply.read() == [[None]]
    reply.close()
    assert world.db.call("PING") in {b"PONG", True}


def test_an_error_reply_leaves_the_connection_usable(world: World) -> None:
    world.client.set("vmpooler__pending__x", "no set")
    for _ in range(3):
        with pytest.raises(WrongTypeError):
            list(queues.read_pages(world.db, Queue.PENDING, "x", b"clone"))
        assert fields(world.db, b"a").read() == [[None]]


def test_an_error_of_the_wrong_type_names_the_key_or_those_that_it_may_be(world: World) -> None:
    begins = "A key in Redis has the wrong type: "
    world.client.set("vmpooler__dlq__clone", "x")
    world.client.set("vmpooler__pending__a\nb", "x")
    world.client.set("k0", "x")
    with pytest.raises(WrongTypeError, match=f"^{begins}vmpooler__dlq__clone: WRONGTYPE "):
        dlq.size(world.db, DeadLetterQueue.CLONE)
    with pytest.raises(WrongTypeError, match=f"^{begins}vmpooler__dlq__clone: WRONGTYPE "):
        list(dlq.newest_first(world.db, [DeadLetterQueue.CLONE]))
    with pytest.raises(WrongTypeError, match=rf"^{begins}vmpooler__pending__a\\nb: WRONGTYPE "):
        list(queues.read_pages(world.db, Queue.PENDING, "a\nb", b"clone"))
    with pytest.raises(WrongTypeError, match=rf"^{begins}vmpooler__pending__a\\nb: WRONGTYPE "):
        list(queues.read_names(world.db, keys.queue(Queue.PENDING, "a\nb")))
    with pytest.raises(WrongTypeError, match=f"^{begins}one of vmpooler__dlq__clone, vmpooler_tasks__counters, .*: "):
        delete(world.db, DeadLetterQueue.CLONE, [b"x"], {})
    with pytest.raises(WrongTypeError, match=f"^{begins}one of k0, k1, k2, k3 and 5 more: WRONGTYPE "):
        world.db.run("purge/purge_completed", [f"k{index}".encode() for index in range(9)], ["", "", "a", ""])


def test_what_is_no_hash_reads_as_nothing(world: World) -> None:
    world.client.set("vmpooler__vm__a", "x")
    world.vm(Queue.READY, "b", 60)
    assert fields(world.db, b"a", b"b", b"c").read() == [[None], [POOL.encode()], [None]]


def test_a_refused_write_is_an_error_with_the_address(world: World) -> None:
    world.client.config_set("maxmemory", "1")
    try:
        with pytest.raises(
            StoreRefusedError, match=r"Redis refused a command: redis://127\.0\.0\.1:\d+/0: .*maxmemory"
        ):
            world.db.call("SET", "a", "b")
    finally:
        world.client.config_set("maxmemory", "0")


def test_no_server_is_an_error_with_the_address_and_without_the_password(tmp_path: Path) -> None:
    with socket.socket() as listener:  # bound and not listening: nobody else gets this port meanwhile
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        db = Database(f"redis://user:{SECRET}@127.0.0.1:{port}/0")
        for attempt in (lambda: db.call("PING"), lambda: fields(db, b"a"), lambda: list(queues.read_names(db, b"k"))):
            with pytest.raises(
                StoreUnavailableError, match=f"Redis does not reply: redis://127.0.0.1:{port}/0"
            ) as caught:
                attempt()
            assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["http://:hunter2@host", "redis://host:port/0", "redis://:hunter2/x@host/0", "nonsense"]
)
def test_an_address_that_is_none_is_an_error_of_ours(url: str) -> None:
    with pytest.raises(StoreUnavailableError) as caught:
        Database(url)
    assert SECRET not in str(caught.value)


@pytest.fixture(params=servers.KINDS)
def own_server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[TestServer]:
    """A server that may be killed, with a password."""
    with servers.running(request.param, tmp_path / "server", password=SECRET) as own:
        yield own


def test_a_wrong_password_is_an_error_that_does_not_show_it(own_server: TestServer) -> None:
    for url in (own_server.url.replace(SECRET, "wrong-one"), own_server.url.replace(f":{SECRET}@", "")):
        with pytest.raises(StoreUnavailableError) as caught:
            Database(url).call("PING")
        assert "127.0.0.1" in str(caught.value)
        assert SECRET not in str(caught.value)
        assert "wrong-one" not in str(caught.value)


def test_a_server_that_was_restarted_is_found_again(own_server: TestServer) -> None:
    db = Database(own_server.url)
    assert fields(db, b"a").read() == [[None]]
    own_server.kill()
    with pytest.raises(StoreUnavailableError):
        fields(db, b"a").read()
    own_server.start()
    assert fields(db, b"a").read() == [[None]]
    db.close()


def test_connections_that_the_server_closed_are_replaced_without_an_error(own_server: TestServer) -> None:
    db = Database(own_server.url)
    for reply in [fields(db, b"a") for _ in range(3)]:
        reply.read()
    with contextlib.closing(Database(own_server.url)) as other:
        other.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    for reply in [fields(db, b"a") for _ in range(3)]:
        assert reply.read() == [[None]]
    assert [page for page in queues.scan_keyspace(db) if page != ([], [])] == []
    db.close()


def test_a_server_that_does_not_reply_is_given_up(own_server: TestServer) -> None:
    db, other = Database(own_server.url, reply_timeout=1.0), Database(own_server.url)
    assert db.call("PING") in {b"PONG", True}
    other.call("CLIENT", "PAUSE", "60000", "ALL")
    with pytest.raises(StoreUnavailableError, match="no reply in time"):
        fields(db, b"a").read()
    other.close()
    db.close()


def test_the_keyspace_is_seen_whole_and_sorted_by_kind(world: World) -> None:
    names = {f"pooler-{index}".encode() for index in range(1500)}
    pipe = world.client.pipeline(transaction=False)
    for name in names:
        pipe.hset(keys.vm(name), "pool", POOL)
    for index in range(30):
        pipe.sadd(f"vmpooler__running__pool-{index}", "a")
    pipe.set("vmpooler__runningx__p", "1")
    pipe.set("other", "1")
    pipe.execute()
    vms: set[bytes] = set()
    queue_keys: set[bytes] = set()
    for some_vms, some_queues in queues.scan_keyspace(world.db):
        vms.update(some_vms)
        queue_keys.update(some_queues)
    assert vms == names
    assert queue_keys == {f"vmpooler__running__pool-{index}".encode() for index in range(30)}


def test_the_audit_is_read_newest_first_and_bounded(world: World) -> None:
    for index in range(5):
        world.client.xadd(fleet_keys.AUDIT.decode(), {"action": "purge", "count": index, "why": b"\xff"})
    found = audit.read_newest(world.db, 3)
    assert [entry.fields["count"] for entry in found] == ["4", "3", "2"]
    assert all(entry.at > 1e9 for entry in found)
    assert audit.trail_words({"who": "anna", "why": None, "count": 0}) == ["who", "anna", "count", "0"]


def test_the_server_reports_what_it_is(world: World, server_kind: str) -> None:
    facts = server.facts(world.db)
    program = Path(servers.program(server_kind)).name  # TEST_VALKEY may name one of Redis
    assert facts.product == ("Redis" if program.startswith("redis") else "Valkey")
    assert facts.version >= (7, 0)
    assert (facts.role, facts.eviction_policy, facts.persistent) == ("master", "noeviction", False)
    assert facts.used_memory is not None
    assert abs(facts.clock_ahead_seconds) < 60


@pytest.fixture
def server_kind(server: TestServer) -> str:
    return server.kind


def test_a_scripts_text_is_read_once_and_knows_no_other() -> None:
    assert script_text("purge/purge_ready") is script_text("purge/purge_ready")
    with pytest.raises(FileNotFoundError):
        script_text("absent")
