"""Who may do what in the web process."""

import logging
from collections.abc import Iterator

import httpx
import pytest

from tests.support.servers import TestServer
from tests.support.web import PASSWORD, READER, TOKEN, serving, web_section, web_settings
from tests.support.world import POOL, World
from vmpooler_tasks.config.services import WebSection
from vmpooler_tasks.web.identity import CSRF_HEADER

pytestmark = pytest.mark.slow(seconds=10)

SESSION = "/api/v1/session"
READING = (
    "/health",
    "/api/v1/queue/health",
    "/api/v1/queue/overview",
    "/api/v1/queue/history",
    "/api/v1/queue/audit",
    "/api/v1/queue/dlq",
    "/api/v1/queue/dlq/stats",
    "/api/v1/queue/dlq/export",
    "/api/v1/queue/schedule",
    "/api/v1/queue/redrives",
    "/api/v1/queue/purge",
    "/api/v1/queue/requests",
    f"/api/v1/queue/pools/{POOL}",
)
CHANGES: tuple[tuple[str, str, object], ...] = (
    ("POST", "/api/v1/queue/dlq/delete", {"every": True}),
    ("POST", "/api/v1/queue/dlq/redrive", {"every": True}),
    ("POST", "/api/v1/queue/dlq/none/edit", {"kwargs": {}}),
    ("POST", "/api/v1/queue/schedule/none/run", {}),
    ("POST", "/api/v1/queue/purge", {}),
    ("POST", "/api/v1/queue/redrives/none/cancel", {}),
    ("DELETE", "/api/v1/queue/dlq/none", None),
    ("DELETE", "/api/v1/queue/requests/none", None),
    ("POST", "/api/v1/queue/pools/none/pause", {}),
    ("POST", "/api/v1/queue/pools/none/drain", {}),
    ("POST", "/api/v1/queue/pools/none/resume", {}),
    ("POST", "/api/v1/queue/pools/none/keep", {}),
    ("POST", "/api/v1/queue/pools/none/retry", {}),
    ("POST", "/api/v1/queue/providers/none/retry", {}),
)


@pytest.fixture
def browser(web: httpx.Client) -> Iterator[httpx.Client]:
    """Return a client that keeps cookies, and is not logged in yet."""
    with httpx.Client(base_url=web.base_url) as client:
        yield client


def log_in(browser: httpx.Client, user: str = "olga", password: str = PASSWORD) -> httpx.Response:
    return browser.post(SESSION, json={"user": user, "password": password})


@pytest.mark.parametrize("path", READING)
def test_without_a_login_nothing_is_read(browser: httpx.Client, path: str) -> None:
    response = browser.get(path)
    assert response.status_code == 401
    assert response.headers["content-type"] == "application/problem+json"
    assert "Basic" not in response.headers["www-authenticate"]


DOCUMENTS = ["/openapi.json", "/runbooks", "/operator-guide"]


@pytest.mark.parametrize("path", ["/", "/healthz", "/readyz", *DOCUMENTS, "/static/app.css", SESSION])
def test_public_paths_need_no_login(browser: httpx.Client, path: str) -> None:
    assert browser.get(path).status_code == 200


@pytest.mark.parametrize("path", READING)
def test_a_reader_reads(browser: httpx.Client, path: str) -> None:
    assert browser.get(path, auth=READER).status_code in (200, 503)
    assert browser.get(path, headers={"Authorization": f"Bearer {TOKEN}"}).status_code in (200, 503)


def test_reader_may_change_nothing(browser: httpx.Client) -> None:
    for method, path, body in CHANGES:
        response = browser.request(method, path, json=body, auth=READER)
        assert (response.status_code, "rita has the role read" in response.json()["detail"]) == (403, True), path


def test_a_session_has_to_send_its_token(browser: httpx.Client) -> None:
    csrf = log_in(browser).json()["csrf_token"]
    for method, path, body in CHANGES:
        assert browser.request(method, path, json=body).status_code == 403
        assert browser.request(method, path, json=body, headers={CSRF_HEADER: csrf[::-1]}).status_code == 403
        changed = browser.request(method, path, json=body, headers={CSRF_HEADER: csrf})
        assert changed.status_code in (200, 404, 409), path


def test_our_own_page_may(web: httpx.Client) -> None:
    ours = {"Origin": str(web.base_url).rstrip("/"), "Sec-Fetch-Site": "same-origin"}
    assert web.post("/api/v1/queue/purge", json={}, headers=ours).status_code == 200


