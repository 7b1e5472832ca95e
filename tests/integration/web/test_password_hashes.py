"""A user whose configured secret is an argon2 hash: who gets in, what is remembered, and what the time tells."""

from collections.abc import Iterator

import httpx
import pytest
from argon2 import PasswordHasher

from tests.support.servers import TestServer
from tests.support.web import serving, web_section, web_settings
from vmpooler_tasks.config import password_hashes
from vmpooler_tasks.config.password_hashes import HashChecker, hash_of
from vmpooler_tasks.config.services import Credential, Role

PASSWORD, PLAIN = "correct horse: battery, staple", "another password"
HASH = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)
USERS = (
    Credential(name="olga", role=Role.OPERATE, secret=HASH),
    Credential(name="rita", role=Role.READ, secret=PLAIN),
)
SESSION, OVERVIEW = "/api/v1/session", "/api/v1/queue/overview"


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


@pytest.mark.parametrize("password", ["x" * 500, "pässwört", "\ud800 lone", "a\0b"])
def test_any_text_can_be_hashed_and_checked(password: str) -> None:
    hashed = hash_of(password)
    assert password_hashes.hash_problem(hashed) is None
    checker = HashChecker()
    assert checker.is_right(hashed, password)
    assert checker.is_right(hashed, password)
    assert not checker.is_right(hashed, f"{password} ")
