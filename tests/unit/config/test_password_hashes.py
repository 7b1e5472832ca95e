"""Which hashes the configuration takes, and how WEB_USERS writes one."""

import pytest
from argon2 import PasswordHasher
from argon2.profiles import PRE_21_2, RFC_9106_LOW_MEMORY

from vmpooler_tasks.config import load_settings
from vmpooler_tasks.config.password_hashes import MAX_MEMORY_KIB, MAX_PASSES, hash_of, hash_problem
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


@pytest.mark.parametrize("cost", ["m=131072,t=10,p=4", "m=8,t=1,p=1", "m=32,t=1,p=4"])
def test_a_cost_at_the_bounds_is_taken(cost: str) -> None:
    assert hash_problem(HASH.replace("m=65536,t=3,p=4", cost)) is None
    assert (MAX_MEMORY_KIB, MAX_PASSES) == (131072, 10)


@pytest.mark.parametrize("cost", ["m=131073,t=3,p=4", "m=65536,t=11,p=4"])
def test_a_cost_that_could_end_the_process_is_refused(cost: str) -> None:
    assert "at most 131072 KiB of memory and 10 passes" in str(hash_problem(HASH.replace("m=65536,t=3,p=4", cost)))


@pytest.mark.parametrize("cost", ["m=65536,t=3,p=0", "m=1,t=3,p=1", "m=65536,t=0,p=4", "m=31,t=3,p=4", "m=0,t=0,p=0"])
def test_a_cost_with_which_nobody_can_log_in_is_refused(cost: str) -> None:
    assert "8 KiB of memory per lane" in str(hash_problem(HASH.replace("m=65536,t=3,p=4", cost)))


def test_the_usual_costs_are_within_the_bounds() -> None:
    assert hash_problem(hash_of("a long password")) is None
    for profile in (RFC_9106_LOW_MEMORY, PRE_21_2):
        assert hash_problem(PasswordHasher.from_parameters(profile).hash("a long password")) is None


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
