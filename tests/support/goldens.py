"""The recorded behaviour of VMPooler: its cases, its databases as plain values, and the rules for the differences.

tests/data/goldens/README.md describes what was recorded.
"""

import base64
import gzip
import importlib
import json
import re
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "data" / "goldens"
OURS = b"vmpooler_tasks__"

# A script of its own, untyped, and kept as it was handed over.
_reference: Any = importlib.import_module("tests.reference.vmpooler_state")

QUEUE_ACTIONS = {
    "purge_pending_queue": "pending",
    "purge_ready_queue": "ready",
    "purge_completed_queue": "completed",
}
POOL_ACTIONS = frozenset({"handle_timed_out_vm", "fail_pending_vm", "vm_still_ready?", "_clone_vm", "clone_vm"})
IN_SCOPE = frozenset(
    {
        *QUEUE_ACTIONS,
        "purge_orphaned_metadata",
        "purge_cycle",
        "health_cycle",
        "calculate_health_metrics",
        "move_to_dlq",
        *POOL_ACTIONS,
    }
)
NOT_HERE_YET = frozenset[str]()


class Rule(Enum):
    """The differences from what was recorded. `goldens_model` applies each of them by its name.

    "README 3" is a point of tests/data/goldens/README.md, "upgrading" is docs/upgrading-from-vmpooler.md, and
    "behaviour" is docs/vmpooler-behaviour.md, each with its section.
    """

    PURE_JSON = "README 1: a dead letter is one JSON object, `failed_at` is in UTC with Z, and an id follows the fields"
    ALWAYS_A_RETRY_COUNT = "README 1: `retry_count` is a number in every dead letter of a VM, 0 if none was given"
    REPORTED_ONCE = "upgrading, Dead letters: the same failure delivered twice is one entry, and is logged once"
    TTL_PER_DEAD_LETTER = "README 2: each dead letter expires `dlq_ttl` after its own failure, not with the key"
    ORPHAN_EXPIRES_ALREADY = "README 3: an existing expiry is neither renewed nor counted"
    QUEUED_IN_ANY_POOL = "README 3: a VM in the queue of any pool is not an orphan, whatever its `pool` field says"
    PURGED_KEEPS_DATA_TTL = "README 3: a VM that this cycle has just purged from pending keeps its `data_ttl`"
    COMPLETED_SINCE_DESTROY = "README 4: a completed VM ages from `destroy`, never from its checkout"
    AGES_FROM_FIRST_SEEN = "README 5: an entry without a usable time ages from when it was first seen"
    DRY_RUN_FOUND = "README 6: a dry run reports entries as found, never as purged"
    WRONG_TYPE_STOPS_NOTHING = "README 6: a key of the wrong type is reported, and everything else is done"
    NOTHING_LOST = "README 6: a VM stays if its dead letter cannot be written; a name may be other than UTF-8"
    REFUSED_CONFIGURATION = (
        "README 6, upgrading, Values that are refused: zero TTLs and caps, negative ages, blank thresholds"
    )
    HEALTH_FIELDS = (
        "README 7: `vmpooler__health` also has flat fields, reasons and `last_scheduled_check`; times are in UTC with Z"
    )
    RUBYS_GUESSES = "README 9: only Time#to_s, ISO 8601 and RFC 2822 are times; Ruby's guesses are unusable"
    QUOTED_OPTION = 'upgrading, Values that are refused: "true" and "1" in quotes mean true and 1'
    DATA_TTL_DEFAULT = "README (config_yaml): without a :redis: section the real program has `data_ttl: 168`"
    METADATA_WITHOUT_POOL = "upgrading, Purge: metadata in no queue of any pool is an orphan, with or without `pool`"
    UNREADABLE_ORPHAN = "upgrading, Purge: a key of the wrong type in no queue is an orphan, and is logged and counted"
    UNREADABLE_QUEUE = "upgrading, Purge: while a queue cannot be read no metadata is an orphan: its VM may be in there"
    ORPHANS_THAT_STAY = "upgrading, Health checks: health counts the orphans by the rules of the purge"
    FURTHER_REASONS = "upgrading, Health checks: reasons that VMPooler does not have degrade health at the least"
    POOL_NAMED_DLQ = "upgrading, Health checks: a pool with the name `dlq` is checked and counted like any other"
    ONE_LINE = "docs/logging.md: control characters and bytes other than UTF-8 are escaped in the log"
    OWN_WORDS = "upgrading, Dead letters: dead letters that leave are logged by batch, the dropped ones as an error"
    SAYS_IT_IS_OFF = "upgrading, Purge: a cycle that is switched off does nothing and logs it"
    UNANSWERED_REQUESTS = "upgrading, Pool manager: a request that is missing or completed is not tried again"
    FAILURE_REASON = "upgrading, Pool manager: every failed request has a `failure_reason`"
    NO_ITEM_OF_NONE = "upgrading, Pool manager: `odcreate__task` never contains an item with a count of 0"
    SLOTS_IN_USE = "upgrading, Pool manager: a counter of clones is their number in flight, unless another wrote it"
    BROKEN_COUNTS = "behaviour, Requests: failed work is kept and logged, even if a count in Redis is not a number"
    STAMPS_IN_UTC = "behaviour, Times: times are Time#to_s with any UTC offset; this project writes +0000"
    WARNED_ONLY = "behaviour, VM metadata: `timeout_notification` is set by the warning only, not by a failure"
    CHECK_STAMPED = "behaviour, VM metadata: `check` is the last readiness check; it was recorded without that check"
    NO_CLONE_TIME = "README 5: a VM without a `clone` time is not an error of the check; it ages from first seen"
    OTHER_WORDS = "upgrading, What stays the same: only the log lines of purge and health are equal; this one differs"
    FEWER_LINES = "upgrading, What stays the same: only the log lines of purge and health are equal; this one is absent"
    MINUTES_LEFT = "upgrading, What stays the same: not a line of purge or health; it has the real minutes"
    RETRIES_OF_REQUEST = "README 1, upgrading, Dead letters: `retry_count` is that of the request, also in `ready`"


