"""Which hashes the configuration takes, and how WEB_USERS writes one."""

import pytest

from vmpooler_tasks.config import load_settings
from vmpooler_tasks.config.password_hashes import hash_problem
from vmpooler_tasks.errors import ConfigurationError

HASH = "$argon2id$v=19$m=65536,t=3,p=4$GuwMgJMK9yhB/Ka6kDdBqA$hBtskxgxfx0Z9+hNF0UJxuoyZEGHCQKhPAGd2JeAuAg"


def test_variable_may_hold_several_hashes() -> None:
    users = load_settings({"WEB_USERS": f"alice:operate:{HASH},bob:read:p=assword, carol:read:{HASH}"}).web.users
    assert [(user.name, user.role.value) for user in users[:1] + users[-1:]] == [
        ("alice", "operate"),
        ("carol", "read"),
    ]
    assert users[0].secret.get_secret_value() == users[-1].secret.get_secret_value() == HASH


@pytest.mark.parametrize("variant", ["argon2i", "argon2d"])
def test_each_kind_of_argon2_is_taken(variant: str) -> None:
    assert hash_problem(HASH.replace("argon2id", variant)) is None


@pytest.mark.parametrize(
    "secret",
    [
        HASH[:40],
        HASH.replace("$m=", "$x="),
        HASH.replace("m=65536", "m=999999999"),
        HASH.replace("t=3", "t=1000"),
        HASH.replace("v=19", "v=16"),
        HASH + "$x",
        "$argon2id=v=19=m=65536",
        "$2b$12$abcdefghijklmnopqrstuu5Lo0s",
        "$6$salt$hash-hash-hash",
        "{SSHA}abcdefghijk",
    ],
)
def test_another_hash_is_refused_and_not_repeated(secret: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        load_settings({"VMPOOLER_CONFIG": f"{{web: {{users: [{{name: a, secret: '{secret}'}}]}}}}"})
    (problem,) = refused.value.problems
    assert "argon2 hash" in problem
    assert secret not in problem
    assert secret[:12] not in problem.replace("argon2 hash", "")


def test_a_token_is_given_itself() -> None:
    with pytest.raises(ConfigurationError, match=r"web\.tokens.*prometheus: a token is given itself"):
        load_settings({"WEB_TOKENS": f"prometheus:read:{HASH}"})
