"""Every route, with every method, for everybody who has no right to it; and addresses that no page has."""

import base64
import random
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.asgi import AsgiClient, Reply
from tests.support.servers import TestServer
from tests.support.web import PASSWORD, TOKEN, web_settings
from tests.support.world import World
from vmpooler_tasks.store import fleet_keys
from vmpooler_tasks.web import identity
from vmpooler_tasks.web.app import create_app
from vmpooler_tasks.web.identity import COOKIE, CSRF_HEADER

pytestmark = pytest.mark.slow(seconds=30)

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "get", "X")
SESSION = "/api/v1/session"
PUBLIC = {"/healthz", "/readyz", SESSION}
PROBLEM = "application/problem+json"
ODD_PATHS = 2500


@pytest.fixture
def web_app(valkey: TestServer, web_world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[AsgiClient]:
    monkeypatch.setattr(identity, "FAILURES_A_MINUTE", 1_000_000)
    settings = web_settings(valkey.url)
    with AsgiClient(create_app(settings, web_world.db, web_world.clock, web_world.db)) as client:
        yield client


def basic(user: str, password: str) -> dict[str, str]:
    return {"Authorization": f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"}


def session_of(client: AsgiClient, user: str) -> dict[str, str]:
    """Return the headers of a page where this user is logged in."""
    reply = client.request("POST", SESSION, body={"user": user, "password": PASSWORD})
    cookie = reply.headers["set-cookie"].partition(";")[0]
    return {"Cookie": cookie, CSRF_HEADER: reply.json()["csrf_token"]}


def strangers(client: AsgiClient, world: World) -> dict[str, dict[str, str]]:
    """Return the headers of all who may not even read."""
    ended, before = session_of(client, "olga"), set(world.client.keys(fleet_keys.session("*")))
    assert client.request("DELETE", SESSION, ended).status == 204
    expired = session_of(client, "olga")
    [key] = set(world.client.keys(fleet_keys.session("*"))) - before
    world.client.delete(key)
    return {
        "nobody": {},
        "a wrong token": {"Authorization": "Bearer guess"},
        "a token without its end": {"Authorization": f"Bearer {TOKEN[:-1]}"},
        "a password as a token": {"Authorization": f"Bearer {PASSWORD}"},
        "a wrong password": basic("olga", "guess"),
        "a password without its end": basic("olga", PASSWORD[:-1]),
        "a token as a password": basic("prometheus", TOKEN),
        "an unknown user": basic("nobody", PASSWORD),
        "another scheme": {"Authorization": "Digest olga"},
        "a session that was ended": ended,
        "a session that expired": expired,
        "an invented session": {"Cookie": f"{COOKIE}=invented", CSRF_HEADER: "invented"},
        "only a token of a page": {CSRF_HEADER: expired[CSRF_HEADER]},
    }


def operations(client: AsgiClient) -> dict[str, set[str]]:
    """Return path → methods, of all operations in the OpenAPI document. Below `dlq/`, every path may be an id."""
    paths = client.request("GET", "/openapi.json").json()["paths"]
    found = {re.sub(r"\{\w+\}", "none", path): {name.upper() for name in methods} for path, methods in paths.items()}
    ids = {path: {"GET", "DELETE"} for path in found if path.startswith("/api/v1/queue/dlq/")}
    return {path: methods | ids.get(path, set()) for path, methods in found.items()}


def test_whoever_has_no_right_is_refused_by_every_route(web_app: AsgiClient, web_world: World) -> None:
    routes, tried = operations(web_app), 0
    before = web_world.client.keys("vmpooler__*")
    for who, headers in strangers(web_app, web_world).items():
        for path, allowed in routes.items():
            for method in METHODS:
                reply = web_app.request(method, path, headers, {} if method in ("POST", "DELETE") else None)
                expected = {401} if method in allowed else {405}
                if path in PUBLIC:
                    expected = {200, 204, 401, 403, 422} if method in allowed else {405}
                assert reply.status in expected, (who, method, path, reply.body)
                assert reply.status < 400 or (reply.media_type, reply.headers["x-frame-options"]) == (PROBLEM, "DENY")
                tried += 1
    assert tried > 4000
    assert web_world.client.keys("vmpooler__*") == before


def test_a_reader_changes_nothing_by_any_route(web_app: AsgiClient, web_world: World) -> None:
    routes = operations(web_app)
    readers = (basic("rita", PASSWORD), {"Authorization": f"Bearer {TOKEN}"}, session_of(web_app, "rita"))
    for headers in readers:
        for path, allowed in routes.items():
            for method in METHODS:
                if path == SESSION:
                    continue
                reply = web_app.request(method, path, headers, {} if method in ("POST", "DELETE") else None)
                if method not in allowed:
                    assert reply.status == 405, (method, path)
                    assert set(reply.headers["allow"].split(", ")) <= allowed
                elif method == "GET":
                    assert reply.status in (200, 404, 503), (path, reply.body)
                else:
                    assert reply.status == 403, (method, path)
    assert web_world.client.keys("vmpooler__*") == []


HOST = "127.0.0.1"
FOREIGN: tuple[dict[str, str], ...] = (
    {"Origin": "https://elsewhere.example"},
    {"Origin": "null"},
    {"Origin": ""},
    {"Origin": f"http://{HOST}.elsewhere.example"},
    {"Origin": f"http://elsewhere.example/{HOST}"},
    {"Origin": f"http://{HOST}@elsewhere.example"},
    {"Origin": f"http://{HOST}:8081"},
    {"Origin": f"ftp://{HOST}"},
    {"Origin": f"//{HOST}"},
    {"Origin": "http://["},
    {"Origin": "http://]x["},
    {"Origin": "\xe9"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "odd"},
)


def test_an_operators_browser_changes_nothing_for_another_sites_page(web_app: AsgiClient, web_world: World) -> None:
    page = session_of(web_app, "olga")
    without = {"Cookie": page["Cookie"]}
    forged = (without, {**without, CSRF_HEADER: ""}, {**without, CSRF_HEADER: page[CSRF_HEADER][:-1]})
    for path, allowed in operations(web_app).items():
        for method in allowed - {"GET"}:
            programs = ({**basic("olga", PASSWORD), **foreign} for foreign in FOREIGN)
            for headers in (*({**page, **foreign} for foreign in FOREIGN), *programs, *forged):
                if path == SESSION and method == "POST" and headers in forged:
                    continue  # logging in needs no token
                body = {"user": "olga", "password": PASSWORD} if path == SESSION else {}
                reply = web_app.request(method, path, headers, body)
                assert (reply.status, reply.media_type) == (403, PROBLEM), (method, path, headers)
    assert web_app.request("GET", SESSION, page).json()["user"] == "olga"
    assert web_world.client.keys("vmpooler__*") == []


def test_the_host_name_of_another_site_gets_nothing(valkey: TestServer, web_world: World) -> None:
    settings = web_settings(valkey.url)
    odd = (
        "elsewhere.example",
        "",
        "[",
        "[::1",
        "]",
        "127.0.0.1.elsewhere.example",
        "127.0.0.1@elsewhere.example",
        "\xe9",
        "a b",
    )
    with AsgiClient(create_app(settings, web_world.db, web_world.clock)) as client:
        for host in odd:
            for path in ("/", "/api/v1/queue/audit", SESSION, "/metrics", "/openapi.json", "/static/app.css", "/none"):
                reply = client.request("GET", path, {"Host": host, **basic("olga", PASSWORD)})
                assert (reply.status, reply.media_type) == (400, PROBLEM), (host, path)
            assert client.request("GET", "/healthz", {"Host": host}).status == 200
        assert client.request("GET", "/", {"Host": "localhost:8080"}).status == 200
    anywhere = web_settings(valkey.url, settings.web.model_copy(update={"host": "192.0.2.1"}))
    with AsgiClient(create_app(anywhere, web_world.db, web_world.clock)) as client:
        for host in odd:
            for path in ("/", "/api/v1/queue/audit", "/health/", "/none"):
                reply = client.request("GET", path, {"Host": host})
                assert reply.status in (200, 307, 401, 404), (host, path)


PIECES = (
    *(
        "..",
        ".",
        "%2e%2e",
        "%2e",
        "..%2f",
        "%2f",
        "%5c",
        "\\",
        "..\\",
        "%252e%252e",
        "%c0%ae%c0%ae",
        "%00",
        "%ff",
        "%0d%0a",
    ),
    *(
        "",
        ";",
        "..;",
        "~",
        "~zz",
        "~612f62",
        "~ff",
        "~2e2e2f",
        "*",
        "%25",
        "%",
        "%zz",
        "%e2%80%ae",
        "%f0%9f%98%80",
        "%ed%a0%80",
    ),
    *(
        "etc",
        "passwd",
        "proc",
        "self",
        "environ",
        "app.py",
        "identity.py",
        "__init__.py",
        "index.html",
        "app.css",
        ".git",
    ),
    *(
        "api",
        "v1",
        "queue",
        "dlq",
        "export",
        "stats",
        "redrive",
        "delete",
        "edit",
        "pools",
        "requests",
        "purge",
        "schedule",
    ),
    *(
        "static",
        "js",
        "session",
        "health",
        "metrics",
        "openapi.json",
        "runbooks",
        "operator-guide",
        "API",
        "Health",
        "admin",
    ),
    *(
        "{dead_letter_id}",
        "{pool}",
        "a" * 2100,
        "%61" * 700,
        "http:",
        "elsewhere.example",
        "@",
        "<script>",
        "'--",
        "$(id)",
    ),
)
ROOTS = (
    "/",
    "//",
    "/static/",
    "/static/../",
    "/api/v1/queue/",
    "/api/v1/queue/dlq/",
    "/api/v1/queue/pools/",
    "/api/v1/",
)


def odd_paths() -> Iterator[str]:
    source = random.Random(13)
    for _ in range(ODD_PATHS):
        yield source.choice(ROOTS) + "/".join(source.choices(PIECES, k=source.randint(1, 5)))


def is_harmless(reply: Reply) -> bool:
    """Return whether a response to somebody who is not logged in is a document that everybody may read, or an error."""
    if reply.status in (401, 404, 405, 422):
        return reply.media_type == PROBLEM
    if reply.status in (301, 302, 307, 308):
        return reply.headers["location"].startswith("http://127.0.0.1/")
    text = reply.body
    public = (b"<!doctype html>", b"<!DOCTYPE html>", b"<svg", b'{"openapi"', b'{"status":"ok"}', b'{"login_required"')
    is_public = text.startswith(public) or reply.media_type in ("text/css", "text/javascript")
    return reply.status == 200 and is_public and b"root:" not in text and b"import " not in text[:7]


def test_odd_paths_lead_nowhere(web_app: AsgiClient) -> None:
    operator: dict[str, Any] = basic("olga", PASSWORD)
    for number, path in enumerate(odd_paths()):
        reply = web_app.request("GET", path)
        assert is_harmless(reply), (path, reply)
        if number % 3:
            continue
        reply = web_app.request("GET", path, operator)
        assert reply.status < 500 or (reply.status, reply.media_type) == (503, "application/health+json"), (path, reply)
        assert b"root:" not in reply.body


def test_odd_paths_change_nothing(web_app: AsgiClient, web_world: World) -> None:
    web_world.client.zadd("vmpooler__dlq__clone", {'{"id": "kept", "vm": "vm-1"}': 1})
    for path in list(odd_paths())[:500]:
        for method in ("POST", "DELETE"):
            assert web_app.request(method, path, body={}).status in (401, 404, 405, 422, 403), (method, path)
    assert web_world.client.zcard("vmpooler__dlq__clone") == 1
