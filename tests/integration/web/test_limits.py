"""What one user, or somebody without a login, may cost the web process."""

import importlib
import json
import logging
import pkgutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from contextlib import ExitStack, contextmanager

import httpx
import pytest
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from tests.support import raw_http
from tests.support.processes import until
from tests.support.servers import TestServer
from tests.support.web import OPERATOR, READER, serving
from vmpooler_tasks.jobs.deadletters import query
from vmpooler_tasks.web import api, site
from vmpooler_tasks.web.limits import connection
from vmpooler_tasks.web.limits import requests as limits
from vmpooler_tasks.web.limits.connection import Wait
from vmpooler_tasks.web.site import MAX_USER_SEARCHES, MAX_USER_WAITING

SEARCH = "/api/v1/queue/dlq"
PROBES = ("/healthz", "/readyz")


class Held:
    """Searches that do not end before `release`."""

    def __init__(self) -> None:
        self.running, self._end = 0, threading.Event()

    def __call__(self, stock: Callable[..., object]) -> Callable[..., object]:
        def held(*arguments: object, **options: object) -> object:
            self.running += 1
            self._end.wait()
            return stock(*arguments, **options)

        return held

    def release(self) -> None:
        self._end.set()


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[Held]:
    searches = Held()
    monkeypatch.setattr(query, "read_page", searches(query.read_page))
    monkeypatch.setattr(site, "SEARCH_WAIT_SECONDS", 600.0)
    yield searches
    searches.release()


@contextmanager
def asking(address: str, count: int, held: Held) -> Iterator[list[Future[httpx.Response]]]:
    """Send this many searches of a reader at once."""
    many = httpx.Limits(max_connections=None)
    with ThreadPoolExecutor(count) as pool, httpx.Client(auth=READER, timeout=600, limits=many) as client:
        try:
            yield [pool.submit(client.get, f"{address}{SEARCH}") for _ in range(count)]
        finally:
            held.release()


def test_sixty_searches_of_a_reader_delay_nobody_else(valkey: TestServer, held: Held) -> None:
    admitted = MAX_USER_SEARCHES + MAX_USER_WAITING
    with serving(valkey.url) as address, asking(address, 60, held) as searches:
        until(lambda: sum(search.done() for search in searches) == 60 - admitted, "the others are refused")
        assert held.running == MAX_USER_SEARCHES
        for path in PROBES:
            assert httpx.get(address + path).status_code == 200
        assert httpx.get(f"{address}{SEARCH}/stats", auth=OPERATOR).status_code == 200
        assert httpx.get(f"{address}/api/v1/queue/audit", auth=OPERATOR).status_code == 200
        assert httpx.get(f"{address}/api/v1/queue/overview", auth=READER).status_code == 200
        held.release()
        found = [search.result() for search in searches]
    assert sorted(one.status_code for one in found) == [200] * admitted + [429] * (60 - admitted)
    assert {one.headers.get("retry-after") for one in found if one.status_code == 429} == {"5"}


