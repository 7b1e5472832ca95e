"""How a dead letter is written, and how both forms are read back."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmpooler_tasks.model.deadletters.entry import (
    FIELDS,
    ID_LENGTH,
    MAX_UNREADABLE,
    DeadLetter,
    RequestOrigin,
    dead_letter_id,
    failed_vm,
    normalised,
    read_dead_letter,
)
from vmpooler_tasks.model.names import DeadLetterQueue

NOW = 1_705_314_600.7
PENDING, TASKS = DeadLetterQueue.PENDING, DeadLetterQueue.TASKS


def dead_letter(**changes: Any) -> DeadLetter:
    whole: dict[str, Any] = {
        "queue": PENDING,
        "vm": b"pooler-happy-elephant",
        "pool": "centos-7-x86_64",
        "error_class": "StandardError",
        "error_message": "template centos-7-template does not exist",
        "now": NOW,
        "origin": RequestOrigin(request_id=b"req-abc123", pool_alias=b"centos-7", retry_count=3),
        "identity": b"2024-01-15 08:00:00 +0000",
    }
    return failed_vm(**{**whole, **changes})


def test_a_member_is_the_guides_example_and_the_id_behind_it() -> None:
    member = dead_letter().member()
    assert json.loads(member) == {
        "vm": "pooler-happy-elephant",
        "pool": "centos-7-x86_64",
        "queue_from": "pending",
        "error_class": "StandardError",
        "error_message": "template centos-7-template does not exist",
        "failed_at": "2024-01-15T10:30:00Z",
        "retry_count": 3,
        "request_id": "req-abc123",
        "pool_alias": "centos-7",
        "id": dead_letter().id,
    }
    assert list(json.loads(member)) == [
        "vm",
        "pool",
        "queue_from",
        "error_class",
        "error_message",
        "failed_at",
        "retry_count",
        "request_id",
        "pool_alias",
        "id",
    ]


def test_absent_fields_are_left_out() -> None:
    fields = json.loads(dead_letter(origin=RequestOrigin()).member())
    assert "request_id" not in fields
    assert "pool_alias" not in fields
    assert None not in fields.values()


def test_a_failed_tasks_dead_letter_names_the_task_behind_the_guides_fields() -> None:
    member = DeadLetter(
        queue_from=TASKS,
        error_class="ValueError",
        error_message="no",
        failed_at="2024-01-15T10:30:00Z",
        id="x",
        task="vmpooler_tasks.clone_vm",
        task_id="t",
        args=["a"],
        kwargs={"n": 1},
        traceback="Traceback …",
    ).member()
    assert list(json.loads(member)) == [
        "queue_from",
        "error_class",
        "error_message",
        "failed_at",
        "retry_count",
        "id",
        "task",
        "task_id",
        "args",
        "kwargs",
        "traceback",
    ]


def test_text_is_raw_utf_8_on_one_line() -> None:
    member = dead_letter(vm="größe-☃".encode(), error_message="first\nsecond\u2028third").member()
    assert "größe-☃" in member
    assert len(member.splitlines()[0]) > 0
    assert "\n" not in member
    assert json.loads(member)["error_message"] == "first\nsecond\u2028third"


def test_bytes_that_are_no_utf_8_show_as_their_codes() -> None:
    assert json.loads(dead_letter(vm=b"pooler-\xff\xfe").member())["vm"] == "pooler-\\xff\\xfe"


def test_a_lone_surrogate_is_written_so_that_it_can_be_stored_and_read() -> None:
    member = dead_letter(error_message='half a \ud83d in "ü"').member()
    assert json.loads(member.encode()) == json.loads(member)
    assert json.loads(member)["error_message"] == 'half a \ud83d in "ü"'


TEXTS = st.text(max_size=30)
# Alone: two that belong together are one character when read.
SURROGATES = st.builds("{}{}{}".format, TEXTS, st.characters(categories=["Cs"]), TEXTS)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS | SURROGATES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)


@given(
    vm=st.binary(min_size=1, max_size=30),
    message=TEXTS | SURROGATES,
    request=st.none() | st.binary(max_size=10),
    args=JSON,
    now=st.floats(0, 4e9),
)
def test_what_is_written_is_read_back_the_same(
    vm: bytes, message: str, request: bytes | None, args: Any, now: float
) -> None:
    written = dead_letter(vm=vm, error_message=message, origin=RequestOrigin(request_id=request), now=now)
    whole = DeadLetter(**{name: getattr(written, name) for name in FIELDS} | {"args": args})
    found = read_dead_letter(PENDING, whole.member().encode(), now)
    expected = {name: getattr(whole, name) for name in FIELDS if getattr(whole, name) is not None}
    assert found.fields == expected
    assert found.id == written.id


ODD_NAMES = [
    b"pooler-happy-elephant",
    b"a:b",
    b"a:1705314600:b",
    b"two words",
    b"{braces}",
    b"{",
    b"a{b:17:{c",
    b'quo"te',
    b"it's",
    b"back\\slash",
    b"\xff\xfe",
    b"line\nbreak",
    b"",
    b":",
    b"[1]",
    b'{"vm":"x"}',
    b"x" * 300,
    "größe".encode(),
]


@pytest.mark.parametrize("vm", ODD_NAMES)
@pytest.mark.parametrize("epoch", [b"1705314600", b"1705314600.123"])
def test_vmpoolers_form_is_read_whatever_the_vm_is_called(vm: bytes, epoch: bytes) -> None:
    body = {
        "vm": vm.decode("utf-8", "replace"),
        "pool": "p",
        "queue_from": "pending",
        "error_class": "StandardError",
        "error_message": "it: {failed}",
        "failed_at": "2024-01-15T10:30:00Z",
        "retry_count": 3,
    }
    found = read_dead_letter(PENDING, vm + b":" + epoch + b":" + json.dumps(body).encode(), NOW)
    assert {name: found.fields[name] for name in body} == body
    assert len(found.id) == ID_LENGTH


def test_vmpoolers_time_with_an_offset_is_kept_an_unusable_one_is_the_score() -> None:
    assert (
        read_dead_letter(PENDING, b'v:1:{"failed_at":"2024-01-15 10:30:00 +0200"}', NOW)
        .text("failed_at")
        .endswith("+0200")
    )
    for raw in (b'v:1:{"failed_at":"soon"}', b'v:1:{"failed_at":null}', b"v:1:{}"):
        assert read_dead_letter(PENDING, raw, NOW).text("failed_at") == "2024-01-15T10:30:00Z"


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"garbage",
        b"v:1:garbage",
        b"[1,2]",
        b'"text"',
        b"42",
        b"null",
        b"{",
        b"v:1:{",
        b"v:1:[1]",
        b"\xff",
        b"{}}",
        b'{"a":' * 100_000,
        b"[" * 100_000,
        b"1" * 5000,
        b":1:{" * 20_000,
    ],
    ids=lambda raw: repr(raw[:12]),
)
def test_what_is_no_object_of_either_form_is_a_dead_letter_that_says_so(raw: bytes) -> None:
    found = read_dead_letter(PENDING, raw, NOW)
    assert found.text("error_class") == "Unreadable"
    assert found.text("error_message") == raw.decode("utf-8", "backslashreplace")[:MAX_UNREADABLE]
    assert found.text("queue_from") == "pending"
    assert found.text("failed_at") == "2024-01-15T10:30:00Z"
    assert found.raw == raw


@given(
    st.one_of(
        st.binary(max_size=60),
        st.builds(
            lambda vm, epoch, rest: vm + b":%d:{" % epoch + rest, st.binary(max_size=9), st.integers(0), st.binary()
        ),
        JSON.map(lambda value: b"vm:1:" + json.dumps({"failed_at": value, "id": value, "vm": value}).encode()),
    ),
    st.one_of(st.floats(allow_nan=False), st.just(NOW)),
)
def test_reading_never_fails_and_always_knows_an_id_and_a_time(raw: bytes, score: float) -> None:
    found = read_dead_letter(PENDING, raw, score)
    assert found.id
    assert found.text("failed_at")
    assert found.as_json()["queue"] == "pending"
    assert json.dumps(found.as_json())


def test_bytes_that_are_no_utf_8_do_not_make_a_dead_letter_unreadable() -> None:
    assert read_dead_letter(PENDING, b'v\xfe:1:{"vm":"v\xfe","pool":"p"}', NOW).fields["vm"] == "v\\xfe"


def test_ids_are_stable_and_distinct() -> None:
    assert dead_letter().id == dead_letter(now=NOW + 60, error_message="another try").id
    ids = {
        dead_letter(**change).id
        for change in (
            {},
            {"vm": b"other"},
            {"pool": "other"},
            {"queue": DeadLetterQueue.CLONE},
            {"identity": b"another"},
            {"vm": b"pooler-happy-elephan", "identity": b"t2024"},
        )
    }
    assert len(ids) == 6
    assert dead_letter_id("a", "bc") != dead_letter_id("ab", "c")
    assert dead_letter_id("1") == dead_letter_id(b"1") == dead_letter_id(1)
    assert dead_letter_id("\ud800") != dead_letter_id("\ud801")


def test_dead_letters_of_vmpoolers_form_have_ids_of_their_own_that_stay() -> None:
    first, second = b'a:1:{"vm":"a"}', b'a:2:{"vm":"a"}'
    assert read_dead_letter(PENDING, first, 1).id == read_dead_letter(PENDING, first, 1).id
    assert read_dead_letter(PENDING, first, 1).id != read_dead_letter(PENDING, second, 2).id
    assert (
        read_dead_letter(PENDING, b'{"vm":"a","id":null}', 1).id
        != read_dead_letter(PENDING, b'{"vm":"b","id":null}', 1).id
    )


@given(st.lists(st.binary(max_size=20), max_size=30, unique=True))
def test_different_failures_have_different_ids(names: list[bytes]) -> None:
    assert len({dead_letter(vm=name).id for name in names}) == len(names)


@pytest.mark.parametrize(
    ("one", "other", "shown"),
    [
        ("Stale pending VM (age: 7300s > max: 7200s)", "Stale pending VM (age: 9s > max: 7200s)", None),
        ("VM 'a-1' failed", "VM 'b-2' failed", "VM <name> failed"),
        ('template "x" not found', 'template "y" not found', "template <name> not found"),
        ("no route to 10.0.0.1:443", "no route to 192.168.7.12", "no route to <address>"),
        ("task 0a1b2c3d-0a1b-0a1b-0a1b-0a1b2c3d4e5f", "task ffffffff-0a1b-0a1b-0a1b-0a1b2c3d4e5f", "task <id>"),
        ("at 0xdeadbeef", "at 0x1", "at <id>"),
        ("timeout after 15 minutes", "timeout after 2.5 minutes", "timeout after <n> minutes"),
    ],
)
def test_errors_that_differ_in_numbers_and_names_alone_are_grouped(one: str, other: str, shown: str | None) -> None:
    assert normalised(one) == normalised(other)
    assert shown is None or normalised(one) == shown


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("d-beige-flounder does not answer", "<vm> does not answer"),
        (
            "no route to d-beige-flounder.example.net: d-beige-flounder is gone",
            "no route to <vm>.example.net: <vm> is gone",
        ),
        ("VM 'd-beige-flounder' failed", "VM <name> failed"),
        ("d-beige-flounder-2 and x-d-beige-flounder stay", "d-beige-flounder-2 and x-d-beige-flounder stay"),
    ],
)
def test_the_name_of_the_dead_letters_own_vm_does_not_count(message: str, shown: str) -> None:
    assert normalised(message, "d-beige-flounder") == shown


def test_a_vms_name_is_no_pattern() -> None:
    assert normalised("a.c and abc", "a.c") == "<vm> and abc"
    assert normalised("it (failed", "(failed") == "it <vm>"
    assert normalised("it failed", "") == "it failed"


def test_errors_that_differ_in_words_are_not_grouped() -> None:
    assert normalised("template not found") != normalised("folder not found")
    assert normalised("centos-7-template") == "centos-7-template", "a name's number is part of the name"


@given(st.text())
def test_normalising_never_fails_and_is_done_once(message: str) -> None:
    once = normalised(message)
    assert isinstance(once, str)
    assert len(normalised(once)) <= len(once) + 8
