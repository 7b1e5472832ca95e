"""Secrets do not reach what is kept of a failed task, nor a log."""

import base64
import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.secret_texts import REPEATED
from vmpooler_tasks.model.redaction import MAX_PARSED_BYTES, REDACTED, redacted, redacted_bytes, redacted_text

SECRET = "hunter2"


@pytest.mark.parametrize(
    "value",
    [
        {"password": SECRET},
        {"data": [f"password={SECRET}".encode(), b"x"]},
        (json.dumps({"token": SECRET}).encode(),),
        {"PASSWORD": SECRET, "Api_Key": SECRET, "apikey": SECRET, "private_key": SECRET},
        {"token:token": SECRET, "client_secret": SECRET, "passwd": SECRET},
        {"options": {"provider": [{"credentials": {"user": "u", "value": SECRET}}]}},
        [{"a": ({"Authorization": f"Bearer {SECRET}"},)}],
        {"url": f"https://user:{SECRET}@vcenter.example.com/sdk"},
        [f"redis://:{SECRET}@host:6379/0"],
        f"login failed: password={SECRET}, user=x",
        f'{{"password": "{SECRET}"}}',
        {"token": [SECRET, {"deep": SECRET}]},
        [f"Bearer {SECRET}"],
        ["Bearer abcdef", f"Basic {SECRET}"],
        [f"basic {SECRET}", {"headers": ["Accept: */*", f"BEARER {SECRET}"]}],
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


def test_pools_with_the_name_of_a_secret_stay() -> None:
    value = {"pools": ["win-2019-token-x86", "debian-12-x86"]}
    assert redacted(value) == value
    assert redacted([[], value]) == [[], value]


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
        f"called with ('Bearer {SECRET}',)",
        f"Bearer {SECRET} was refused",
        f'{{"password": "with a \\" {SECRET}"}}',
        f'{{\\"password\\": \\"{SECRET}\\"}}',
        f"password='{SECRET} and no end",
    ],
)
def test_secrets_are_taken_out_of_prose(text: str) -> None:
    assert SECRET not in redacted_text(text)


def test_prose_keeps_what_tells_the_failure() -> None:
    text = "cannot connect to redis://user:x@host:6379/0: timed out after 3 s (mail admin@example.com)"
    assert redacted_text(text) == (
        f"cannot connect to redis://{REDACTED}@host:6379/0: timed out after 3 s (mail admin@example.com)"
    )


@pytest.mark.parametrize("alone", ["Bearer abcdef", "Basic abcdef", "bearer abcdef", "basic abcdef"])
def test_a_login_that_stands_alone_is_one_whatever_it_looks_like(alone: str) -> None:
    assert redacted([alone]) == [f"{alone.partition(' ')[0]} {REDACTED}"]


@pytest.mark.parametrize(
    "text", ["a basic check failed", "Basic authentication failed", "no Bearer token", "the bearer", "Basic"]
)
def test_prose_about_these_schemes_stays_as_it_was(text: str) -> None:
    assert redacted_text(text) == text