def test_a_login_lasts_until_logging_out(browser: httpx.Client) -> None:
    assert browser.get(SESSION).json() == {"login_required": True, "user": None, "role": None, "csrf_token": None}
    response = log_in(browser)
    assert (response.json()["user"], response.json()["role"]) == ("olga", "operate")
    assert all(word in response.headers["set-cookie"] for word in ("HttpOnly", "SameSite=strict", "Max-Age=43200"))
    csrf = browser.get(SESSION).json()["csrf_token"]
    assert browser.delete(SESSION).status_code == 403
    assert browser.delete(SESSION, headers={CSRF_HEADER: csrf}).status_code == 204
    assert browser.get("/health").status_code == 401


def test_a_stolen_copy_of_the_database_opens_no_session(browser: httpx.Client, web_world: World) -> None:
    log_in(browser)
    cookie = next(iter(browser.cookies.jar)).value or ""
    kept = web_world.client.keys("*")
    assert not any(cookie.encode() in key for key in kept)
    assert [web_world.client.ttl(key) > 43000 for key in kept] == [True, True]


def test_a_new_password_ends_the_sessions(browser: httpx.Client, valkey: TestServer) -> None:
    log_in(browser)
    changed = web_section()
    users = tuple(one.model_copy(update={"secret": changed.tokens[0].secret}) for one in changed.users)
    with serving(valkey.url, web_settings(valkey.url, changed.model_copy(update={"users": users}))) as address:
        assert httpx.get(f"{address}/health", cookies=browser.cookies).status_code == 401


@pytest.mark.parametrize(
    "authorization",
    [
        "Bearer wrong",
        "Bearer",
        "Basic !",
        "Basic b2xnYTp3cm9uZw==",
        "Basic bm9ib2R5",
        f"Bearer {PASSWORD}",
        "Digest x",
        "\xff",
    ],
)
def test_wrong_credentials_are_refused(browser: httpx.Client, authorization: str) -> None:
    response = browser.get("/health", headers={b"Authorization": authorization.encode("latin-1")})
    assert (response.status_code, response.json()["detail"]) == (401, "wrong user, password or token")


def test_no_log_line_holds_a_secret(browser: httpx.Client, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    log_in(browser, password="what-nobody-may-read")
    log_in(browser)
    browser.get("/health", auth=READER)
    browser.get("/health", headers={"Authorization": f"Bearer {TOKEN}"})
    browser.get("/api/v1/queue/dlq?search=what-was-searched-for")
    ours = "\n".join(
        record.getMessage() for record in caplog.records if record.name.startswith(("vmpooler", "uvicorn"))
    )
    assert "POST /api/v1/session 401" in ours
    for secret in (PASSWORD, TOKEN, "what-nobody-may-read", "what-was-searched-for", "Basic "):
        assert secret not in ours


def test_on_loopback_without_credentials_everybody_is_an_operator(valkey: TestServer) -> None:
    with (
        serving(valkey.url, web_settings(valkey.url, WebSection())) as address,
        httpx.Client(base_url=address) as client,
    ):
        document = client.get(SESSION).json()
        assert (document["login_required"], document["user"], document["role"]) == (False, "local", "operate")
        assert client.post("/api/v1/queue/purge", json={}).status_code == 403
        token = {CSRF_HEADER: document["csrf_token"]}
        assert client.post("/api/v1/queue/purge", json={}, headers=token).status_code == 200
        elsewhere = {"Host": "elsewhere.example"}
        assert client.get(SESSION, headers=elsewhere).status_code == 400
        assert client.get("/healthz", headers=elsewhere).status_code == 200  # a probe knows the address alone


def test_every_response_has_the_security_headers(web: httpx.Client) -> None:
    for path in ("/", "/static/app.css", "/health", "/nowhere", "/runbooks", "/operator-guide"):
        headers = web.get(path).headers
        assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self';")
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == ("no-cache" if path.startswith("/static") else "no-store")
        assert "server" not in headers


def test_size_of_a_body_is_bounded(web: httpx.Client) -> None:
    response = web.post(
        "/api/v1/queue/dlq/delete", content=b" " * 2_000_000, headers={"Content-Type": "application/json"}
    )
    assert (response.status_code, response.headers["content-type"]) == (413, "application/problem+json")


def test_form_data_is_refused(web: httpx.Client) -> None:
    response = web.post("/api/v1/queue/dlq/delete", content=b'{"every": true}', headers={"Content-Type": "text/plain"})
    assert response.status_code == 422
