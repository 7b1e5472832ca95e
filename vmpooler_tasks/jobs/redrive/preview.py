"""The preview of a run of redrives: what would become of each group of dead letters, and why."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from vmpooler_tasks.config import Settings
from vmpooler_tasks.jobs.deadletters import query
from vmpooler_tasks.jobs.redrive.eligibility import NEEDS_CONFIRMATION, Decision, forecast
from vmpooler_tasks.jobs.redrive.selection import Selection
from vmpooler_tasks.model.deadletters.entry import error_of
from vmpooler_tasks.model.redrive import OwnTasks, RedriveOutcome
from vmpooler_tasks.store import Database

EXPECTED = (RedriveOutcome.REDRIVEN, RedriveOutcome.OBSOLETE, RedriveOutcome.KEPT)
"""Outcomes that a preview can forecast."""


@dataclass(slots=True)
class PreviewGroup:
    """Dead letters of one queue, pool and error. `reasons` counts them by (outcome, why they do not run again)."""

    queue: str
    pool: str
    error: str
    count: int = 0
    expected: Counter[RedriveOutcome] = field(default_factory=Counter)
    reasons: Counter[tuple[RedriveOutcome, str]] = field(default_factory=Counter)

    def add(self, decision: Decision) -> None:
        """Count one dead letter of the group."""
        self.count += 1
        self.expected[decision.outcome] += 1
        if decision.reason:
            self.reasons[decision.outcome, decision.reason] += 1

    def as_json(self) -> dict[str, Any]:
        return {
            "queue": self.queue,
            "pool": self.pool,
            "error": self.error,
            "count": self.count,
            "expected": _counts(self.expected),
            "reasons": _reasons(self.reasons),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What a run would do now. The groups come with the largest first.

    `to_confirm`: how many dead letters run again only if a person confirms it, and names them by their ids.
    """

    selected: int
    poisoned: int
    to_confirm: int
    groups: Sequence[PreviewGroup]

    @property
    def expected(self) -> Counter[RedriveOutcome]:
        """The count of each outcome."""
        return sum((group.expected for group in self.groups), Counter())

    @property
    def reasons(self) -> Counter[tuple[RedriveOutcome, str]]:
        """The count of each (outcome, reason), for those that do not run again."""
        return sum((group.reasons for group in self.groups), Counter())

    def as_json(self) -> dict[str, Any]:
        return {
            "dry_run": True,
            "selected": self.selected,
            "poisoned": self.poisoned,
            "to_confirm": self.to_confirm,
            "expected": _counts(self.expected),
            "reasons": _reasons(self.reasons),
            "groups": [group.as_json() for group in self.groups],
        }


def preview(
    db: Database, settings: Settings, own: OwnTasks, selection: Selection, *, on_read: query.OnRead | None = None
) -> Preview:
    """Return what a run over this selection would do now. Nothing changes. `on_read` is as in `query.find`."""
    reading, to_confirm = selection.read(db, on_read=on_read), 0
    groups: dict[tuple[str, str, str], PreviewGroup] = {}
    for entry, decision in forecast(db, settings, own, reading, confirmed=selection.confirmed):
        kind = (str(entry.queue), entry.text("pool"), error_of(entry))
        group = groups.get(kind)
        if group is None:
            group = groups[kind] = PreviewGroup(*kind)
        group.add(decision)
        to_confirm += decision is NEEDS_CONFIRMATION
    return Preview(
        selected=sum(group.count for group in groups.values()),
        poisoned=reading.poisoned,
        to_confirm=to_confirm,
        groups=sorted(groups.values(), key=lambda group: -group.count),
    )


def _counts(expected: Mapping[RedriveOutcome, int]) -> dict[str, int]:
    return {str(outcome): expected.get(outcome, 0) for outcome in EXPECTED}


def _reasons(reasons: Counter[tuple[RedriveOutcome, str]]) -> list[dict[str, Any]]:
    return [
        {"outcome": str(outcome), "reason": reason, "count": count}
        for (outcome, reason), count in reasons.most_common()
    ]