def test_search_that_waits_for_too_long_is_refused(
    valkey: TestServer, held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(site, "SEARCH_WAIT_SECONDS", 0.2)
    count = MAX_USER_SEARCHES + 3
    with serving(valkey.url) as address, asking(address, count, held) as searches:
        until(lambda: sum(search.done() for search in searches) >= 3, "the waiting ones are refused")
        assert all(search.result().status_code == 429 for search in searches if search.done())


def test_requests_over_the_limit_are_refused_and_probes_are_not(
    valkey: TestServer, held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_REQUESTS", 2)
    with serving(valkey.url) as address, asking(address, 2, held) as searches:
        until(lambda: held.running == 2, "two requests run")
        refused = httpx.get(f"{address}/api/v1/session")
        assert (refused.status_code, refused.headers["content-type"]) == (503, "application/problem+json")
        assert refused.headers["x-content-type-options"] == "nosniff"
        assert refused.headers["retry-after"] == "5"
        for path in PROBES:
            assert httpx.get(address + path).status_code == 200
        held.release()
        wait_for(searches)
        until(lambda: httpx.get(f"{address}/api/v1/session").status_code == 200, "others are served again")


POST = b"POST /api/v1/session HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


def test_requests_that_wait_for_their_bodies_keep_nobody_out(
    web: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_REQUESTS", 2)
    monkeypatch.setattr(connection, "CLIENT_SECONDS", dict.fromkeys(Wait, 600.0))
    with ExitStack() as clients:
        for _ in range(5):
            client = clients.enter_context(raw_http.connection(str(web.base_url)))
            client.send(POST + b"Content-Length: 10\r\n\r\n{")
        assert [web.get("/api/v1/session").status_code for _ in range(5)] == [200] * 5
        client.send(b" " * 9)
        refused = client.response()
        assert refused is not None
        assert refused.status == 422, "it runs when its body is there"


def test_bodies_of_all_requests_have_a_bound_together(web: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_BODIES_BYTES", 1000)
    monkeypatch.setattr(connection, "CLIENT_SECONDS", dict.fromkeys(Wait, 600.0))
    with raw_http.connection(str(web.base_url)) as client:
        client.send(POST + b"Content-Length: 2000\r\n\r\n" + b" " * 900)

        def small() -> int:
            return web.post(
                "/api/v1/session", content=b" " * 200, headers={"Content-Type": "application/json"}
            ).status_code

        until(lambda: small() == 503, "there is no room for another body")
    until(lambda: small() == 422, "there is room again when the client is gone")


FLOODS: dict[str, object] = {
    "names": {f"name-{number}": 1 for number in range(50_000)},
    "a long name": {"n" * 900_000: 1},
    "values": {"user": [1] * 300_000, "password": "x"},
    "ids": {"ids": [1] * 300_000},
    "empty ids": {"ids": [""] * 200_000},
    "a thousand wrong ids": {"ids": [1] * 1000},
    "queues": {"queue": ["none"] * 50_000, "queues": ["none"] * 50_000},
    "a long value": {"user": "u" * 900_000, "password": "p", "why": "w" * 50_000},
    "a list": [1] * 300_000,
    "a text": "t" * 900_000,
}


INVALID_BODIES = ("/api/v1/session", f"{SEARCH}/delete", f"{SEARCH}/redrive", "/api/v1/queue/purge")
INVALID_QUERIES = (SEARCH, f"{SEARCH}/stats", "/api/v1/queue/requests")


def test_response_to_an_invalid_request_is_short(web: httpx.Client) -> None:
    """Each is refused in less time than it takes to list all that is wrong with it."""
    for name, body in FLOODS.items():
        content = json.dumps(body)
        for path in INVALID_BODIES:
            response = web.post(path, content=content, headers={"Content-Type": "application/json"})
            assert (response.status_code, response.headers["content-type"]) == (422, "application/problem+json"), name
            assert len(response.content) < 20_000, name
            assert response.json()["errors"], name
    queries = ("&".join(f"n{number}=1" for number in range(6000)), "n" * 60_000 + "=1", "limit=" + "9" * 60_000)
    urls = [f"{path}?{flood}" for path in INVALID_QUERIES for flood in queries]
    for url in (*urls, "/api/v1/queue/purge?" + "&".join("queue=none" for _ in range(5000))):
        response = web.get(url)
        assert (response.status_code, len(response.content) < 20_000) == (422, True), url[:100]


def test_log_line_of_a_long_request_is_short(web: httpx.Client, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    assert web.get("/" + "%00" * 20_000).status_code == 404
    assert web.request("M" * 60_000, "/healthz").status_code == 405

    def lines() -> list[str]:
        return [record.getMessage() for record in caplog.records if record.name == "vmpooler_tasks.web"]

    until(lambda: len(lines()) == 2, "both are logged")
    assert max(map(len, lines())) < 1500


CHEAP = {
    ("GET", "/api/v1/queue/dlq/export"): "exports have a limit of their own",
    ("GET", "/api/v1/queue/health"): "reads one hash and a few counts",
    ("GET", "/health"): "the same",
    ("GET", "/api/v1/queue/overview"): "computed once for all",
    ("GET", "/api/v1/queue/schedule"): "reads one hash",
    ("GET", "/api/v1/queue/redrives/{run}"): "reads one hash",
    ("POST", "/api/v1/queue/purge"): "one runs at a time, and may take minutes, while its operator searches",
    ("POST", "/api/v1/queue/redrives/{run}/cancel"): "writes one hash",
    ("POST", "/api/v1/queue/schedule/{name}/run"): "sends one message",
    ("DELETE", "/api/v1/queue/requests/{request_id}"): "changes one request",
}
"""Operations that wait for no turn. Orders to one pool or provider, the session and probes do not either."""


def test_each_operation_that_reads_much_waits_for_its_turn() -> None:
    without_turn = {
        (method, route.path)
        for module in pkgutil.iter_modules(api.__path__, f"{api.__name__}.")
        for route in getattr(getattr(importlib.import_module(module.name), "router", None), "routes", ())
        if isinstance(route, APIRoute) and not _waits(route.dependant)
        for method in route.methods or ()
    }
    not_theirs = ("/api/v1/queue/pools/", "/api/v1/queue/providers/", "/api/v1/session", "/metrics", *PROBES)
    assert {(method, path) for method, path in without_turn if not path.startswith(not_theirs)} == set(CHEAP)


def _waits(dependant: Dependant) -> bool:
    return any(one.call is limits.take_turn or _waits(one) for one in dependant.dependencies)
