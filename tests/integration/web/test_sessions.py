"""Sessions of the page: what starts, ends and breaks them."""

from collections.abc import Iterator

import httpx
import pytest

from tests.support.servers import TestServer
from tests.support.web import PASSWORD, serving, web_section, web_settings
from tests.support.world import World
from vmpooler_tasks.config.services import Credential, Role, WebSection
from vmpooler_tasks.store import fleet_keys
from vmpooler_tasks.web.identity import COOKIE, CSRF_HEADER

SESSION = "/api/v1/session"
AUDIT = "/api/v1/queue/audit"
PURGE = "/api/v1/queue/purge"
NO_ONE = {"login_required": True, "user": None, "role": None, "csrf_token": None}


@pytest.fixture
def browser(web: httpx.Client) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=web.base_url) as client:
        yield client


def log_in(browser: httpx.Client, user: str = "olga") -> str:
    """Log in and return the cookie."""
    assert browser.post(SESSION, json={"user": user, "password": PASSWORD}).status_code == 200
    return browser.cookies[COOKIE]


def session_key(world: World) -> bytes:
    [key] = world.client.keys(fleet_keys.session("*"))
    found: bytes = key
    return found


@pytest.mark.parametrize("user", ["rita", "olga"])
def test_logging_in_again_ends_the_session_before(browser: httpx.Client, web_world: World, user: str) -> None:
    first = log_in(browser)
    second = log_in(browser, user)
    assert first != second
    assert session_key(web_world)
    assert httpx.get(f"{browser.base_url}{SESSION}", cookies={COOKIE: first}).json() == NO_ONE
    assert browser.get(SESSION).json()["user"] == user


def test_a_login_that_fails_leaves_the_session(browser: httpx.Client) -> None:
    log_in(browser)
    assert browser.post(SESSION, json={"user": "rita", "password": "wrong"}).status_code == 401
    assert browser.get(SESSION).json()["user"] == "olga"


def test_a_session_has_a_name_that_the_server_chose(browser: httpx.Client) -> None:
    chosen = "a-name-that-an-attacker-has-planted-in-the-browser"
    browser.cookies.set(COOKIE, chosen)
    response = browser.post(SESSION, json={"user": "olga", "password": PASSWORD})
    assert chosen not in response.headers["set-cookie"]
    assert httpx.get(f"{browser.base_url}{SESSION}", cookies={COOKIE: chosen}).json() == NO_ONE


ODD_FIELDS: tuple[dict[str, str | bytes], ...] = (
    {"user": b"\xff\xfe"},
    {"user": ""},
    {"user": "rita"},
    {"proof": "\u00e9" * 64},
    {"proof": ""},
    {"proof": b"\x00" * 64},
    {"csrf": ""},
    {"csrf": "\u00e9" * 43},
    {"csrf": b"\xff" * 43},
    {"csrf": "x" * 100_000},
)


def test_a_session_with_odd_fields_is_no_session(browser: httpx.Client, web_world: World) -> None:
    """Rita has the same password as Olga: a session is bound to its user all the same."""
    log_in(browser)
    key = session_key(web_world)
    right = web_world.client.hgetall(key)
    for odd in (*ODD_FIELDS, {}):
        web_world.client.delete(key)
        web_world.client.hset(key, mapping={**right, **odd} if odd else {"user": "olga", "csrf": right[b"csrf"]})
        assert browser.get(SESSION).json() == NO_ONE, odd
        assert browser.get(AUDIT).status_code == 401
        assert browser.post(PURGE, json={}, headers={CSRF_HEADER: ""}).status_code == 401


def test_a_session_of_another_type_is_no_session(browser: httpx.Client, web_world: World) -> None:
    log_in(browser)
    key = session_key(web_world)
    web_world.client.delete(key)
    web_world.client.set(key, "no hash")
    assert (browser.get(SESSION).json(), browser.get(AUDIT).status_code) == (NO_ONE, 401)
    log_in(browser)
    assert browser.get(AUDIT).status_code == 200


def test_an_expired_session_is_no_session(browser: httpx.Client, web_world: World) -> None:
    log_in(browser)
    assert 43_000 < web_world.client.ttl(session_key(web_world)) <= 43_200
    web_world.client.pexpire(session_key(web_world), 1)
    web_world.client.wait(0, 2)
    assert browser.get(AUDIT).status_code == 401


def test_an_odd_cookie_is_no_session(browser: httpx.Client) -> None:
    for cookie in ("", "x", "x" * 20_000, "\xe9\xff", '"quoted"', "a=b; c", "%00", "../../etc/passwd"):
        header = {b"Cookie": f"{COOKIE}={cookie}".encode("latin-1")}
        assert browser.get(SESSION, headers=header).json() == NO_ONE, cookie
        assert browser.get(AUDIT, headers=header).status_code == 401


def changed(**fields: object) -> WebSection:
    """Return the section with these changes of olga."""
    section = web_section()
    return section.model_copy(update={"users": tuple(one.model_copy(update=fields) for one in section.users[:1])})


def test_a_session_follows_the_configuration(browser: httpx.Client, valkey: TestServer) -> None:
    """Another role holds at once. Another password, another name and a removed user end the session."""
    log_in(browser)
    csrf = {CSRF_HEADER: browser.get(SESSION).json()["csrf_token"]}
    removed = web_section().model_copy(update={"users": web_section().users[1:]})
    other = Credential(name="olga", role=Role.OPERATE, secret="another good password")
    for section, reading, changing in (
        (changed(role=Role.READ), 200, 403),
        (changed(name="otto"), 401, 401),
        (changed(secret=other.secret), 401, 401),
        (removed, 401, 401),
    ):
        with (
            serving(valkey.url, web_settings(valkey.url, section)) as address,
            httpx.Client(base_url=address, cookies=browser.cookies) as client,
        ):
            assert client.get(AUDIT).status_code == reading
            assert client.post(PURGE, json={"dry_run": True}, headers=csrf).status_code == changing
