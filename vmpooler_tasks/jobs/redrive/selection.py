"""Which dead letters a run of redrives takes. They are read page by page whenever they are needed, and never kept."""

from collections.abc import Iterator
from dataclasses import dataclass

from vmpooler_tasks.errors import InvalidInputError
from vmpooler_tasks.jobs.deadletters import query
from vmpooler_tasks.model.deadletters.entry import StoredDeadLetter
from vmpooler_tasks.model.deadletters.filters import DeadLetterFilter
from vmpooler_tasks.model.redrive import is_poison
from vmpooler_tasks.store import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """The dead letters that `wanted` accepts, the `limit` oldest of them: those have waited longest.

    `confirmed`: a person confirmed that what starts only once, a revert, runs again. Raises InvalidInputError if
    something is confirmed that is not named by its id.
    """

    wanted: DeadLetterFilter
    limit: int | None = None
    confirmed: bool = False

    def __post_init__(self) -> None:
        """Refuse a confirmation of everything."""
        if self.confirmed and not self.wanted.ids:
            raise InvalidInputError("only dead letters that are named by their ids can be confirmed")

    def read(self, db: Database, *, on_read: query.OnRead | None = None) -> "SelectionReading":
        """Return what iterates over the dead letters that are selected now. `on_read` is as in `query.find`."""
        return SelectionReading(self, query.find_oldest(db, self.wanted, on_read=on_read))

    def is_empty(self, db: Database) -> bool:
        """Return True if nothing is selected now."""
        return next(iter(self.read(db)), None) is None


class SelectionReading:
    """Iterates over the dead letters of a selection, oldest first.

    Those that came back too often are selected only by their ids. `poisoned` counts those that were left out so far.
    """

    def __init__(self, selection: Selection, found: Iterator[StoredDeadLetter]) -> None:
        self._selection, self._found = selection, found
        self.poisoned = 0

    def __iter__(self) -> Iterator[StoredDeadLetter]:
        left = self._selection.limit
        for entry in self._found:
            if not self._selection.wanted.ids and is_poison(entry.fields):
                self.poisoned += 1
                continue
            yield entry
            if left is not None:
                left -= 1
                if left <= 0:
                    return
