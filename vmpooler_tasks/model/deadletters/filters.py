"""Which dead letters are meant: one filter for list, stats, delete, export (and redrive)."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from vmpooler_tasks.model.deadletters.entry import StoredDeadLetter, error_of
from vmpooler_tasks.model.names import DeadLetterQueue


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetterFilter:
    """A letter is meant if it meets every condition that is set; the times are seconds since the epoch.

    `match` is searched in the class and message, `search` as plain text in all that an operator knows a letter by;
    `error` is one as `error_of` groups them. The others are compared whole.
    """

    queues: Sequence[DeadLetterQueue] = tuple(DeadLetterQueue)
    ids: frozenset[str] = frozenset()
    pool: str | None = None
    vm: str | None = None
    request: str | None = None
    error_class: str | None = None
    match: re.Pattern[str] | None = None
    search: str | None = None
    error: str | None = None
    since: float | None = None
    until: float | None = None

    def selects_all(self) -> bool:
        """Whether nothing narrows it but the queue."""
        conditions = (
            self.pool,
            self.vm,
            self.request,
            self.error_class,
            self.match,
            self.search,
            self.error,
            self.since,
            self.until,
        )
        return not self.ids and all(condition is None for condition in conditions)

    def accepts(self, letter: StoredDeadLetter) -> bool:
        wanted = (
            ("vm", self.vm),
            ("pool", self.pool),
            ("request_id", self.request),
            ("error_class", self.error_class),
        )
        return (
            (not self.ids or letter.id in self.ids)
            and (self.since is None or letter.score >= self.since)
            and (self.until is None or letter.score <= self.until)
            and all(value is None or letter.text(name) == value for name, value in wanted)
            and (
                self.match is None
                or self.match.search(f"{letter.text('error_class')}: {letter.text('error_message')}") is not None
            )
            and (self.search is None or self.search.casefold() in _searched(letter))
            and (self.error is None or error_of(letter) == self.error)
        )


def _searched(letter: StoredDeadLetter) -> str:
    names = ("error_class", "error_message", "vm", "pool", "pool_alias", "request_id", "task", "task_id", "id")
    return "\n".join(map(letter.text, names)).casefold()