class WrongTypeError(Exception):
    """A key holds something else than the command wants."""


@dataclass(slots=True)
class Cell:
    """One key: `value` is bytes, a set, a list, or a dict (hash field → value, zset member → score)."""

    kind: str
    value: Any
    ttl: int | None

    def parts(self) -> int:
        """How many single values it holds."""
        return 1 if self.kind == "string" else len(self.value)


State = dict[bytes, Cell]


def cells(entries: Sequence[dict[str, Any]]) -> State:
    """A recorded or dumped database as plain values."""
    return {raw(entry["key"]): Cell(entry["type"], _value(entry), entry["ttl"]) for entry in entries}


def _value(entry: dict[str, Any]) -> Any:
    value = entry["value"]
    match entry["type"]:
        case "hash":
            return {raw(name): raw(inner) for name, inner in value}
        case "zset":
            return {raw(member): score for member, score in value}
        case "set":
            return {raw(member) for member in value}
        case "list":
            return [raw(item) for item in value]
    return raw(value)


def raw(text: Any) -> bytes:
    """The bytes of a recorded string."""
    return base64.b64decode(text["b64"]) if isinstance(text, dict) else str(text).encode()


@dataclass(frozen=True, slots=True)
class Step:
    """One recorded call; `chained`: it goes on from the database that the step before it left."""

    number: int
    chained: bool
    action: str
    args: dict[str, Any]
    provider: Any
    now: float
    result: Any
    raised: str | None
    logs: list[bytes]
    metric_count: int
    output: State
    output_entries: list[dict[str, Any]]

    @property
    def in_scope(self) -> bool:
        return self.action in IN_SCOPE


@dataclass(frozen=True, slots=True)
class Case:
    name: str
    tz: str
    config: dict[str, Any]
    config_yaml: str
    input_entries: list[dict[str, Any]]
    steps: list[Step] = field(default_factory=list)

    @property
    def start(self) -> State:
        return cells(self.input_entries)

    def entries_before(self, step: Step) -> list[dict[str, Any]]:
        """The recorded database that this step began with."""
        return self.steps[step.number - 1].output_entries if step.chained else self.input_entries


def case_names() -> list[str]:
    return sorted(path.name.removesuffix(".json.gz") for path in FOLDER.glob("case-*.json.gz"))


def case(name: str) -> Case:
    data = _read(f"{name}.json.gz")
    steps = [_step(number, step) for number, step in enumerate(data["steps"])]
    return Case(name, data["tz"], data["config"], data["config_yaml"], data["input"], steps)


def units() -> dict[str, Any]:
    return _read("units.json.gz")


def _read(name: str) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(gzip.decompress((FOLDER / name).read_bytes()))
    return data


