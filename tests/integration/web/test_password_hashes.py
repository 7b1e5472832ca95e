"""A user whose configured secret is an argon2 hash: who gets in, what is remembered, and what the time tells."""

from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from threading import Event

import httpx
import pytest
from argon2 import PasswordHasher

from tests.support.servers import TestServer
from tests.support.web import TOKEN, serving, web_section, web_settings
from vmpooler_tasks.config import password_hashes
from vmpooler_tasks.config.password_hashes import CHECKS_AT_ONCE, MAX_WAITING_PASSWORDS, HashChecker, hash_of
from vmpooler_tasks.config.services import Credential, Role
from vmpooler_tasks.store import Database, fleet_keys
from vmpooler_tasks.web.identity import FAILURES_A_MINUTE

PASSWORD, PLAIN = "correct horse: battery, staple", "another password"
HASH = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)
USERS = (
    Credential(name="olga", role=Role.OPERATE, secret=HASH),
    Credential(name="rita", role=Role.READ, secret=PLAIN),
)
SESSION, OVERVIEW = "/api/v1/session", "/api/v1/queue/overview"
FAILURES = fleet_keys.login_failures("olga@127.0.0.1")


@pytest.fixture
def web(valkey: TestServer) -> Iterator[httpx.Client]:
    chosen = web_settings(valkey.url, web_section(users=USERS))
    with serving(valkey.url, chosen) as address, httpx.Client(base_url=address) as client:
        yield client


def status(web: httpx.Client, user: str, password: str) -> int:
    return web.get(OVERVIEW, auth=(user, password)).status_code


def test_the_password_is_right_and_the_hash_itself_is_wrong(web: httpx.Client) -> None:
    assert status(web, "olga", PASSWORD) == 200
    assert status(web, "rita", PLAIN) == 200
    for user, password in (("olga", HASH), ("olga", PLAIN), ("rita", PASSWORD), ("nobody", PASSWORD), ("olga", "")):
        assert status(web, user, password) == 401
    assert web.post(SESSION, json={"user": "olga", "password": HASH}).status_code == 401
    assert web.get(OVERVIEW, headers={"Authorization": f"Bearer {HASH}"}).status_code == 401


def test_a_user_with_a_hash_has_a_session(web: httpx.Client) -> None:
    assert web.post(SESSION, json={"user": "olga", "password": PASSWORD}).json()["role"] == "operate"
    assert web.get(OVERVIEW).status_code == 200


@pytest.fixture
def checked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the passwords that were compared with a hash, each at its full cost."""
    found, compare = list[str](), password_hashes._is_secret_of

    def counted(hashed: str, given: str) -> bool:
        found.append(given)
        return compare(hashed, given)

    monkeypatch.setattr(password_hashes, "_is_secret_of", counted)
    return found


def test_a_right_password_is_checked_once_and_a_wrong_one_each_time(web: httpx.Client, checked: list[str]) -> None:
    for _ in range(3):
        assert status(web, "olga", PASSWORD) == 200
    assert checked == [PASSWORD]
    for _ in range(2):
        assert status(web, "olga", "a wrong one") == 401
    assert checked == [PASSWORD, "a wrong one", "a wrong one"]


def test_an_unknown_user_costs_as_much_as_a_known_one(web: httpx.Client, checked: list[str]) -> None:
    for user in ("olga", "nobody", "rita"):
        assert status(web, user, "a wrong one") == 401
    assert checked == ["a wrong one"] * 3


@pytest.mark.parametrize("user", ["nobody", "rita"])
def test_the_time_of_another_name_shows_no_right_password(web: httpx.Client, checked: list[str], user: str) -> None:
    assert status(web, user, PASSWORD) == 401
    assert status(web, "olga", PASSWORD) == 200
    assert checked == [PASSWORD, PASSWORD], "the other name changed what is remembered"
    assert status(web, user, PASSWORD) == 401
    assert checked == [PASSWORD] * 3, "the other name used what is remembered"


def test_a_right_password_is_refused_if_the_limit_is_reached_during_its_check(
    web: httpx.Client, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    compare = password_hashes._is_secret_of

    def meanwhile(hashed: str, given: str) -> bool:
        db.client.set(FAILURES, FAILURES_A_MINUTE, ex=60)
        return compare(hashed, given)

    monkeypatch.setattr(password_hashes, "_is_secret_of", meanwhile)
    response = web.post(SESSION, json={"user": "olga", "password": PASSWORD})
    assert (response.status_code, 0 < int(response.headers["retry-after"]) <= 60) == (429, True)
    assert "set-cookie" not in response.headers
    db.client.delete(FAILURES)
    assert status(web, "olga", PASSWORD) == 200


def test_few_passwords_wait_for_their_check_and_everybody_else_passes(
    web: httpx.Client, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert web.post(SESSION, json={"user": "olga", "password": PASSWORD}).status_code == 200
    places, released = CHECKS_AT_ONCE + MAX_WAITING_PASSWORDS, Event()
    monkeypatch.setattr(password_hashes, "_is_secret_of", lambda *_: released.wait(60) and False)

    def guess(number: int) -> httpx.Response:
        name = ("olga", "nobody")[number % 2]
        return httpx.get(web.base_url.join(OVERVIEW), auth=(name, "a wrong one"), timeout=60)

    with ThreadPoolExecutor(places + 1) as pool:
        guesses = [pool.submit(guess, number) for number in range(places + 1)]
        try:
            done, waiting = wait(guesses, timeout=30, return_when=FIRST_COMPLETED)
            assert [(one.result().status_code, one.result().headers["retry-after"]) for one in done] == [(429, "1")]
            assert status(web, "olga", PASSWORD) == 200, "a remembered password"
            assert web.get(OVERVIEW).status_code == 200, "a session"
            assert web.get(OVERVIEW, headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200
            assert status(web, "rita", PLAIN) == 200
        finally:
            released.set()
        assert [one.result().status_code for one in waiting] == [401] * places
    assert int(db.client.get(fleet_keys.login_failures("@127.0.0.1"))) == places, "a refused one is no wrong login"
    assert status(web, "olga", "a wrong one") == 401, "the places are free again"


@pytest.mark.parametrize("password", ["x" * 500, "pässwört", "\ud800 lone", "a\0b"])
def test_any_text_can_be_hashed_and_checked(password: str) -> None:
    hashed = hash_of(password)
    assert password_hashes.hash_problem(hashed) is None
    checker = HashChecker()
    assert checker.is_right(hashed, password)
    assert checker.is_right(hashed, password)
    assert not checker.is_right(hashed, f"{password} ")
