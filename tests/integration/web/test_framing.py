"""Ways to frame a request: where it ends is the same for this server and any proxy, or the request is refused.

A request that two programs would cut at different places could hide another one (request smuggling).
"""

from collections.abc import Iterator

import pytest

from tests.support.raw_http import connection
from tests.support.web import serving
from vmpooler_tasks.web.limits import connection as connections
from vmpooler_tasks.web.limits.connection import Wait

HOST = b"Host: localhost\r\n"
NEXT = b"GET /healthz HTTP/1.1\r\n" + HOST + b"\r\n"


def get(*lines: bytes, target: bytes = b"/healthz", version: bytes = b"HTTP/1.1", host: bytes = HOST) -> bytes:
    return b"GET %s %s\r\n" % (target, version) + host + b"".join(line + b"\r\n" for line in lines) + b"\r\n"


def post(*lines: bytes, body: bytes = b"", version: bytes = b"HTTP/1.1") -> bytes:
    head = b"POST /healthz %s\r\n" % version + HOST + b"".join(line + b"\r\n" for line in lines) + b"\r\n"
    return head + body


CHUNKED = b"Transfer-Encoding: chunked"
HIDDEN = b"0\r\n\r\n" + NEXT

ACCEPTED = {
    "a plain GET": get(),
    "a whole address": get(target=b"http://localhost/healthz"),
    "an empty query": get(target=b"/healthz?"),
    "a query": get(target=b"/healthz?a=b&c=%00"),
    "an encoded path": get(target=b"/health%7a"),
    "a long target": get(target=b"/healthz?" + b"a" * 60_000),
    "a hundred headers": get(*(b"X-%d: 1" % number for number in range(100))),
    "an empty header": get(b"X-Empty:"),
    "a header of Latin-1": get(b"X-Latin: \xe9"),
    "a header with tabs": get(b"X-Tab: \ta\t"),
    "a header twice": get(b"X-Twice: 1", b"X-Twice: 2"),
    "lines that end with LF": b"GET /healthz HTTP/1.1\nHost: localhost\n\n",
    "two requests at once": get(),
    "a GET with a body": get(b"Content-Length: 3") + b"abc",
    "a GET with chunks": get(CHUNKED) + b"3\r\nabc\r\n0\r\n\r\n",
    "a length of zero": post(b"Content-Length: 0"),
    "a length": post(b"Content-Length: 3", body=b"abc"),
    "a length with zeros before": post(b"Content-Length: 003", body=b"abc"),
    "the same length twice": post(b"Content-Length: 3", b"Content-Length: 3", body=b"abc"),
    "no body": post(),
    "one chunk": post(CHUNKED, body=b"3\r\nabc\r\n0\r\n\r\n"),
    "no chunk": post(CHUNKED, body=b"0\r\n\r\n"),
    "a thousand chunks": post(CHUNKED, body=b"1\r\na\r\n" * 1000 + b"0\r\n\r\n"),
    "chunks of hexadecimal size": post(CHUNKED, body=b"A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n"),
    "a chunk with an extension": post(CHUNKED, body=b'3;name="value"\r\nabc\r\n0\r\n\r\n'),
    "a trailer": post(CHUNKED, body=b"3\r\nabc\r\n0\r\nX-Trailer: 1\r\n\r\n"),
    "a trailer that is no framing": post(CHUNKED, body=b"0\r\nContent-Length: 50\r\n\r\n"),
    "chunked in capitals": post(b"TRANSFER-ENCODING: Chunked", body=b"0\r\n\r\n"),
    "an offer of WebSockets": get(b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Version: 13"),
    "an offer of HTTP/2": get(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABk"),
}
"""Requests with one end, after which the connection goes on with the next one."""

REFUSED = {
    "a length beside chunks": post(b"Content-Length: 5", CHUNKED, body=HIDDEN),
    "chunks beside a length": post(CHUNKED, b"Content-Length: 5", body=HIDDEN),
    "a length of zero beside chunks": post(b"Content-Length: 0", CHUNKED, body=HIDDEN),
    "chunks, and a length in capitals": post(CHUNKED, b"CONTENT-LENGTH: 5", body=HIDDEN),
    "a GET with a length beside chunks": get(b"Content-Length: 5", CHUNKED) + HIDDEN,
    "two lengths": post(b"Content-Length: 5", b"Content-Length: 6", body=HIDDEN),
    "two lengths in one line": post(b"Content-Length: 5, 6", body=HIDDEN),
    "a negative length": post(b"Content-Length: -1", body=HIDDEN),
    "a length with a plus": post(b"Content-Length: +5", body=HIDDEN),
    "a length in hexadecimal": post(b"Content-Length: 0x5", body=HIDDEN),
    "a length with a fraction": post(b"Content-Length: 5.0", body=HIDDEN),
    "a length with an exponent": post(b"Content-Length: 1e1", body=HIDDEN),
    "a length with an underscore": post(b"Content-Length: 1_0", body=HIDDEN),
    "a length with a space": post(b"Content-Length: 5 5", body=HIDDEN),
    "an empty length": post(b"Content-Length:", body=HIDDEN),
    "a length that is a word": post(b"Content-Length: many", body=HIDDEN),
    "a length of other digits": post(b"Content-Length: \xd9\xa5", body=HIDDEN),
    "an endless length": post(b"Content-Length: " + b"9" * 5000, body=HIDDEN),
    "chunks and gzip": post(b"Transfer-Encoding: gzip, chunked", body=HIDDEN),
    "gzip": post(b"Transfer-Encoding: gzip", body=HIDDEN),
    "identity": post(b"Transfer-Encoding: identity", body=HIDDEN),
    "chunked twice": post(CHUNKED, CHUNKED, body=HIDDEN),
    "chunked twice in one line": post(b"Transfer-Encoding: chunked, chunked", body=HIDDEN),
    "chunked, then identity": post(CHUNKED, b"Transfer-Encoding: identity", body=HIDDEN),
    "xchunked": post(b"Transfer-Encoding: xchunked", body=HIDDEN),
    "chunked in quotes": post(b'Transfer-Encoding: "chunked"', body=HIDDEN),
    "chunked with a parameter": post(b"Transfer-Encoding: chunked;q=1", body=HIDDEN),
    "chunked after a vertical tab": post(b"Transfer-Encoding: \x0bchunked", body=HIDDEN),
    "an empty encoding": post(b"Transfer-Encoding:", body=HIDDEN),
    "chunks in HTTP/1.0": post(CHUNKED, body=HIDDEN, version=b"HTTP/1.0"),
    "a space before the colon": post(b"Content-Length : 5", body=HIDDEN),
    "a tab before the colon": post(b"Transfer-Encoding\t: chunked", body=HIDDEN),
    "a folded first header": b"GET /healthz HTTP/1.1\r\n Host: localhost\r\n\r\n" + NEXT,
    "a header without a colon": get(b"Transfer-Encoding chunked") + NEXT,
    "a header without a name": get(b": chunked") + NEXT,
    "a NUL in a name": get(b"X\x00: 1") + NEXT,
    "a NUL in a value": get(b"X: \x00") + NEXT,
    "a CR in a value": get(b"X: a\rb") + NEXT,
    "a name that is not ASCII": get(b"Contentl\xc3\xa9: 1") + NEXT,
    "no host": get(host=b"") + NEXT,
    "two hosts": get(b"Host: elsewhere") + NEXT,
    "an empty line before": b"\r\n" + get() + NEXT,
    "HTTP/0.9": b"GET /healthz\r\n" + NEXT,
    "HTTP/2's first line": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + NEXT,
    "HTTP/3": get(version=b"HTTP/3.0") + NEXT,
    "a version of two digits": get(version=b"HTTP/1.10") + NEXT,
    "a version in small letters": get(version=b"http/1.1") + NEXT,
    "no target": b"GET  HTTP/1.1\r\n" + HOST + b"\r\n" + NEXT,
    "a target with a space": get(target=b"/health z") + NEXT,
    "a target that is not ASCII": get(target="/é".encode()) + NEXT,
    "a target with a NUL": get(target=b"/\x00") + NEXT,
    "a method with a space before": b" GET /healthz HTTP/1.1\r\n" + HOST + b"\r\n" + NEXT,
    "a method that is no token": b"G(T /healthz HTTP/1.1\r\n" + HOST + b"\r\n" + NEXT,
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 512,
    "a head that is a little over the limit": get(b"X: " + b"a" * 65_536) + NEXT,
    "a head over the limit": get(b"X: " + b"a" * 400_000) + NEXT,
    "a target over the limit": get(target=b"/" + b"a" * 400_000) + NEXT,
    "too many chunks": post(CHUNKED, body=b"1\r\na\r\n" * 1001 + HIDDEN),
    "a chunk size that is no number": post(CHUNKED, body=b"z\r\nabc\r\n" + HIDDEN),
    "a chunk size with a sign": post(CHUNKED, body=b"+3\r\nabc\r\n" + HIDDEN),
    "a chunk size with 0x": post(CHUNKED, body=b"0x3\r\nabc\r\n" + HIDDEN),
    "a chunk size without digits": post(CHUNKED, body=b"\r\nabc\r\n" + HIDDEN),
    "a chunk size of 100 digits": post(CHUNKED, body=b"0" * 99 + b"3\r\nabc\r\n" + HIDDEN),
    "a chunk that is longer than its size": post(CHUNKED, body=b"3\r\nabcdef\r\n" + HIDDEN),
    "a chunk extension over the limit": post(CHUNKED, body=b"3;" + b"a" * 400_000 + b"\r\nabc\r\n" + HIDDEN),
    "a trailer over the limit": post(CHUNKED, body=b"0\r\nX: " + b"a" * 400_000 + b"\r\n\r\n" + NEXT),
    "a trailer that is no header": post(CHUNKED, body=b"0\r\nno header\r\n\r\n" + NEXT),
}
"""Requests without one certain end. `NEXT`, behind them, is never carried out."""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Nothing here needs Redis. However slow this machine is, it sends all of a request before a deadline."""
    with pytest.MonkeyPatch.context() as patch, serving("redis://127.0.0.1:1/0") as found:
        patch.setattr(connections, "CLIENT_SECONDS", dict.fromkeys(Wait, 600.0))
        yield found


@pytest.mark.parametrize("request_bytes", ACCEPTED.values(), ids=ACCEPTED)
def test_next_request_starts_where_this_one_ends(address: str, request_bytes: bytes) -> None:
    with connection(address) as client:
        client.send(request_bytes + NEXT)
        first, second = client.response(), client.response()
        assert first is not None
        assert first.status in (200, 404, 405)
        assert second is not None
        assert (second.status, second.body) == (200, b'{"status":"ok"}')


@pytest.mark.parametrize("request_bytes", REFUSED.values(), ids=REFUSED)
def test_what_has_no_certain_end_is_refused_and_ends_the_connection(address: str, request_bytes: bytes) -> None:
    with connection(address) as client:
        client.send(request_bytes)
        refusal = client.response()
        assert client.is_ended()
    assert refusal is not None
    assert refusal.status in (400, 413, 431, 501, 505)
    assert refusal.headers["content-type"] == "application/problem+json"
    assert refusal.headers["x-content-type-options"] == "nosniff"


def test_refusal_says_why(address: str) -> None:
    with connection(address) as client:
        client.send(REFUSED["a length beside chunks"])
        refusal = client.response()
    assert refusal is not None
    assert (refusal.status, b"Content-Length beside Transfer-Encoding" in refusal.body) == (400, True)
    assert refusal.headers["connection"] == "close"


@pytest.mark.parametrize("version", [b"HTTP/1.0", b"HTTP/1.1"])
def test_client_that_wants_to_end_the_connection_ends_it(address: str, version: bytes) -> None:
    with connection(address) as client:
        client.send(get(b"Connection: close", version=version) + NEXT)
        found = client.response()
        assert found is not None
        assert found.status == 200
        assert client.is_ended()


def test_response_to_head_has_no_body(address: str) -> None:
    with connection(address) as client:
        client.send(b"HEAD /static/app.css HTTP/1.1\r\n" + HOST + b"\r\n" + NEXT)
        first, second = client.response(is_head=True), client.response()
    assert first is not None
    assert second is not None
    assert (first.status, second.status) == (200, 200)


def test_client_may_wait_for_permission_to_send_its_body(address: str) -> None:
    with connection(address) as client:
        body = b'{"user": "nobody", "password": "x", "more": 1}'
        lines = (b"Content-Type: application/json", b"Expect: 100-continue", b"Content-Length: %d" % len(body))
        client.send(post(*lines).replace(b"/healthz", b"/api/v1/session"))
        permission = client.response()
        client.send(body)
        found = client.response()
    assert permission is not None
    assert found is not None
    assert (permission.status, found.status) == (100, 422)