def _step(number: int, step: dict[str, Any]) -> Step:
    return Step(
        number=number,
        chained=not step["reset"],
        action=step["action"],
        args=step["args"],
        provider=step["provider"],
        now=step["now"],
        result=step.get("result"),
        raised=(step.get("raised") or {}).get("class"),
        logs=[raw(text) for _, text in step["logs"]],
        metric_count=len(step["metrics"]),
        output=cells(step["output"]),
        output_entries=step["output"],
    )


def fill(client: Any, entries: Sequence[dict[str, Any]]) -> None:
    """Empties the database and puts these entries in."""
    _reference.load(client, entries)


def snapshot(client: Any) -> State:
    """Return every key but those in our own name space, in three round trips where the reference needs thousands."""
    keys = [key for key in client.scan_iter(count=10_000) if not key.startswith(OURS)]
    pipe = client.pipeline(transaction=False)
    for key in keys:
        pipe.type(key)
        pipe.pttl(key)
    replies = iter(pipe.execute())
    kinds = {key: (next(replies).decode(), next(replies)) for key in keys}
    for key, (kind, _) in kinds.items():
        _READ_BY[kind](pipe, key)
    values = dict(zip(keys, pipe.execute(), strict=True))
    return {key: Cell(kind, _found(kind, values[key]), _rounded(left)) for key, (kind, left) in kinds.items()}


_READ_BY: dict[str, Callable[[Any, bytes], object]] = {
    "hash": lambda pipe, key: pipe.hgetall(key),
    "set": lambda pipe, key: pipe.smembers(key),
    "zset": lambda pipe, key: pipe.zrange(key, 0, -1, withscores=True),
    "list": lambda pipe, key: pipe.lrange(key, 0, -1),
    "string": lambda pipe, key: pipe.get(key),
}


def _found(kind: str, value: Any) -> Any:
    return (
        {member: int(score) if score == int(score) else score for member, score in value} if kind == "zset" else value
    )


def _rounded(milliseconds: int) -> int | None:
    """Return a TTL as it was recorded: to ten seconds."""
    return None if milliseconds < 0 else round(milliseconds / 10_000) * 10


def copied(state: State) -> State:
    """Return the state as it is now: the next steps of a chain change its values."""
    return {key: replace(cell, value=copy(cell.value)) for key, cell in state.items()}


_COMPLAINT = re.compile(
    rb"(\[!\] (?:\[purge\] Error checking .*'|\[dlq\] Failed to move .*' to DLQ"
    rb"|\[\w+\] Failed during (?:purge cycle|health check))): .*",
    re.DOTALL,
)
_TOOK = re.compile(rb" in \d+(\.\d+)?s: ")
_SECONDS = re.compile(rb"( cloned in|failed to obtain IP after) \d+\.\d\d seconds")


def normal_line(line: bytes) -> bytes:
    """Return a log line without what differs between runs: durations, and the reason behind a failure's subject."""
    return timeless(_TOOK.sub(b" in 0s: ", _COMPLAINT.sub(rb"\1", line)))


def timeless(text: bytes) -> bytes:
    """VMPooler's clones took no time, its clock being frozen; ours take what they take."""
    return _SECONDS.sub(rb"\1 0.00 seconds", text)


_ID = re.compile(rb',"id":"[0-9a-f]{16}"\}\Z')
SOME_ID = b',"id":"*"}'


def comparable(state: State) -> State:
    """The same without what no recording can tell: letters' ids, how long a clone took, the order of JSON fields."""
    return {key: _comparable(key, cell) for key, cell in state.items()}


def _subject(reason: dict[str, Any]) -> str:
    return f"{reason['code']} {reason['pool']} {reason.get('queue')}"


def _comparable(key: bytes, cell: Cell) -> Cell:
    if key.startswith(b"vmpooler__dlq__") and cell.kind == "zset":
        dead_letters = {timeless(_ID.sub(SOME_ID, member)): score for member, score in cell.value.items()}
        assert len(dead_letters) == len(cell.value), f"two dead letters of {key!r} differ in nothing but their ids"
        return Cell(cell.kind, dead_letters, cell.ttl)
    if cell.kind == "hash" and b"clone_error" in cell.value:
        return Cell(cell.kind, cell.value | {b"clone_error": timeless(cell.value[b"clone_error"])}, cell.ttl)
    if key == b"vmpooler__health" and cell.kind == "hash":
        decoded = {b"metrics": json.loads(cell.value[b"metrics"])}
        if b"reasons" in cell.value:
            decoded[b"reasons"] = sorted(json.loads(cell.value[b"reasons"]), key=_subject)
        return Cell(cell.kind, cell.value | decoded, cell.ttl)
    return cell
