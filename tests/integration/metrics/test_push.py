"""Gauges reach a real StatsD and Graphite; a server that does not listen delays nothing."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.support import listeners
from tests.support.fleet import record_processes
from tests.support.processes import until
from tests.support.world import POOL, World, settings
from vmpooler_tasks.config import Settings
from vmpooler_tasks.config.services import GraphiteSection, StatsdSection
from vmpooler_tasks.jobs.health import check as health_check
from vmpooler_tasks.metrics import push
from vmpooler_tasks.metrics.push import Graphite, MetricsPublisher, MetricsSender, Statsd
from vmpooler_tasks.model.names import DeadLetterQueue, Queue
from vmpooler_tasks.store import keys

AT = 1_705_314_600.75
BIG = {f"vmpooler.health.queue.{'x' * 1000}-{n}.size": n for n in range(10_000)}
"""More than a connection's buffers hold."""


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(push, "TIMEOUT_SECONDS", 1.0)
    caplog.set_level(logging.INFO, "vmpooler_tasks.metrics")


def sent_to(*, statsd: int | None = None, graphite: int | None = None, host: str = listeners.LOOPBACK) -> Settings:
    return settings().model_copy(
        update={
            "statsd": StatsdSection(server=host if statsd else None, port=statsd or 1),
            "graphite": GraphiteSection(server=host if graphite else None, port=graphite or 1, prefix="prod.vmpooler"),
        }
    )


