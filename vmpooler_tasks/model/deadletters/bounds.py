"""Bounds of a dead letter in bytes, and how its parts are cut to fit.

What is cut says so in its place: `… [cut: 8000000 bytes, sha256 …]`, with the size and the digest of the whole text.
The field `cut` names each part. Secrets are removed before anything is cut (model/redaction.py).
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

MAX_BYTES = 65_536
"""Bytes of one dead letter in Redis."""

MAX_TEXT_BYTES = 8_192
"""Bytes of a message, and of the end of a traceback: so that thousands of dead letters stay small."""

MAX_SHORT_TEXT_BYTES = 1_024
"""Bytes of any other text, such as a name or an id."""

MAX_ATTEMPTS_BYTES = 10_240
"""Bytes of the earlier attempts. The oldest are left out first."""

ARGUMENTS = ("args", "kwargs")

CUT = "cut"

SHOWN_ONLY = frozenset({"error_message", "error_class", "traceback"})
"""Parts that people read. A dead letter can be run again although they were cut."""

_RESERVE = 2_048
"""Bytes for the field `cut` and the names of the fields."""

_LEAF_BYTES = 1_024
"""Bytes that each text within arguments keeps at least."""

_AROUND_LEAF = 256
"""Bytes around the only long text of some arguments."""

_MAX_ESCAPE = 6
"""Bytes of JSON that one character takes at most, as in `\\u0000`."""

_KEEPS_END = frozenset({"traceback"})
_LONG = frozenset({"error_message", "traceback"})

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=str).encode


def encoded(value: Any) -> str:
    """Return the JSON of a value as it is stored: without spaces, not escaped. A lone surrogate is escaped."""
    text = _encode(value)
    # A Python string may hold a lone surrogate, which cannot be encoded.
    return text if text.isascii() else text.encode("utf-8", errors="backslashreplace").decode("utf-8")


def measured(raw: bytes) -> dict[str, Any]:
    """Return what `cut` says of a part: its size in bytes, and its digest."""
    return {"bytes": len(raw), "sha256": hashlib.sha256(raw).hexdigest()}


def find_changes(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that have to change so that a dead letter with these fields fits into MAX_BYTES.

    Among them is `cut`: the name of each part that was cut → its `bytes` and its `sha256`.
    """
    changed, cut = dict[str, Any](), dict(fields.get(CUT) or {})
    before = len(cut)
    for name, text in fields.items():
        limit = MAX_TEXT_BYTES if name in _LONG else MAX_SHORT_TEXT_BYTES
        if isinstance(text, str) and _is_longer(text, limit):
            changed[name] = _cut_text(text, limit, keep_end=name in _KEEPS_END)
            cut[name] = measured(text.encode("utf-8", "surrogatepass"))
    if fields.get("attempts"):
        kept = _newest(fields["attempts"])
        changed |= {"attempts": kept} if len(kept) < len(fields["attempts"]) else {}
    arguments = {name: fields[name] for name in ARGUMENTS if fields.get(name)}
    if arguments:
        others = {name: value for name, value in {**fields, **changed}.items() if name not in arguments}
        for name, value in _bounded_arguments(arguments, MAX_BYTES - _RESERVE - _size(encoded(others))):
            changed[name], cut[name] = value, measured(encoded(arguments[name]).encode())
    return {**changed, CUT: cut} if len(cut) > before else changed


def _bounded_arguments(arguments: Mapping[str, Any], room: int) -> Iterator[tuple[str, Any]]:
    """Yield the arguments that have to be cut, so that all together have at most `room` bytes."""
    sizes = {name: _size(encoded(value)) for name, value in arguments.items()}
    for position, name in enumerate(sorted(sizes, key=lambda name: sizes[name])):
        share, value = room // (len(sizes) - position), arguments[name]
        if sizes[name] > share:
            value = _cut_arguments(value, share)
            yield name, value
        room -= _size(encoded(value))


def _cut_arguments(value: Any, limit: int) -> Any:
    """Return arguments whose long texts are cut; if that is not enough, only the start of their JSON."""
    text = encoded(value)
    is_of_many_parts = text.count(",") > limit  # shorter texts would not be enough
    for leaf_limit in () if is_of_many_parts else (limit - _AROUND_LEAF, limit // 4, _LEAF_BYTES):
        found = _with_leaves(value, leaf_limit)
        if _size(encoded(found)) <= limit:
            return found
    start = _cut_text(text, limit - _AROUND_LEAF)
    return {CUT: start} if isinstance(value, dict) else [start]


def _with_leaves(value: Any, limit: int) -> Any:
    if isinstance(value, str):
        return _cut_text(value, limit)
    if isinstance(value, dict):
        return {_cut_text(str(name), limit): _with_leaves(inner, limit) for name, inner in value.items()}
    return [_with_leaves(inner, limit) for inner in value] if isinstance(value, list | tuple) else value


def _cut_text(text: str, limit: int, *, keep_end: bool = False) -> str:
    """Return the text, or its start or end and what was cut, if it has more than `limit` bytes as JSON."""
    if not _is_longer(text, limit):
        return text
    found = measured(text.encode("utf-8", "surrogatepass"))
    note = f"[cut: {found['bytes']} bytes, sha256 {found['sha256']}]"
    low, high = 0, min(limit, len(text))  # each character has at least a byte
    while low < high:
        middle = (low + high + 1) // 2
        part = text[-middle:] if keep_end else text[:middle]
        low, high = (middle, high) if _size(encoded(part)) <= limit - len(note) - 8 else (low, middle - 1)
    if keep_end:
        return f"{note} …{text[len(text) - low :]}"
    return f"{text[:low]}… {note}"


def _is_longer(text: str, limit: int) -> bool:
    return len(text) * _MAX_ESCAPE > limit and _size(encoded(text)) > limit


def _size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


def _newest(attempts: Sequence[Any]) -> list[Any]:
    """Return the newest attempts that fit into their bytes, the oldest first."""
    kept, left = list[Any](), MAX_ATTEMPTS_BYTES
    for one in reversed(attempts):
        left -= _size(encoded(one)) + 1
        if left < 0:
            break
        kept.insert(0, one)
    return kept
