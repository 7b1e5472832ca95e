"""Secrets do not reach what is kept of a failed task, nor a log."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmpooler_tasks.model.redaction import REDACTED, redacted, redacted_text

SECRET = "hunter2"


@pytest.mark.parametrize(
    "value",
    [
        {"password": SECRET},
        {"PASSWORD": SECRET, "Api_Key": SECRET, "apikey": SECRET, "private_key": SECRET},
        {"token:token": SECRET, "client_secret": SECRET, "passwd": SECRET},
        {"options": {"provider": [{"credentials": {"user": "u", "value": SECRET}}]}},
        [{"a": ({"Authorization": f"Bearer {SECRET}"},)}],
        {"url": f"https://user:{SECRET}@vcenter.example.com/sdk"},
        [f"redis://:{SECRET}@host:6379/0"],
        f"login failed: password={SECRET}, user=x",
        f'{{"password": "{SECRET}"}}',
        {"token": [SECRET, {"deep": SECRET}]},
    ],
)
def test_secrets_are_taken_out_at_any_depth(value: Any) -> None:
    found = redacted(value)
    assert SECRET not in repr(found)
    assert REDACTED in repr(found)


def test_everything_else_stays_as_it_was() -> None:
    value = {
        "vm": "pooler-a",
        "retries": 3,
        "on": True,
        "none": None,
        "list": [1, 2.5, "x"],
        "url": "redis://host:6379/0",
    }
    assert redacted(value) == value


def test_a_secret_that_was_never_given_stays_none() -> None:
    assert redacted({"password": None}) == {"password": None}


def test_what_is_given_is_not_changed() -> None:
    value = {"inner": [{"password": SECRET}]}
    redacted(value)
    assert value == {"inner": [{"password": SECRET}]}


@pytest.mark.parametrize(
    "text",
    [
        f"redis://:{SECRET}@host:6379/0 does not answer",
        f"redis://user:with/{SECRET}@host and redis://u:p@{SECRET}@host",
        f"password: {SECRET}",
        f"vcenter_password = '{SECRET} and more'",
        f'"api-key": "{SECRET}"',
        f"Authorization: Bearer {SECRET}",
        f"token={SECRET}&x=1",
    ],
)
def test_secrets_are_taken_out_of_prose(text: str) -> None:
    assert SECRET not in redacted_text(text)


def test_prose_keeps_what_tells_the_failure() -> None:
    text = "cannot connect to redis://user:x@host:6379/0: timed out after 3 s (mail admin@example.com)"
    assert redacted_text(text) == (
        f"cannot connect to redis://{REDACTED}@host:6379/0: timed out after 3 s (mail admin@example.com)"
    )


@given(
    st.recursive(
        st.none() | st.text() | st.binary() | st.integers(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
    )
)
def test_redacting_never_fails_and_redacting_again_changes_nothing_of_the_shape(value: Any) -> None:
    once = redacted(value)
    assert type(redacted(once)) is type(once)
    if isinstance(value, dict | list):
        assert len(once) == len(value)
