"""What each recorded step must come to here, and how much of that is as recorded."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields

from tests.support import goldens
from tests.support.goldens import POOL_ACTIONS, Case, Cell, Rule, State, Step, comparable, copied, normal_line
from tests.support.goldens_model import Replay
from tests.support.goldens_pools import NOT_OURS, REQUEST
from tests.support.goldens_state import LINE, POOLS, VM, Outcome

REFUSED = {
    "case-017-data-ttl-zero": ["redis.data_ttl"],
    "case-025-thresholds-nil": ["config.health_thresholds.dlq_max_warning"],
    "case-029-ages-negative": [
        "config.max_completed_age",
        "config.max_orphaned_age",
        "config.max_pending_age",
        "config.max_ready_age",
    ],
    "case-037-max-entries-neg": ["config.dlq_max_entries"],
    "case-039-dlq-ttl-0": ["config.dlq_ttl"],
}
"""Rule.REFUSED_CONFIGURATION: the cases whose configuration is an error here, and the options that are named in it."""

_DEAD_LETTERS_LEFT = re.compile(rb"(?<=\[dlq\] )(?:Dropped the )?(\d+) (?:oldest of|dead letters of) '")


def summed(lines: Iterable[bytes]) -> Counter[bytes]:
    """Return how often each line was logged. Removed dead letters are summed up: which batch removes them is chance."""
    said, left = Counter[bytes](), Counter[tuple[bytes, bytes]]()
    for line in lines:
        if found := _DEAD_LETTERS_LEFT.search(line):
            left[line[: found.start(1)], line[found.end(1) :]] += int(found[1])
        else:
            said[line] += 1
    return said + Counter(b"%b%d%b" % (before, count, after) for (before, after), count in left.items())


@dataclass(frozen=True, slots=True)
class Expected:
    """A step in scope; `fresh`: its database is filled from the recording first."""

    step: Step
    fresh: bool
    outcome: Outcome
    state: State
    notes: dict[bytes, set[Rule]]

    @property
    def lines(self) -> Counter[bytes]:
        return summed(normal_line(line) for _, line in self.outcome.lines)


def plan(case: Case) -> Iterator[Expected]:
    """The steps in scope, each with what it must leave behind. Chains go on from what we left, not from VMPooler."""
    replay, follows = Replay(case.config, case.tz, ruled=True), False
    for step in case.steps:
        if not step.in_scope:
            follows = False
            continue
        fresh = not (step.chained and follows)
        if fresh:
            replay.fill(goldens.cells(case.entries_before(step)))
        outcome = replay.step(step)
        notes = {key: set(rules) for key, rules in replay.notes.items()}
        yield Expected(step, fresh, outcome, copied(comparable(replay.state)), notes)
        follows = True


_SUM = re.compile(rb"\[\*\] \[purge\](?:\[dry-run\])? Completed purge cycle")


@dataclass
class Tally:
    """How much is exactly as recorded, and what each rule changed; steps by action."""

    replayed: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    # Actions, and `metric`: what was sent to StatsD (README 8).
    not_here_yet: Counter[str] = field(default_factory=Counter)
    exact: Counter[str] = field(default_factory=Counter)
    changed: Counter[str] = field(default_factory=Counter)
    allowed: Counter[Rule] = field(default_factory=Counter)
    unexplained: list[str] = field(default_factory=list)

    def add(self, case: Case, expectations: Iterable[Expected]) -> None:
        """Compare the case with what it must come to, which is empty for a case that is refused."""
        self.not_here_yet.update(step.action for step in case.steps if not step.in_scope)
        self.not_here_yet["metric"] += sum(step.metric_count for step in case.steps if step.in_scope)
        if case.name in REFUSED:
            self.refused.update(step.action for step in case.steps if step.in_scope)
            self.allowed[Rule.REFUSED_CONFIGURATION] += 1
            return
        for expected in expectations:
            self.replayed[expected.step.action] += 1
            self._compare_keys(case, expected)
            self._compare_lines(case, expected)

    def update(self, other: "Tally") -> None:
        """Add what another tally has counted."""
        for part in fields(self):
            ours, theirs = getattr(self, part.name), getattr(other, part.name)
            if isinstance(ours, Counter):
                ours.update(theirs)
            else:
                ours.extend(theirs)

    def _compare_keys(self, case: Case, expected: Expected) -> None:
        recorded = comparable(expected.step.output)
        for key in recorded.keys() | expected.state.keys():
            ours, theirs = expected.state.get(key), recorded.get(key)
            if ours == theirs and ours is not None:
                self.exact["keys"] += 1
                self.exact["values"] += ours.parts()
                continue
            self.changed["keys"] += 1
            self.exact["values in changed keys"] += _same_parts(ours, theirs)
            self._explain(case, expected, key, self._rules_for(key, expected, ours, theirs))

    def _rules_for(self, key: bytes, expected: Expected, ours: Cell | None, theirs: Cell | None) -> set[Rule]:
        """The rules noted at the key, or, for a queue, at the VMs that only one of both has in it."""
        found = set(expected.notes.get(key, ()))
        sets = [cell.value if cell is not None and cell.kind == "set" else set() for cell in (ours, theirs)]
        for vm in sets[0] ^ sets[1]:
            found |= expected.notes.get(b"vmpooler__vm__" + vm, set())
        return found

    def _compare_lines(self, case: Case, expected: Expected) -> None:
        recorded = Counter(map(normal_line, expected.step.logs))
        self.exact["lines"] += (recorded & expected.lines).total()
        about = {normal_line(line): key for key, line in expected.outcome.lines}
        changed = [(line, _rules_for_line(line, expected)) for line in (recorded - expected.lines).elements()]
        for line in (expected.lines - recorded).elements():
            key = about.get(line) or b"vmpooler__dlq__" + line.split(b"'")[1]  # the second: a sum over batches
            changed.append((line, expected.notes.get(key, set())))
        sums = [line for line, rules in changed if _SUM.match(line) and not rules]
        for line, rules in changed:
            if line in sums and len(changed) > len(sums):
                self.changed["sums"] += 1  # it follows from the lines that are explained each by its rule
            else:
                self.changed["lines"] += 1
                self._explain(case, expected, line, rules)

    def _explain(self, case: Case, expected: Expected, what: bytes, rules: set[Rule]) -> None:
        self.allowed.update(rules)
        if not rules:
            self.unexplained.append(f"{case.name} step {expected.step.number} {expected.step.action}: {what!r}")


def _same_parts(ours: Cell | None, theirs: Cell | None) -> int:
    """How many values of a key that differs are the same on both sides."""
    if ours is None or theirs is None or ours.kind != theirs.kind or ours.kind == "string":
        return 0
    if ours.kind in ("hash", "zset"):
        return sum(name in theirs.value and theirs.value[name] == value for name, value in ours.value.items())
    return len(set(ours.value) & set(theirs.value))


def _rules_for_line(line: bytes, expected: Expected) -> set[Rule]:
    """The rules noted at the key that a line of VMPooler's is about: the one with the longest name in quotes."""
    if NOT_OURS.search(line):
        return {Rule.FEWER_LINES}
    named = [key for key in expected.notes if any(name in line for name in _names(key))]
    if named:
        return expected.notes[max(named, key=len)]
    if expected.step.action in POOL_ACTIONS:
        return expected.notes.get(POOLS, set())
    about = b"vmpooler__health" if b"[health]" in line else b"(the cycle)"
    return expected.notes.get(about, set())


def _names(key: bytes) -> tuple[bytes, ...]:
    """How a line names what is noted at this key."""
    if key.startswith(LINE):
        return (key.removeprefix(LINE),)
    if key.startswith(REQUEST):
        return (key, b"] Request %b " % key.removeprefix(REQUEST))
    return (key, b"'%b'" % key.removeprefix(VM))
