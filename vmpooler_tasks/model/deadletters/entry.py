"""One dead letter: its fields, the form in which it is written, and the two forms that are read.

docs/operator-guide.md: Dead letters. A member is one JSON object and nothing else, so that `jq` reads it. VMPooler
writes `vm:epoch:{json}` into the same keys, and this module reads both.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from itertools import chain, islice
from typing import Any

from vmpooler_tasks.model.deadletters.bounds import MAX_TEXT_BYTES, encoded, find_changes
from vmpooler_tasks.model.deadletters.shown import shown, shown_text, usable_id
from vmpooler_tasks.model.names import DeadLetterQueue, readable
from vmpooler_tasks.model.redrive import Lineage
from vmpooler_tasks.model.timestamps import iso_utc, parse_time

ID_LENGTH = 16

MAX_UNREADABLE = 4_000
"""Characters shown of a member that is not JSON."""

MAX_PLACES = 100
"""Places at which VMPooler's JSON may start that are tried: a VM's name may itself contain colons and braces."""

_BEFORE_JSON = re.compile(r":\d+(?:\.\d+)?:(?=\{)")
_NOT_UTF_8 = re.compile("[\udc80-\udcff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """A failed VM or task. The fields are written in this order; a field without a value is left out.

    `checkout` and `order` are those of an order for a running VM: the time of its checkout, and the id of the order.
    What is too long is cut (model/deadletters/bounds.py), and `cut` names it. Secrets have to be removed before.
    """

    vm: str | None = None
    pool: str | None = None
    queue_from: str
    error_class: str | None
    error_message: str | None
    failed_at: str
    retry_count: int = 0
    request_id: str | None = None
    pool_alias: str | None = None
    id: str
    task: str | None = None
    task_id: str | None = None
    args: Any = None
    kwargs: Any = None
    checkout: str | None = None
    order: str | None = None
    traceback: str | None = None
    redrives: int | None = None
    redrive_of: str | None = None
    attempts: Any = None
    cut: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        for name, value in find_changes({name: getattr(self, name) for name in FIELDS}).items():
            object.__setattr__(self, name, value)

    def member(self) -> str:
        """Return the JSON that is stored in Redis: UTF-8 that is not escaped, without spaces."""
        present = {name: value for name in FIELDS if (value := getattr(self, name)) is not None}
        return encoded(present)


FIELDS = tuple(field.name for field in fields(DeadLetter))
_NUMBERS = ("retry_count", "redrives")
_TYPES: Mapping[str, tuple[type, ...]] = {
    **{name: (str,) for name in FIELDS if name not in ("args", "kwargs", "attempts", "cut")},
    **dict.fromkeys(_NUMBERS, (int, float)),
}
"""The types of fields that have one. A value of another type is shown as its JSON."""


def dead_letter_id(*identity: str | bytes | int) -> str:
    """Return the id of a failure. It is equal each time the failure is reported, and unlike any other."""
    digest = hashlib.sha256()
    for part in identity:
        raw = part if isinstance(part, bytes) else str(part).encode("utf-8", errors="surrogatepass")
        digest.update(len(raw).to_bytes(8, "big") + raw)
    return digest.hexdigest()[:ID_LENGTH]


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestOrigin:
    """The request that a VM was made for, as its metadata names it, and how often the request was retried."""

    request_id: bytes | None = None
    pool_alias: bytes | None = None
    retry_count: int = 0


NO_REQUEST = RequestOrigin()


def failed_vm(
    *,
    queue: DeadLetterQueue,
    vm: bytes,
    pool: str,
    error_class: str,
    error_message: str,
    now: float,
    identity: bytes,
    origin: RequestOrigin = NO_REQUEST,
    lineage: Lineage | None = None,
) -> DeadLetter:
    """Return the dead letter of a VM. `identity` (its timestamp) separates this failure from others of the same VM."""
    request_id, pool_alias = origin.request_id, origin.pool_alias
    return DeadLetter(
        vm=readable(vm),
        pool=pool,
        queue_from=queue,
        error_class=error_class,
        error_message=error_message,
        failed_at=iso_utc(now),
        retry_count=lineage.retry_count if lineage else origin.retry_count,
        request_id=None if request_id is None else readable(request_id),
        pool_alias=None if pool_alias is None else readable(pool_alias),
        id=dead_letter_id(queue, pool, vm, identity),
        redrives=lineage.redrives if lineage else None,
        redrive_of=lineage.dead_letter_id if lineage else None,
        attempts=lineage.attempts or None if lineage else None,
    )


@dataclass(frozen=True, slots=True)
class StoredDeadLetter:
    """A dead letter in Redis: its queue, its member, its score, and its fields, which are the same for both forms.

    `fields` has them as they were written, whatever they are; `text` and `as_json` have them as they are shown. `id` is
    always text.
    """

    queue: DeadLetterQueue
    raw: bytes
    score: float
    fields: Mapping[str, Any]

    @property
    def id(self) -> str:
        return str(self.fields["id"])

    @property
    def tie_break(self) -> tuple[str, str]:
        """Return what orders dead letters of one time: the id, then a digest, since an id may come more than once."""
        digest = hashlib.blake2b(self.raw, digest_size=8, person=self.queue.encode()[:16])
        return self.id, digest.hexdigest()

    def text(self, name: str) -> str:
        """Return the field as text that can be shown; empty if it is absent."""
        value = self.fields.get(name)
        return "" if value is None else shown_text(value)

    def as_json(self) -> dict[str, Any]:
        """Return the fields as they can be shown, and the queue that holds it as `queue`, whatever the member says."""
        found = {shown_text(name): self._shown(name, value) for name, value in self.fields.items() if name != "queue"}
        return {"queue": str(self.queue), **found}

    def _shown(self, name: str, value: Any) -> Any:
        is_of_its_type = name not in _TYPES or value is None or type(value) in _TYPES[name]
        return shown(value) if is_of_its_type else shown_text(value)


def read_dead_letter(queue: DeadLetterQueue, raw: bytes, score: float) -> StoredDeadLetter:
    """Return the dead letter of a member. A member of neither form becomes one whose error message is its text."""
    found = _json_of(raw)
    if found is None:
        found = {
            "queue_from": str(queue),
            "error_class": "Unreadable",
            "error_message": readable(raw)[:MAX_UNREADABLE],
        }
    failed_at = found.get("failed_at")
    if not isinstance(failed_at, str) or parse_time(failed_at.encode("utf-8", errors="replace")) is None:
        found["failed_at"] = iso_utc(score)
    found["id"] = usable_id(found.get("id")) or hashlib.sha256(raw).hexdigest()[:ID_LENGTH]
    return StoredDeadLetter(queue, raw, score, found)


def _json_of(raw: bytes) -> dict[str, Any] | None:
    """Return the JSON object that the member is, or that follows `vm:epoch:`; None if there is none."""
    text = _text_of(raw)
    whole = [0] if raw.startswith(b"{") else []
    behind = (found.end() for found in islice(_BEFORE_JSON.finditer(text), MAX_PLACES))
    for place in chain(whole, behind):
        try:
            found = json.loads(text[place:])
        except (ValueError, RecursionError):
            continue
        if isinstance(found, dict):
            return found
    return None


def _text_of(raw: bytes) -> str:
    r"""Return the text of a member. Bytes that are not UTF-8 become `\\xff`: JSON needs the backslash twice."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        escaped = raw.decode("utf-8", errors="surrogateescape")
        return _NOT_UTF_8.sub(lambda c: rf"\\x{ord(c[0]) - 0xDC00:02x}", escaped)


