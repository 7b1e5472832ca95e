"""The database that `goldens_model` works on, what is noted of the rules, and what is said."""

import json
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from tests.support.goldens import Rule, State, WrongTypeError, copied

VM = b"vmpooler__vm__"
CYCLE = b"(the cycle)"
POOLS = b"(the pools)"
LINE = b"(line) "  # before the part of a log line that no other line has
QUEUES = ("pending", "ready", "running", "completed", "discovered", "migrating")
DEAD_LETTER_QUEUES = ("pending", "clone", "ready", "tasks")
FIELDS = {"pending": b"clone", "ready": b"ready", "completed": b"destroy"}
DEFAULTS = {
    "dlq_ttl": 168,
    "dlq_max_entries": 10_000,
    "max_pending_age": 7200,
    "max_ready_age": 86_400,
    "max_completed_age": 3600,
    "max_orphaned_age": 86_400,
    "health_check_interval": 300,
}


@dataclass
class Memory:
    """What a check remembers of the one before it, in seconds since the epoch."""

    last_check: float | None = None
    empty_since: dict[str, float] = field(default_factory=dict)


@dataclass
class Outcome:
    """What one step answered and said; `raised` if it failed. Each line with the key that it is about."""

    result: Any = None
    raised: bool = False
    lines: list[tuple[bytes, bytes]] = field(default_factory=list)


class Replayed:
    """One database as it is replayed. `ruled`: whether the rules hold; without them it is VMPooler.

    `notes` tells which rules have touched which key since the database was last filled.
    """

    def __init__(self, config: dict[str, Any], tz: str, *, ruled: bool) -> None:
        self.config = config
        self.options: dict[str, Any] = {**DEFAULTS, **config["config"]}
        self.pools = [pool["name"] for pool in config["pools"]]
        self.sizes = {pool["name"]: pool["size"] for pool in config["pools"]}
        self.redis: dict[str, Any] | None = config.get("redis")
        self.tz = tz
        self.ruled = ruled
        self.now = 0.0
        self.outcome = Outcome()
        self.stopped = False  # whether VMPooler's cycle had ended here
        self.fill({})

    def fill(self, state: State) -> None:
        """Goes on from this database, with nothing remembered of another."""
        self.state = copied(state)
        self.notes: dict[bytes, set[Rule]] = defaultdict(set)
        self.first_seen: dict[tuple[str, str], dict[bytes, float]] = defaultdict(dict)
        self.purged_from_pending: set[bytes] = set()
        self.memory = Memory()

    def applies(self, rule: Rule, *keys: bytes) -> bool:
        """Whether the rule holds here; notes it at these keys if so."""
        if self.ruled:
            for key in keys:
                self.notes[key].add(rule)
        return self.ruled

    def option(self, name: str, *keys: bytes) -> Any:
        value = self.options[name]
        if isinstance(value, str) and self.applies(Rule.QUOTED_OPTION, *keys):
            return True if value == "true" else float(value)
        return value

    # --- the database -------------------------------------------------------------------------------------------

    def get(self, key: bytes, kind: str, empty: Any) -> Any:
        cell = self.state.get(key)
        if cell is None:
            return empty
        if cell.kind != kind:
            raise WrongTypeError(key)
        return cell.value

    def members(self, queue: str, pool: str) -> set[bytes]:
        found: set[bytes] = self.get(queue_key(queue, pool), "set", set())
        return found

    def remove(self, key: bytes, member: bytes) -> None:
        self.state[key].value.discard(member)
        if not self.state[key].value:
            del self.state[key]

    def expire(self, key: bytes, seconds: float) -> None:
        if key in self.state:
            self.state[key].ttl = round(seconds / 10) * 10
            if seconds <= 0:
                del self.state[key]

    def is_queued(self, vm: bytes) -> bool:
        """Whether any queue of any pool names it."""
        prefixes = tuple(f"vmpooler__{queue}__".encode() for queue in QUEUES)
        return any(
            cell.kind == "set" and vm in cell.value for key, cell in self.state.items() if key.startswith(prefixes)
        )

    # --- the log ------------------------------------------------------------------------------------------------

    def say(self, about: bytes, line: bytes) -> None:
        if self.stopped:  # VMPooler's cycle never came to this
            self.applies(Rule.WRONG_TYPE_STOPS_NOTHING, about)
        shown = line
        try:
            clean = line.decode().isprintable()
        except UnicodeDecodeError:
            clean = False
        if not clean and self.applies(Rule.ONE_LINE, about):
            text = line.decode(errors="backslashreplace")
            shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text).encode()
        self.outcome.lines.append((about, shown))

    def complain(self, about: bytes, subject: bytes) -> None:
        self.say(about, b"[!] [purge] Error checking %b" % subject)


def queue_key(queue: str, pool: str) -> bytes:
    return f"vmpooler__{queue}__{pool}".encode()


def dead_letters_key(queue: str) -> bytes:
    return f"vmpooler__dlq__{queue}".encode()


def rounded(age: float) -> int:
    """To the nearest second, halves away from zero."""
    return int(age + 0.5) if age >= 0 else -int(0.5 - age)


def number(value: float) -> bytes:
    return str(int(value) if float(value).is_integer() else value).encode()


def compact(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True
