"""Wrong logins are limited by address and user, in all web processes together."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from typing import Any

import httpx
import pytest
from fastapi import HTTPException

from tests.support.ports import free_port
from tests.support.servers import TestServer
from tests.support.web import OPERATOR, PASSWORD, READER, TOKEN, serving, web_section, web_settings
from tests.support.world import World
from vmpooler_tasks.store import Database, fleet_keys
from vmpooler_tasks.web import identity
from vmpooler_tasks.web.identity import FAILURES_A_MINUTE
from vmpooler_tasks.web.login_throttle import ADDRESS_FACTOR, FAILURES_AN_HOUR, LoginThrottle

SESSION = "/api/v1/session"
AUDIT = "/api/v1/queue/audit"
PROXY = "127.0.0.1"
COUNTERS = fleet_keys.login_failures("*")

Client = Callable[..., httpx.Client]


@pytest.fixture
def client(valkey: TestServer, web_world: World) -> Iterator[Client]:
    """Return a function that starts a web process of its own on the same Redis, and returns a client of it."""
    with ExitStack() as stack:

        def start(**section: Any) -> httpx.Client:
            address = stack.enter_context(serving(valkey.url, web_settings(valkey.url, web_section(**section))))
            return stack.enter_context(httpx.Client(base_url=address))

        yield start


WRONG = "a wrong password"


def guess(client: httpx.Client, user: str = "olga", password: str = WRONG, address: str = "") -> int:
    headers = {"X-Forwarded-For": address} if address else {}
    return client.post(SESSION, json={"user": user, "password": password}, headers=headers).status_code


def lock(client: httpx.Client, user: str = "olga", address: str = "") -> None:
    """Fail as often as one user may from one address."""
    assert [guess(client, user, address=address) for _ in range(FAILURES_A_MINUTE)] == [401] * FAILURES_A_MINUTE


def test_after_ten_wrong_logins_a_user_waits_and_nobody_else(client: Client) -> None:
    browser = client()
    logged_in = client()
    assert guess(logged_in, password=PASSWORD) == 200
    lock(browser)
    response = browser.post(SESSION, json={"user": "olga", "password": PASSWORD})
    assert (response.status_code, 0 < int(response.headers["retry-after"]) <= 60) == (429, True)
    assert browser.get(AUDIT, auth=OPERATOR).status_code == 429
    assert browser.get(AUDIT, headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200
    assert browser.get(AUDIT, auth=READER).status_code == 200
    assert guess(browser, "rita", PASSWORD) == 200
    assert logged_in.get(AUDIT).status_code == 200, "an existing session passes"


def test_a_right_token_passes_whatever_was_guessed_before(client: Client) -> None:
    program = client()
    tries = [
        program.get(AUDIT, headers={"Authorization": f"Bearer guess-{number}"}).status_code
        for number in range(FAILURES_A_MINUTE + 2)
    ]
    assert tries == [401] * FAILURES_A_MINUTE + [429] * 2
    assert program.get(AUDIT, headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200
    assert guess(program, password=PASSWORD) == 200, "wrong tokens lock out no password"


def test_web_processes_count_together(client: Client) -> None:
    one, other = client(), client()
    tries = [guess((one, other)[number % 2]) for number in range(FAILURES_A_MINUTE + 2)]
    assert tries == [401] * FAILURES_A_MINUTE + [429] * 2
    assert guess(client(), password=PASSWORD) == 429, "a process that starts now, too"


@pytest.mark.parametrize("header", ["X-Forwarded-For", "X-Real-IP", "Forwarded", "X-Client-IP", "True-Client-IP"])
def test_a_forged_address_does_not_count(client: Client, header: str) -> None:
    browser = client()
    tries = [
        browser.get(
            AUDIT, auth=("olga", "wrong"), headers={header: f"{'for=' * (header == 'Forwarded')}192.0.2.{number}"}
        ).status_code
        for number in range(FAILURES_A_MINUTE + 5)
    ]
    assert tries == [401] * FAILURES_A_MINUTE + [429] * 5


def test_a_forged_scheme_does_not_count(client: Client) -> None:
    login = {"user": "olga", "password": PASSWORD}
    forged = {"X-Forwarded-Proto": "https"}
    assert "Secure" not in client().post(SESSION, json=login, headers=forged).headers["set-cookie"]
    response = client(proxies=(PROXY,)).post(SESSION, json=login, headers=forged)
    assert response.headers["set-cookie"].startswith("__Host-vmpooler_tasks_session=")
    assert "Secure" in response.headers["set-cookie"]
    assert response.headers["strict-transport-security"].startswith("max-age=")


def test_addresses_behind_a_configured_proxy_count_by_themselves(client: Client) -> None:
    browser = client(proxies=("127.0.0.0/8",))
    lock(browser, address="192.0.2.1")
    assert guess(browser, password=PASSWORD, address="192.0.2.1") == 429
    assert guess(browser, password=PASSWORD, address="192.0.2.2") == 200
    # The client of a proxy may send a header itself: the proxy appends the address that it sees.
    assert guess(browser, password=PASSWORD, address="198.51.100.7, 192.0.2.1") == 429
    assert guess(browser, password=PASSWORD, address="192.0.2.1, 127.0.0.9") == 429, "two proxies in a row"


def test_a_right_password_is_refused_if_the_limit_is_reached_during_its_check(
    client: Client, web_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser, find, key = client(), identity._find, fleet_keys.login_failures("olga@127.0.0.1")

    def meanwhile(*given: Any) -> Any:
        web_world.client.set(key, FAILURES_A_MINUTE, ex=60)
        return find(*given)

    monkeypatch.setattr(identity, "_find", meanwhile)
    assert guess(browser, password=PASSWORD) == 429
    web_world.client.delete(key)
    assert browser.get(AUDIT, auth=OPERATOR).status_code == 429
    assert browser.cookies == {}


def test_addresses_of_one_ipv6_network_count_together(client: Client) -> None:
    browser = client(proxies=(PROXY,))
    tries = [guess(browser, address=f"2001:db8::{number:x}") for number in range(FAILURES_A_MINUTE + 1)]
    assert tries[-1] == 429
    assert guess(browser, address="2001:db8:0:1::1") == 401
    assert guess(browser, password=PASSWORD, address="::ffff:192.0.2.1") == 200


def test_one_address_may_not_try_every_user(client: Client) -> None:
    browser = client()
    most = ADDRESS_FACTOR * FAILURES_A_MINUTE
    tries = [guess(browser, f"user-{number}") for number in range(most + 3)]
    assert (tries[:50], tries[most:]) == ([401] * 50, [429] * 3)


def test_a_user_is_guessed_a_hundred_times_an_hour_from_all_addresses(client: Client, web_world: World) -> None:
    browser = client(proxies=(PROXY,))
    assert guess(browser, password=PASSWORD, address="203.0.113.1") == 200
    tries = [guess(browser, address=f"198.51.100.{number}") for number in range(FAILURES_AN_HOUR + 1)]
    assert tries == [401] * FAILURES_AN_HOUR + [429]
    assert guess(browser, password=PASSWORD, address="192.0.2.1") == 429
    assert guess(browser, password=PASSWORD, address="203.0.113.1") == 200, "where this user has logged in before"
    assert guess(browser, "rita", PASSWORD, address="192.0.2.1") == 200
    assert 60 < web_world.client.ttl(fleet_keys.login_failures("hour:olga")) <= 3600


def test_the_wait_ends_by_the_servers_clock(client: Client, web_world: World) -> None:
    browser = client()
    lock(browser)
    key = fleet_keys.login_failures("olga@127.0.0.1")
    assert 0 < web_world.client.ttl(key) <= 60
    web_world.client.delete(key)  # as after a minute
    assert guess(browser, password=PASSWORD) == 200


def test_the_counters_are_bounded_and_expire(client: Client, web_world: World) -> None:
    browser = client(proxies=(PROXY,))
    names = ["olga", "", "a:b@c", "\u00e9" * 400, "*", *(f"user-{number}" for number in range(600))]
    for number, name in enumerate(names):
        guess(browser, name, address=("x" * 900, "not an address", f"10.0.0.{number % 20}")[number % 3])
    found = list(web_world.client.scan_iter(COUNTERS, count=1000))
    assert max(map(len, found)) < 120
    assert all(0 < web_world.client.ttl(key) <= 3600 for key in found)
    assert len([key for key in found if b"hour:" in key]) <= 257


@pytest.mark.parametrize("junk", ["text", "", "-5", "1e400", "nan", "9" * 400, b"\xff"])
def test_junk_in_a_counter_locks_nobody_out_for_ever(client: Client, web_world: World, junk: str | bytes) -> None:
    browser = client()
    key = fleet_keys.login_failures("olga@127.0.0.1")
    web_world.client.set(key, junk)
    assert guess(browser, password=PASSWORD) == 200
    assert guess(browser) in (401, 429)
    assert 0 < web_world.client.ttl(key) <= 60
    web_world.client.delete(key)
    web_world.client.hset(key, "of", "another type")
    assert guess(browser, password=PASSWORD) == 200
    lock(browser)


def test_without_redis_each_process_counts_for_itself(valkey: TestServer, client: Client) -> None:
    browser = client()
    valkey.kill()
    try:
        tries = [browser.get("/metrics", auth=("olga", "wrong")).status_code for _ in range(FAILURES_A_MINUTE + 1)]
        assert tries == [401] * FAILURES_A_MINUTE + [429]
        assert browser.get("/metrics", auth=READER).status_code == 200
        assert browser.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200
    finally:
        valkey.start()


@pytest.fixture
def lonely() -> Iterator[LoginThrottle]:
    """Return the throttle of a process whose Redis does not reply."""
    db = Database(f"redis://127.0.0.1:{free_port()}/0")
    yield LoginThrottle(db, {f"user-{number}" for number in range(200)}, FAILURES_A_MINUTE)
    db.close()


def fail(throttle: LoginThrottle, user: str, address: str) -> int:
    """Fail to log in, and return the status of the response."""
    attempt = throttle.attempt(address, user)
    try:
        throttle.count_failure(attempt, throttle.admit(attempt))
    except HTTPException as refused:
        return refused.status_code
    return 401


def test_without_redis_one_address_may_not_try_every_user(lonely: LoginThrottle) -> None:
    most = ADDRESS_FACTOR * FAILURES_A_MINUTE
    tries = [fail(lonely, f"user-{number}", "192.0.2.1") for number in range(most + 3)]
    assert tries == [401] * most + [429] * 3
    assert fail(lonely, "user-1", "192.0.2.2") == 401


def test_without_redis_a_user_is_guessed_a_hundred_times_an_hour_from_all_addresses(lonely: LoginThrottle) -> None:
    tries = [fail(lonely, "user-1", f"198.51.100.{number}") for number in range(FAILURES_AN_HOUR + 1)]
    assert tries == [401] * FAILURES_AN_HOUR + [429]
    assert fail(lonely, "user-2", "198.51.100.1") == 401


def test_without_redis_a_failure_counts_for_every_limit_also_beyond_one(lonely: LoginThrottle) -> None:
    attempt = lonely.attempt("192.0.2.1", "user-1")
    for _ in range(FAILURES_AN_HOUR):  # all of them admitted at once
        with suppress(HTTPException):
            lonely.count_failure(attempt, ())
    with pytest.raises(HTTPException):
        lonely.confirm(attempt, ())
    assert fail(lonely, "user-2", "192.0.2.1") == 429
    assert fail(lonely, "user-1", "192.0.2.2") == 429
    assert fail(lonely, "user-2", "192.0.2.2") == 401


def test_without_redis_wrong_tokens_lock_out_no_password(lonely: LoginThrottle) -> None:
    for _ in range(ADDRESS_FACTOR * FAILURES_A_MINUTE):
        with suppress(HTTPException):
            lonely.count_wrong_token("192.0.2.1")
    assert fail(lonely, "user-1", "192.0.2.1") == 401