_VARIABLE_PARTS = (
    (re.compile(r"\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b", re.IGNORECASE), "<id>"),
    (re.compile(r"\b(?:\d{1,3}\.){3}\d{1,3}(?::\d+)?\b"), "<address>"),
    (re.compile(r"\b0x[0-9a-f]+\b", re.IGNORECASE), "<id>"),
    (re.compile(r"'[^']*'|\"[^\"]*\""), "<name>"),
    (re.compile(r"\b[0-9a-f]{16,}\b", re.IGNORECASE), "<id>"),
    (re.compile(r"(?<![\w-])-?\d+(?:\.\d+)?"), "<n>"),
)


def normalised(message: str, vm: str = "") -> str:
    """Return the message with placeholders for its VM, numbers, addresses, quoted names and ids."""
    if vm and vm in message:  # most messages do not name it, and a pattern for each VM is expensive
        message = re.sub(rf"(?<![\w-]){re.escape(vm)}(?![\w-])", "<vm>", message)
    for pattern, placeholder in _VARIABLE_PARTS:
        message = pattern.sub(placeholder, message)
    return message


def kind_of(entry: StoredDeadLetter) -> tuple[str, str]:
    """Return (error class, normalised error message), by which dead letters are grouped."""
    return entry.text("error_class"), normalised(entry.text("error_message")[:MAX_TEXT_BYTES], entry.text("vm"))


def error_of(entry: StoredDeadLetter) -> str:
    """Return the kind of a dead letter as one text: `class: message`."""
    return ": ".join(kind_of(entry))