def test_a_check_is_sent_to_both(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.vm(Queue.PENDING, "pooler-a", 90)
    world.client.zadd(keys.dead_letters(DeadLetterQueue.CLONE), {'{"vm":"a"}': world.now})
    with listeners.statsd() as statsd, listeners.graphite() as graphite:
        chosen = sent_to(statsd=statsd.port, graphite=graphite.port)
        publisher = MetricsPublisher(chosen)
        record_processes(world.db)
        assert health_check.run(world.db, chosen, world.clock, publish=publisher.publish)
        publisher.close(10)
        names = [
            ("status", 0),
            ("dlq.total_size", 1),
            ("stuck_vms.count", 0),
            ("orphaned_metadata.count", 0),
            (f"queue.{POOL}.pending.size", 1),
            (f"queue.{POOL}.pending.oldest_age", 90),
            (f"queue.{POOL}.pending.stuck_count", 0),
            (f"queue.{POOL}.ready.size", 0),
            (f"queue.{POOL}.ready.oldest_age", 0),
            (f"queue.{POOL}.completed.size", 0),
            ("dlq.pending.size", 0),
            ("dlq.clone.size", 1),
            ("dlq.ready.size", 0),
            ("dlq.tasks.size", 0),
            ("tasks.clone.active", 0),
            ("tasks.ondemand.active", 0),
            ("tasks.ondemand.pending", 0),
        ]
        last = "vmpooler.health.tasks.ondemand.pending:0|g"
        assert statsd.gets(last) == [f"vmpooler.health.{name}:{value}|g" for name, value in names]
        [text] = graphite.gets()
        assert text == "".join(f"prod.vmpooler.health.{name} {value} {int(world.now)}\n" for name, value in names)
    assert f"[*] [metrics] Sent 17 metrics to StatsD at 127.0.0.1:{statsd.port}" in caplog.messages
    assert f"[*] [metrics] Sent 17 metrics to Graphite at 127.0.0.1:{graphite.port}" in caplog.messages


def test_nothing_is_sent_where_no_server_is_named(world: World, caplog: pytest.LogCaptureFixture) -> None:
    publisher = MetricsPublisher(settings())
    assert push.servers(settings()) == []
    assert health_check.run(world.db, settings(), world.clock, publish=publisher.publish)
    publisher.close(10)
    assert not [line for line in caplog.messages if "metrics" in line]


@pytest.mark.parametrize(("gauge", "expected"), [("a.b", b"a.b:7|g")])
def test_the_exact_bytes_of_statsd(gauge: str, expected: bytes) -> None:
    with listeners.statsd() as statsd:
        Statsd(listeners.LOOPBACK, statsd.port, "").send({gauge: 7}, AT)
        until(lambda: statsd.datagrams, "it arrives")
        assert statsd.datagrams == [expected]


def test_the_exact_bytes_of_graphite() -> None:
    with listeners.graphite() as graphite:
        Graphite(listeners.LOOPBACK, graphite.port, "").send({"a.b": 7, "c": 0}, AT)
        assert graphite.gets() == ["a.b 7 1705314600\nc 0 1705314600\n"]


def test_ipv4_is_tried_before_ipv6() -> None:
    with listeners.statsd() as statsd:
        Statsd("localhost", statsd.port, "").send({"a": 1}, AT)
        statsd.gets("a:1|g")


def test_hundreds_of_datagrams_arrive() -> None:
    values = {f"vmpooler.health.queue.pool-{n}.ready.size": n for n in range(6000)}
    with listeners.statsd() as statsd:
        Statsd(listeners.LOOPBACK, statsd.port, "").send(values, AT)
        assert statsd.gets("vmpooler.health.queue.pool-5999.ready.size:5999|g") == [
            f"{k}:{v}|g" for k, v in values.items()
        ]


@pytest.fixture
def ports() -> Iterator[Callable[[str], int]]:
    with ExitStack() as stack:

        def port(kind: str) -> int:
            if kind == "closed":
                return listeners.closed()
            return stack.enter_context(listeners.deaf() if kind == "deaf" else listeners.idle())

        yield port


@pytest.mark.parametrize("kind", ["closed", "deaf", "idle"])
def test_a_graphite_that_does_not_listen_is_logged_once(
    ports: Callable[[str], int], kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    sender = MetricsSender(Graphite(listeners.LOOPBACK, ports(kind), "vmpooler"))
    sender.submit(BIG, AT)
    until(lambda: caplog.messages, "it is logged")
    sender.submit(BIG, AT)
    sender.close(10)
    [line] = caplog.messages
    assert line.startswith(f"[!] [metrics] Could not send metrics to {sender.server.address}: ")


@pytest.mark.parametrize("host", [listeners.NO_SUCH_HOST, "a..b", "x" * 300, "with space", "\udcff"])
@pytest.mark.parametrize("server", [Statsd, Graphite])
def test_an_unknown_host_is_logged(
    server: type[Statsd] | type[Graphite], host: str, caplog: pytest.LogCaptureFixture
) -> None:
    sender = MetricsSender(server(host, 2003, "vmpooler"))
    sender.submit({"a": 1}, AT)
    sender.close(30)
    [line] = caplog.messages
    assert "Could not send metrics to " in line


class HeldUp:
    """A Graphite on a line that is held up."""

    address = "Graphite"
    prefix = "vmpooler"

    def __init__(self, port: int) -> None:
        self._server = Graphite(listeners.LOOPBACK, port, "")
        self.begun, self.go_on = threading.Event(), threading.Event()

    def send(self, values: push.Values, epoch: float) -> None:
        self.begun.set()
        self.go_on.wait()
        self._server.send(values, epoch)


def test_submit_does_not_wait_and_the_newest_batch_is_sent_next() -> None:
    with listeners.graphite() as graphite:
        server = HeldUp(graphite.port)
        sender = MetricsSender(server)
        sender.submit({"first": 0}, AT)
        until(server.begun.is_set, "the first is under way")
        for number in range(1000):
            sender.submit({"newest": number}, AT)
        server.go_on.set()
        sender.close(10)
        assert graphite.gets(2) == ["first 0 1705314600\n", "newest 999 1705314600\n"]


def test_a_server_that_hangs_does_not_delay_the_other(ports: Callable[[str], int], world: World) -> None:
    with listeners.statsd() as statsd:
        publisher = MetricsPublisher(sent_to(statsd=statsd.port, graphite=ports("deaf")))
        assert health_check.run(world.db, settings(), world.clock, publish=publisher.publish)
        statsd.gets("vmpooler.health.tasks.ondemand.pending:0|g")
        publisher.close(10)


def test_close_waits_no_longer_than_requested(ports: Callable[[str], int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(push, "TIMEOUT_SECONDS", 60)
    sender = MetricsSender(Graphite(listeners.LOOPBACK, ports("deaf"), ""))
    sender.submit({"a": 1}, AT)
    sender.close(0.01)  # and not the minute that the connection may take
