"""The recorded behaviour of VMPooler: its cases, its databases as plain values, and the rules where we differ.

`tests/data/goldens/README.md` says what was recorded; "README 3" below is the third point of its list.
"""

import base64
import gzip
import importlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
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
    """Where the guide or system.md overrules what was recorded. Each is applied by `goldens_model`, by this name."""

    PURE_JSON = "README 1: a dead letter is one JSON object, `failed_at` in UTC with Z, with an id behind the fields"
    ALWAYS_A_RETRY_COUNT = "README 1: `retry_count` is a number in every letter of a VM, 0 where the caller had none"
    TOLD_ONCE = "system.md (Dead-letter queue): the same failure delivered twice is one entry, and told once"
    TTL_PER_LETTER = "README 2: each letter leaves `dlq_ttl` after its own failure, not the key as a whole"
    ORPHAN_EXPIRES_ALREADY = "README 3: an expiry that is there already is neither renewed nor counted"
    QUEUED_IN_ANY_POOL = "README 3: what any pool's queue names is no orphan, whatever its `pool` field says"
    PURGED_KEEPS_DATA_TTL = "README 3: what this cycle has just purged from pending keeps its `data_ttl`"
    COMPLETED_SINCE_DESTROY = "README 4: a completed VM ages from `destroy`, never from its checkout"
    AGES_FROM_FIRST_SEEN = "README 5: an entry without a usable time is stale once it was known for too long"
    DRY_RUN_FOUND = "README 6: a dry run says what it found, never that it purged"
    WRONG_TYPE_STOPS_NOTHING = "README 6: a key of the wrong type is reported, and everything else is done"
    NOTHING_LOST = "README 6: a VM whose letter cannot be written stays; a name that is no UTF-8 gets its letter"
    REFUSED_CONFIGURATION = (
        "README 6, system.md (Names): a TTL or cap of zero, a negative age or cap and a blank threshold are errors"
    )
    HEALTH_FIELDS = "README 7: `vmpooler__health` has flat fields and reasons as well, `last_check` in UTC with Z"
    RUBYS_GUESSES = "README 9: only Time#to_s, ISO 8601 and RFC 2822 are times; what Ruby guesses is unusable"
    QUOTED_OPTION = 'system.md (Names): "true" and "1" in quotes mean true and 1, as they do in the environment'
    DATA_TTL_DEFAULT = "README (config_yaml): without a :redis: section the real program has `data_ttl: 168`"
    METADATA_WITHOUT_POOL = "system.md (Auto-purge): in no queue of any pool is an orphan, with a `pool` field or not"
    UNREADABLE_ORPHAN = "system.md (Auto-purge): a key of the wrong type in no queue is an orphan, told and counted"
    ORPHANS_THAT_STAY = "system.md (Auto-purge): health counts the orphans by the purge's own definition"
    FURTHER_REASONS = "system.md (Health check): reasons that VMPooler has not, degraded at the least"
    POOL_NAMED_DLQ = "guide (Health Checks): a pool of the name `dlq` is judged and summed up like any other"
    ONE_LINE = "architecture.md 11: control characters and bytes that are no UTF-8 are escaped in the log"
    OWN_WORDS = "system.md (Dead-letter queue): letters that leave are told by batch, the dropped as an error"
    SAYS_IT_IS_OFF = "system.md (Auto-purge): switched off, a cycle does nothing and says so"
    UNANSWERED_REQUESTS = (
        "data-model.md (On-demand): a request that is not there, or has its answer, is not tried again"
    )
    FAILURE_REASON = "data-model.md (On-demand): a request fails with a `failure_reason`, whichever way its VM failed"
    NO_ITEM_OF_NONE = "data-model.md (Other keys): `odcreate__task` has clones to be started, so none of a count of 0"
    SLOTS_IN_USE = (
        "data-model.md (Other keys): a counter of clones is their number in flight; it neither drifts nor fails"
    )
    BROKEN_COUNTS = "system.md (first lines): failed work is kept and told, also where a count in Redis is no number"
    STAMPS_IN_UTC = "data-model.md (VM metadata): times are Time#to_s with any UTC offset; ours have +0000"
    WARNED_ONLY = (
        "data-model.md (VM metadata): `timeout_notification` once the warning was given; a VM that failed got none"
    )
    CHECK_STAMPED = (
        "data-model.md (VM metadata): `check`, the last readiness check; recorded without the check around it"
    )
    NO_CLONE_TIME = "README 5: a VM without a `clone` time is no error of the check; the purge ages it from first seen"
    OTHER_WORDS = (
        "system.md (first lines): log lines are exact where the guide has them; this one tells a request's fate"
    )
    FEWER_LINES = "system.md (first lines): log lines are exact where the guide has them; of these it has none"
    MINUTES_LEFT = (
        "system.md (first lines): not in the guide either; the warning tells the minutes that are really left"
    )
    RETRIES_OF_REQUEST = (
        "README 1, data-model.md (Other keys): `retry_count` is the request's in every letter, also of ready"
    )


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


class _TheirKeys:
    """A client that does not see our own keys: one of them is of a type that the reference cannot dump."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def scan_iter(self, count: int) -> Iterator[bytes]:
        return (key for key in self._client.scan_iter(count=count) if not key.startswith(OURS))


def fill(client: Any, entries: Sequence[dict[str, Any]]) -> None:
    """Empties the database and puts these entries in."""
    _reference.load(client, entries)


def snapshot(client: Any) -> State:
    """Every key but those in our own name space."""
    return cells(_reference.dump(_TheirKeys(client)))


_COMPLAINT = re.compile(
    rb"(\[!\] (?:\[purge\] Error checking .*'|\[dlq\] Failed to move .*' to DLQ"
    rb"|\[\w+\] Failed during (?:purge cycle|health check))): .*",
    re.DOTALL,
)
_TOOK = re.compile(rb" in \d+(\.\d+)?s: ")
_SECONDS = re.compile(rb"( cloned in|failed to obtain IP after) \d+\.\d\d seconds")


def told(line: bytes) -> bytes:
    """A log line without what differs from run to run: durations, and the reason behind a failure's subject."""
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
        letters = {timeless(_ID.sub(SOME_ID, member)): score for member, score in cell.value.items()}
        assert len(letters) == len(cell.value), f"two letters of {key!r} differ in nothing but their ids"
        return Cell(cell.kind, letters, cell.ttl)
    if cell.kind == "hash" and b"clone_error" in cell.value:
        return Cell(cell.kind, cell.value | {b"clone_error": timeless(cell.value[b"clone_error"])}, cell.ttl)
    if key == b"vmpooler__health" and cell.kind == "hash":
        decoded = {b"metrics": json.loads(cell.value[b"metrics"])}
        if b"reasons" in cell.value:
            decoded[b"reasons"] = sorted(json.loads(cell.value[b"reasons"]), key=_subject)
        return Cell(cell.kind, cell.value | decoded, cell.ttl)
    return cell
