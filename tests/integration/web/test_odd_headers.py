"""Headers of any text are no internal error, and log nobody in."""

import string
from collections.abc import Iterator
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import servers
from tests.support.asgi import AsgiClient
from tests.support.fuzzing import fuzzed
from tests.support.web import web_section, web_settings
from vmpooler_tasks.clock import system_clock
from vmpooler_tasks.store import Database
from vmpooler_tasks.web import identity
from vmpooler_tasks.web.app import create_app
from vmpooler_tasks.web.identity import COOKIE, CSRF_HEADER

SESSION = "/api/v1/session"
NAMES = (
    *("Authorization", "Cookie", "Origin", "Sec-Fetch-Site", "Range", "If-Range", "If-None-Match", "If-Modified-Since"),
    *(
        "X-Forwarded-For",
        "X-Forwarded-Proto",
        "X-Forwarded-Host",
        "Forwarded",
        "Content-Type",
        "Accept",
        "TE",
        "Expect",
    ),
    *("X-HTTP-Method-Override", "X-Original-URL", "X-Rewrite-URL", "Accept-Encoding", "Content-Encoding", CSRF_HEADER),
)
STARTS = (
    "",
    "Bearer ",
    "Basic ",
    "Basic b2xnYTo",
    "Digest ",
    f"{COOKIE}=",
    f'{COOKIE}="',
    "http://",
    "http://[",
    "bytes=",
)
VALUES = st.builds(
    str.__add__,
    st.sampled_from(STARTS),
    st.one_of(
        st.text(st.characters(max_codepoint=255, exclude_characters="\r\n\0"), max_size=200),
        st.text(string.printable.replace("\n", "").replace("\r", ""), max_size=200),
        st.sampled_from(("[::1]", "1" * 5000, "a" * 20_000, "W/", '"', "application/json", "Thu, 99 Foo 0000", ",,,,")),
    ),
)
HEADERS = st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=4)
REQUESTS = st.sampled_from(
    (
        ("GET", "/health"),
        ("GET", SESSION),
        ("GET", "/api/v1/queue/dlq"),
        ("GET", "/metrics"),
        ("GET", "/static/app.css"),
        ("POST", "/api/v1/queue/purge"),
        ("POST", SESSION),
        ("DELETE", SESSION),
    )
)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AsgiClient]:
    """Return a client at the address of a proxy, on a server of its own: a test draws many requests."""
    with (
        servers.running("valkey", tmp_path_factory.mktemp("valkey")) as own,
        pytest.MonkeyPatch.context() as patch,
        closing(Database(own.url)) as db,
    ):
        patch.setattr(identity, "FAILURES_A_MINUTE", 1_000_000)
        chosen = web_settings(own.url, web_section(proxies=("192.0.2.0/24",)))
        with AsgiClient(create_app(chosen, db, system_clock, db), "192.0.2.1") as found:
            yield found


@fuzzed(300)
@given(request=REQUESTS, headers=HEADERS)
def test_odd_headers_log_nobody_in(client: AsgiClient, request: tuple[str, str], headers: dict[str, str]) -> None:
    method, path = request
    body = {"user": "olga", "password": "guess"} if method == "POST" else None
    reply = client.request(method, path, headers, body)
    if path == "/static/app.css":
        assert reply.status in (200, 304)
    elif path == SESSION and method != "POST":
        assert reply.status in (200, 204, 401, 403)
        assert reply.status != 200 or reply.json()["user"] is None
    else:
        assert reply.status in (400, 401, 403, 422), reply
