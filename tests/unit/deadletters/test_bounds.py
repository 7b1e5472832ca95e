"""A dead letter is bounded in bytes, whatever it holds, and says what was cut."""

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.fuzzing import fuzzed
from vmpooler_tasks.model.deadletters.bounds import MAX_BYTES, MAX_TEXT_BYTES
from vmpooler_tasks.model.deadletters.entry import FIELDS, DeadLetter
from vmpooler_tasks.model.names import DeadLetterQueue
from vmpooler_tasks.model.redaction import redacted, redacted_text

SECRET = "hunter2-hunter2"
TEXT_FIELDS = tuple(
    name for name in FIELDS if name not in ("retry_count", "args", "kwargs", "redrives", "attempts", "cut")
)
CHARACTERS = ["x", "\0", '"', "\\", "ü", "☃", "\U0001f600", "\udcff", "\n"]
BIG = 200_000


def dead_letter(**fields: Any) -> DeadLetter:
    usual = {"queue_from": DeadLetterQueue.TASKS, "error_class": "E", "error_message": "m", "failed_at": "t", "id": "1"}
    return DeadLetter(**{**usual, **fields})


def written(**fields: Any) -> dict[str, Any]:
    member = dead_letter(**fields).member()
    assert len(member.encode()) <= MAX_BYTES
    return json.loads(member)  # type: ignore[no-any-return]


@pytest.mark.parametrize("character", CHARACTERS)
def test_a_dead_letter_is_bounded_whatever_its_fields_are_full_of(character: str) -> None:
    text = character * BIG
    attempt = dict.fromkeys(("id", "vm", "failed_at", "error_class", "error_message", "run", "who"), character * 200)
    found = written(
        **dict.fromkeys(TEXT_FIELDS, text),
        args=[text, {text: text}],
        kwargs={text: [text] * 3},
        attempts=[attempt] * 10,
        retry_count=2**63,
        redrives=2**63,
    )
    assert set(found["cut"]) == {*TEXT_FIELDS, "args", "kwargs"}
    assert found["cut"]["vm"]["bytes"] == len(text.encode("utf-8", "surrogatepass"))
    assert 1 <= len(found["attempts"]) <= 10


@pytest.mark.parametrize(
    "args", [[1] * BIG, [[]] * BIG, ["short"] * BIG, [{"a": 1}] * BIG, {"n": [None] * BIG}, ["x" * BIG]]
)
def test_arguments_of_any_shape_are_bounded(args: Any) -> None:
    found = written(args=args, kwargs={"vm": "pooler-a"})
    assert (type(found["args"]), found["kwargs"]) == (type(args), {"vm": "pooler-a"})
    assert found["cut"]["args"]["bytes"] == len(json.dumps(args, separators=(",", ":")))


def test_what_was_cut_says_so_with_its_size_and_digest() -> None:
    message = "the start " + "x" * 100_000
    digest = hashlib.sha256(message.encode()).hexdigest()
    found = written(error_message=message)
    assert found["error_message"].startswith("the start xxx")
    assert found["error_message"].endswith(f"… [cut: 100010 bytes, sha256 {digest}]")
    assert found["cut"] == {"error_message": {"bytes": 100_010, "sha256": digest}}
    assert len(found["error_message"].encode()) <= MAX_TEXT_BYTES


def test_the_end_of_a_traceback_is_kept() -> None:
    found = written(traceback="Traceback\n" + "frame\n" * 100_000 + "ValueError: the end")
    assert found["traceback"].startswith("[cut: 600029 bytes, sha256 ")
    assert found["traceback"].endswith("frame\nValueError: the end")


def test_the_short_arguments_of_a_task_stay_beside_a_long_one() -> None:
    found = written(args=["a"], kwargs={"vm": "pooler-a", "blob": "x" * 8_000_000, "list": ["y" * 9_000]})
    assert (found["args"], found["kwargs"]["vm"], list(found["cut"])) == (["a"], "pooler-a", ["kwargs"])
    assert "[cut: 8000000 bytes, sha256 " in found["kwargs"]["blob"]


def test_what_fits_is_not_cut() -> None:
    fields = {"error_message": "x" * 8_000, "args": ["y" * 40_000], "kwargs": {"z": "ü" * 5_000}, "traceback": "t" * 99}
    found = written(**fields)
    assert {name: found[name] for name in fields} == fields
    assert "cut" not in found


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text()
    | st.builds(lambda c, n: c * n, st.characters(), st.integers(0, 20_000)),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=9), inner, max_size=5),
    max_leaves=8,
)


@fuzzed(60)
@given(
    args=st.lists(JSON, max_size=4), kwargs=st.dictionaries(st.text(max_size=9), JSON, max_size=4), message=st.text()
)
def test_any_dead_letter_is_bounded_and_is_json(args: Any, kwargs: Any, message: str) -> None:
    found = written(args=args, kwargs=kwargs, error_message=message * 50, traceback=message * 500)
    if "cut" not in found:
        assert (found.get("args"), found.get("kwargs")) == (args, kwargs)


@fuzzed(60)
@given(before=st.integers(0, 9_000), between=st.integers(0, 200), after=st.integers(0, 9_000), kept=st.booleans())
def test_no_cut_lets_a_secret_through(before: int, between: int, after: int, kept: bool) -> None:
    """Wherever the place of the cut is: before, within or behind the secret."""
    text = "x" * before + f" password='{SECRET * between}{SECRET}' " + "y " * after
    text += f"redis://user:{SECRET * between}{SECRET}@host " + "z" * before * kept
    clean = redacted_text(text)
    found = written(
        error_message=clean, traceback=clean, args=redacted([text]), kwargs=redacted({"token": text, "a": text})
    )
    assert "hunter" not in json.dumps(found)
