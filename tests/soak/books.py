"""What was made, as users and logs know it, beside what Redis keeps of it."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from tests.soak.operators import DELETE, REDRIVE, Operators
from tests.soak.system import PREFIX, System
from tests.soak.users import Users
from vmpooler_tasks.model.names import DeadLetterQueue
from vmpooler_tasks.store import keys

VM = rf"{PREFIX}[a-z0-9-]+"
NAMED = re.compile(rf"'({VM})'")
CLONED = re.compile(rf"'({VM})' cloned in ")
READY = re.compile(rf"'({VM})' (?:moved from 'pending' to 'ready' queue|is 'ready' for request)")
MOVED = re.compile(r"\[dlq\] Moved '[^']+' from '([a-z]+)' queue to DLQ")
REDRIVEN = ("redriven", "obsolete")
"""Outcomes of a redrive after which the dead letter has left its queue."""


@dataclass(frozen=True)
class Account:
    """A thing that was made, how often, and how many of them Redis keeps. Both are sets of names, or counts."""

    what: str
    made: int
    kept: int
    difference: str = ""

    @property
    def is_balanced(self) -> bool:
        return self.made == self.kept and not self.difference


def balance(system: System, users: Users, operators: Operators) -> list[Account]:
    """Return every account. The system must be at rest."""
    log = system.log()
    return [
        *_names(system, users, log),
        *_dead_letters(system, users, operators, log),
        _checks(system, operators, log),
    ]


def _names(system: System, users: Users, log: str) -> Iterator[Account]:
    """Compare names: those of the log and of the users with those in keys and fields."""
    db = system.db
    metadata = {key.removeprefix(keys.VM_PREFIX).decode() for key in db.client.scan_iter(keys.VM_PREFIX + b"*")}
    yield _compared("metadata of VMs", {*NAMED.findall(log), *users.planted}, metadata)
    for what, pattern in (("clone", CLONED), ("boot", READY)):
        days = db.client.scan_iter(keys.statistics(what, "*"))
        fields = {field.decode().partition(":")[2] for day in days for field in db.call("HKEYS", day)}
        yield _compared(f"statistics of {what}s", set(pattern.findall(log)), fields)
    prefix = keys.request(b"")
    requests = {key.removeprefix(prefix).decode() for key in db.client.scan_iter(prefix + b"*")}
    yield _compared("requests", users.requests, requests)
    times = {name.decode() for name in db.call("ZRANGE", keys.REQUESTED_AT, 0, -1)}
    yield _compared("times of requests", users.requests, times)


def _compared(what: str, made: set[str], kept: set[str]) -> Account:
    lost, unknown = sorted(made - kept), sorted(kept - made)
    parts = [f"{len(names)} {word}: {names[:5]}" for word, names in (("lost", lost), ("unknown", unknown)) if names]
    return Account(what, len(made), len(kept), "; ".join(parts))


def _dead_letters(system: System, users: Users, operators: Operators, log: str) -> Iterator[Account]:
    """Compare the lines of the log, less what operators took out, with what the queues hold."""
    moved = Counter(MOVED.findall(log))
    removed: Counter[str] = Counter()
    for words, output in operators.outputs:
        if words == DELETE:
            removed["tasks"] += output["deleted"]
        elif words == REDRIVE:
            removed["clone"] += sum(int(output.get(outcome, 0)) for outcome in REDRIVEN)
    for queue in (DeadLetterQueue.CLONE, DeadLetterQueue.PENDING, DeadLetterQueue.READY):
        kept = int(system.db.call("ZCARD", keys.dead_letters(queue)))
        yield Account(f"dead letters of {queue}", moved[queue] - removed[queue], kept)
    tasks = [json.loads(raw) for raw in system.db.call("ZRANGE", keys.dead_letters(DeadLetterQueue.TASKS), 0, -1)]
    kept = sum(entry["error_class"] == "TypeError" for entry in tasks)
    yield Account("dead letters of tasks", users.made["failing tasks"] - removed["tasks"], kept)


def _checks(system: System, operators: Operators, log: str) -> Account:
    """Compare the checks in the log, and those of operators' commands, with the history."""
    by_command = sum(number for ended, number in operators.ended.items() if ended.startswith("health "))
    kept = int(system.db.call("ZCARD", keys.HEALTH_HISTORY))
    return Account("health checks", log.count("[*] [health] Running queue health check") + by_command, kept)
