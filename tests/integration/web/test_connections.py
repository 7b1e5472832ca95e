"""A client without a login holds no connection for long, and keeps nobody else out."""

import logging
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
import trustme
from anyio import to_thread
from starlette.types import Receive, Scope, Send

from tests.support.processes import until
from tests.support.raw_http import RawClient, RawResponse, connection
from tests.support.web import serving, serving_app
from vmpooler_tasks.web.limits import connection as connections
from vmpooler_tasks.web.limits import loop
from vmpooler_tasks.web.limits.connection import Wait

NO_REDIS = "redis://127.0.0.1:1/0"
HEAD = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
LOGIN = b"POST /api/v1/session HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
SHORT = 0.2
LONG = 600.0


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with serving(NO_REDIS) as found:
        yield found


def only_deadline(monkeypatch: pytest.MonkeyPatch, wait: Wait) -> None:
    """Make this deadline short, and the others so long that no slow machine meets them."""
    monkeypatch.setattr(connections, "CLIENT_SECONDS", {one: SHORT if one is wait else LONG for one in Wait})


def test_connection_without_a_request_ends(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    only_deadline(monkeypatch, Wait.HEAD)
    with connection(address) as client:
        assert client.is_ended()


def status_of(address: str, data: bytes) -> int | None:
    """Send the data, and return the status of the response; None if the connection ended without one."""
    with connection(address) as client:
        client.send(data)
        found = client.response()
        assert client.is_ended()
        return None if found is None else found.status


@pytest.mark.parametrize("part", [HEAD[:1], HEAD[:20], HEAD], ids=["a byte", "half a line", "no last line"])
def test_head_has_a_deadline(address: str, part: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    only_deadline(monkeypatch, Wait.HEAD)
    # Without a response if this machine sends the part too late.
    until(lambda: status_of(address, part) == 408, "an unfinished head is refused")


def test_byte_by_byte_a_head_has_the_same_deadline(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    only_deadline(monkeypatch, Wait.HEAD)

    def send_bytes() -> bool:
        late: list[RawResponse | None] = []
        with connection(address) as client:
            reader = threading.Thread(target=lambda: late.append(client.response()))
            reader.start()
            with suppress(OSError):
                client.send(HEAD + b"X: ")
                while reader.is_alive():
                    client.send(b"a")
                    reader.join(SHORT / 10)
            reader.join()
        return [found and found.status for found in late] == [408]

    until(send_bytes, "the head is refused")


@pytest.mark.parametrize(
    "framing",
    [b"Content-Length: 100\r\n\r\n{", b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n"],
    ids=["length", "chunks"],
)
def test_body_has_a_deadline(address: str, framing: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    only_deadline(monkeypatch, Wait.BODY)
    with connection(address) as client:
        client.send(LOGIN + framing)
        late = client.response()
        assert client.is_ended()
    assert late is not None
    assert (late.status, b"the body of the request did not come" in late.body) == (408, True)


def test_body_that_nobody_reads_ends_with_the_connection(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    only_deadline(monkeypatch, Wait.HEAD)
    endless = HEAD.replace(b"GET", b"POST") + b"Content-Length: 1000000\r\n\r\n"
    until(lambda: status_of(address, endless) == 405, "the connection ends after the response")


def test_client_that_does_not_read_its_response_loses_it(monkeypatch: pytest.MonkeyPatch) -> None:
    only_deadline(monkeypatch, Wait.READING)
    lost, ended = threading.Event(), threading.Event()
    stock = connections.ClientConnection.connection_lost

    def connection_lost(self: connections.ClientConnection, exc: Exception | None) -> None:
        lost.set()
        stock(self, exc)

    async def endless(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            while not lost.is_set():
                await send({"type": "http.response.body", "body": b" " * 1_000_000, "more_body": True})
            ended.set()

    monkeypatch.setattr(connections.ClientConnection, "connection_lost", connection_lost)
    with serving_app(endless) as address, connection(address) as client:
        client.send(HEAD + b"\r\n")
        assert ended.wait(60)


def test_client_that_reads_slowly_gets_its_response(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each part is taken long after the deadline for taking nothing."""
    only_deadline(monkeypatch, Wait.READING)
    size, part = 40_000_000, 2_000_000

    async def large(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            length = [(b"content-length", str(size).encode())]
            await send({"type": "http.response.start", "status": 200, "headers": length})
            await send({"type": "http.response.body", "body": b" " * size})

    expired: list[Wait] = []
    stock = connections.ClientConnection._expire

    def expire(self: connections.ClientConnection, wait: Wait) -> None:
        expired.append(wait)
        stock(self, wait)

    monkeypatch.setattr(connections.ClientConnection, "_expire", expire)
    with serving_app(large) as address, connection(address) as client:
        client.send(HEAD + b"\r\n")
        taken = 0
        while taken < size:
            seen = len(expired)
            if taken < size // 2:
                client.take(part)
                taken += part
                until(lambda: len(expired) > seen, "a deadline has passed")  # noqa: B023 - called at once
            else:
                assert client.take(size - taken), "all of the rest"
                taken = size
    assert set(expired) == {Wait.READING}


@pytest.mark.parametrize(
    "line",
    [b"GET / HTTP/1.1\r\nAuthorization : Bearer s3cr3t", b"GET /?search=s3cr3t and HTTP/1.1", b"s3cr3t" * 10_000],
    ids=["header", "request line", "long"],
)
def test_refusal_does_not_repeat_what_was_sent(address: str, line: bytes, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with connection(address) as client:
        client.send(line + b"\r\n\r\n")
        refused = client.response()
        assert refused is not None
        assert (refused.status, b"illegal" in refused.body, b"s3cr3t" in refused.body) == (400, True, False)
        assert client.is_ended()
    [record] = [one for one in caplog.records if "Refused a request" in one.getMessage()]
    assert "s3cr3t" not in record.getMessage()


def test_process_ends_while_a_refused_connection_lingers(monkeypatch: pytest.MonkeyPatch) -> None:
    errors: list[object] = []
    monkeypatch.setattr(threading, "excepthook", lambda found: errors.append(found.exc_value))
    with serving(NO_REDIS) as address:
        client = RawClient(address)
        client.send(b"GET / HTTP/1.2\r\nHost: localhost\r\n\r\n")
        refused = client.response()
        assert refused is not None
        assert refused.status == 505
    client.close()
    assert errors == []


def test_new_connections_take_the_place_of_the_one_that_waited_longest(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "CLIENT_SECONDS", dict.fromkeys(Wait, LONG))
    monkeypatch.setattr(connections, "MAX_CLIENTS", 10)
    idle: list[RawClient] = []
    try:
        for _ in range(40):
            idle.append(RawClient(address))
            idle[-1].send(HEAD)
        assert httpx.get(f"{address}/healthz").status_code == 200
        assert idle[0].is_ended()
        idle[-1].send(b"\r\n")
        served = idle[-1].response()
        assert served is not None
        assert served.status == 200
    finally:
        for client in idle:
            client.close()


def test_running_request_never_loses_its_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "CLIENT_SECONDS", dict.fromkeys(Wait, LONG))
    monkeypatch.setattr(connections, "MAX_CLIENTS", 3)
    started, finish = threading.Event(), threading.Event()
    with serving_app(_slow(started, finish)) as address, connection(address) as patient:
        patient.send(HEAD + b"\r\n")
        assert started.wait(60)
        others = [RawClient(address) for _ in range(20)]
        assert others[0].is_ended()
        finish.set()
        found = patient.response()
        for client in others:
            client.close()
    assert found is not None
    assert found.status == 204


def _slow(started: threading.Event, finish: threading.Event) -> object:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            started.set()
            await to_thread.run_sync(finish.wait)
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body"})

    return app


def test_handshake_of_tls_has_a_deadline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "HANDSHAKE_SECONDS", SHORT)
    own = trustme.CA().issue_cert("localhost")
    own.private_key_pem.write_to_path(tmp_path / "key.pem")
    own.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    files = {"ssl_certfile": str(tmp_path / "cert.pem"), "ssl_keyfile": str(tmp_path / "key.pem")}
    with (
        serving_app(_slow(threading.Event(), threading.Event()), **files) as address,
        connection(address) as client,
    ):
        assert client.is_ended()