@pytest.mark.parametrize("unit", REPEATED, ids=repr)
def test_a_long_text_takes_time_in_proportion_to_its_length(unit: str) -> None:
    """With a pattern that tries each start to its end, 400 kB take minutes: more than the time limit of a test."""
    assert redacted_text(unit * (400_000 // len(unit))) is not None


@pytest.mark.parametrize(
    "text",
    [
        f"('redis://user:{SECRET}...",
        f"redis://user:{SECRET}",
        f"redis://user:with/{SECRET}",
        f"password='a b {SECRET}",
        f"password='a\\\n{SECRET}'",
        f'token: "a\\" {SECRET}" x',
        f'{{\\\\\\"password\\\\\\": \\\\\\"a b {SECRET}\\\\\\", \\\\\\"vm\\\\\\": 1}}',
        f"private_key: -----BEGIN RSA PRIVATE KEY-----\n{SECRET}\n-----END RSA PRIVATE KEY-----",
        f"a key -----BEGIN PRIVATE KEY-----\nMII\n{SECRET}",
        f"Authorization: Token {SECRET}",
        f"passphrase={SECRET}",
    ],
)
def test_a_secret_without_its_end_or_within_other_text_is_taken_out(text: str) -> None:
    """Others cut texts as well: Celery shortens the arguments in a header."""
    assert SECRET not in redacted_text(text)


@pytest.mark.parametrize(
    "text", ["http://host:8080", "see http://host:80.", "http://h/p?x=a:b", "http://[::1]:80/x", "x://"]
)
def test_an_address_without_a_login_stays_at_the_end_of_a_text(text: str) -> None:
    assert redacted_text(text) == text


def test_a_name_may_be_a_secret_and_nesting_has_a_bound() -> None:
    assert SECRET not in repr(redacted({f"password={SECRET}": 1}))
    deep: Any = SECRET
    for _ in range(100_000):
        deep = [deep]
    assert SECRET not in repr(redacted(deep))


def as_message(arguments: Any) -> bytes:
    body = base64.b64encode(json.dumps(arguments).encode()).decode()
    return json.dumps({"body": body, "headers": {"argsrepr": repr(arguments)}, "properties": {}}).encode()


@pytest.mark.parametrize(
    "raw",
    [
        as_message([[f"Bearer {SECRET}"], {"password": SECRET}, {}]),
        f'{{"kwargs": {{"api_key": "{SECRET}"}}}}'.encode(),
        f'no message: {{"password": "{SECRET}", '.encode(),
        b"\xff\xfe password=" + SECRET.encode() + b" \xff",
        b"[" * 100_000 + b" token=" + SECRET.encode(),
        json.dumps({"body": f'{{"password": "{SECRET}"}}'}).encode(),
    ],
)
def test_secrets_are_taken_out_of_a_message_that_cannot_be_decoded(raw: bytes) -> None:
    found = redacted_bytes(raw)
    assert SECRET.encode() not in found
    assert base64.b64encode(SECRET.encode())[:8] not in found
    if b'"body": "' in raw and b"headers" in raw:
        assert SECRET.encode() not in base64.b64decode(json.loads(found)["body"])


@pytest.mark.parametrize("cut", range(4, 40, 8))
def test_the_arguments_of_a_message_that_is_no_json_are_decoded_too(cut: int) -> None:
    for end in (b'", "x": ' + b"[" * 100_000, b"", b'"}{'):
        body = base64.b64encode(json.dumps([[], {"a": "x" * 60, "password": f"{SECRET} {SECRET}"}, {}]).encode())
        body = body[:-cut]
        found = redacted_bytes(b'{"body": "' + body + end)
        [inner] = re.findall(rb'"body": "([A-Za-z0-9+/=]*)', found)
        assert b"password" in base64.b64decode(inner)
        assert SECRET.encode()[:4] not in base64.b64decode(inner)


NESTED = {
    "headers": {"kwargsrepr": repr({"credentials": {"user": "u", "pass": SECRET}})},
    "body": base64.b64encode(json.dumps([[], {"tokens": ["a }", [SECRET]], "z": 1}, {}]).encode()).decode(),
    "password of root": {"list": ["\"]}'", {"deep": f"{SECRET} {SECRET}"}], "last": SECRET},
    "inner": json.dumps({"api_key": {"a": {"b": SECRET}}, "text": json.dumps({"secret": [SECRET, {"c": SECRET}]})}),
    "after": "z",
}


def decoded_text(raw: bytes) -> str:
    """The text of a message, and of its body."""
    text = raw.decode("utf-8", "replace").replace("\0", "")
    return text + "".join(
        base64.b64decode(body[: len(body) // 4 * 4]).decode("utf-8", "replace")
        for body in re.findall(r'"body": "([A-Za-z0-9+/=]*)', text)
    )


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le"])
def test_no_cut_of_a_message_lets_a_nested_secret_through(encoding: str) -> None:
    for message in (NESTED, [NESTED, "exchange", "queue"]):
        whole = json.dumps(message)
        for end in range(len(whole) + 1):
            found = decoded_text(redacted_bytes(whole[:end].encode(encoding)))
            assert SECRET[:3] not in found, whole[:end]
        assert '"after": "z"' in found


@pytest.mark.parametrize("ends", [True, False])
def test_a_message_that_is_too_large_is_not_parsed(monkeypatch: pytest.MonkeyPatch, ends: bool) -> None:
    raw = json.dumps({**NESTED, "large": "x" * MAX_PARSED_BYTES, "more": {"secret": {"a": SECRET}}}).encode()
    parsed, loads = list[int](), json.loads

    def counted_loads(text: bytes) -> Any:
        parsed.append(len(text))
        return loads(text)

    monkeypatch.setattr(json, "loads", counted_loads)
    found = redacted_bytes(raw if ends else raw[:-1])
    assert SECRET not in decoded_text(found)
    assert len(found) > MAX_PARSED_BYTES
    assert max(parsed) < 1000, "only its body"


@pytest.mark.parametrize(
    "repeated", ["'token': [", '"secret": {"', '\\"key_token\\": [', "token\\\\", "'token'  ", "{[(", "[]", "\\"]
)
def test_a_value_without_an_end_is_removed_in_linear_time(repeated: str) -> None:
    text = "'token': [" + repeated * (2**18 // len(repeated))
    assert redacted_text(text) == f"'token': {REDACTED}"
    redacted_text(text[10:])


@given(st.binary() | st.binary().map(lambda raw: b'{"a":  "' + base64.b64encode(raw) + b'"}'))
def test_a_message_without_secrets_stays_byte_by_byte_what_it_was(raw: bytes) -> None:
    if not re.search(rb"passw|secret|token|cred|key|auth|bearer|basic|://", raw, re.IGNORECASE):
        assert redacted_bytes(raw) == raw


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
