"""The filters that select dead letters, declared once in `FILTERS`.

The options of the command line, the parameters of the API and the arguments of the task are derived from this table.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from vmpooler_tasks.errors import InvalidInputError
from vmpooler_tasks.model.deadletters.entry import StoredDeadLetter, error_of
from vmpooler_tasks.model.names import DeadLetterQueue

ALL_QUEUES = tuple(DeadLetterQueue)

SEARCHED = ("error_class", "error_message", "vm", "pool", "pool_alias", "request_id", "task", "task_id", "id")
"""Fields of a dead letter in which `search` finds its text."""


class FilterKind(StrEnum):
    """The type of a filter's value. Each edge (command line, API, task) has a type of its own for each kind."""

    IDS = "ids"
    QUEUES = "queues"
    NAME = "name"
    ERROR = "error"
    SEARCH = "search"
    PATTERN = "pattern"
    EPOCH = "epoch"


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """One filter. `name` is the field of `DeadLetterFilter`, the argument of the task and the field of an API body.

    `option` is the name on the command line, without dashes, and in an API query; None for a filter that only commands
    and requests with an effect have. `read_only` is False for a filter that an API query does not offer.
    """

    name: str
    kind: FilterKind
    help: str
    selects: Callable[[StoredDeadLetter, Any], bool]
    option: str | None
    read_only: bool = True


def _whole(field: str) -> Callable[[StoredDeadLetter, Any], bool]:
    return lambda entry, value: entry.text(field) == value


def _in_pool(entry: StoredDeadLetter, pool: str | frozenset[str]) -> bool:
    return entry.text("pool") in ({pool} if isinstance(pool, str) else pool)


def _matches(entry: StoredDeadLetter, pattern: re.Pattern[str]) -> bool:
    return pattern.search(f"{entry.text('error_class')}: {entry.text('error_message')}") is not None


def _contains(entry: StoredDeadLetter, text: str) -> bool:
    return text.casefold() in "\n".join(map(entry.text, SEARCHED)).casefold()


# What is checked quickly stands first: `accepts` stops at the first condition that is not met.
FILTERS = (
    Filter(
        name="ids",
        kind=FilterKind.IDS,
        help="Only these dead letters",
        selects=lambda entry, ids: entry.id in ids,
        option=None,
        read_only=False,
    ),
    Filter(
        name="queues",
        kind=FilterKind.QUEUES,
        help="Only these queues",
        selects=lambda entry, queues: entry.queue in queues,
        option="queue",
    ),
    Filter(name="pool", kind=FilterKind.NAME, help="Only this pool", selects=_in_pool, option="pool"),
    Filter(name="vm", kind=FilterKind.NAME, help="Only this VM", selects=_whole("vm"), option="vm"),
    Filter(
        name="request",
        kind=FilterKind.NAME,
        help="Only this on-demand request",
        selects=_whole("request_id"),
        option="request",
    ),
    Filter(
        name="error_class",
        kind=FilterKind.NAME,
        help="Only this class of error",
        selects=_whole("error_class"),
        option="error-class",
    ),
    Filter(
        name="since",
        kind=FilterKind.EPOCH,
        help="Only failures since then",
        selects=lambda entry, epoch: entry.score >= epoch,
        option="since",
    ),
    Filter(
        name="until",
        kind=FilterKind.EPOCH,
        help="Only failures until then",
        selects=lambda entry, epoch: entry.score <= epoch,
        option="until",
    ),
    Filter(
        name="error",
        kind=FilterKind.ERROR,
        help="Only this error, as the statistics group errors",
        selects=lambda entry, error: error_of(entry) == error,
        option="error",
    ),
    Filter(
        name="match",
        kind=FilterKind.PATTERN,
        help="Only errors that match this regular expression",
        selects=_matches,
        option="match",
        read_only=False,  # some expressions take minutes, and a reader must not stop the web process with one
    ),
    Filter(
        name="search",
        kind=FilterKind.SEARCH,
        help="Only where the error, a name or an id contains this text; upper and lower case are equal",
        selects=_contains,
        option="search",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetterFilter:
    """A filter accepts a dead letter that meets every condition that is set. Times are seconds since the epoch.

    `pool` is the name of a pool, or the pools of an alias.
    """

    ids: frozenset[str] = frozenset()
    queues: Sequence[DeadLetterQueue] = ALL_QUEUES
    pool: str | frozenset[str] | None = None
    vm: str | None = None
    request: str | None = None
    error_class: str | None = None
    error: str | None = None
    match: re.Pattern[str] | None = None
    search: str | None = None
    since: float | None = None
    until: float | None = None

    def selects_all(self) -> bool:
        """Return whether no condition is set but the queues."""
        return replace(self, queues=ALL_QUEUES) == DeadLetterFilter()

    def accepts(self, entry: StoredDeadLetter) -> bool:
        """Return whether the dead letter meets every condition that is set."""
        for one in FILTERS:
            value = getattr(self, one.name)
            if value != _UNSET[one.name] and not one.selects(entry, value):
                return False
        return True


_UNSET = {one.name: getattr(DeadLetterFilter(), one.name) for one in FILTERS}


def filter_of(values: Mapping[str, Any]) -> DeadLetterFilter:
    """Return the filter with these values by name, as a user gave them. An absent value sets nothing.

    Raises InvalidInputError for a `match` that is not a regular expression.
    """
    read = {one.name: _READ[one.kind](values[one.name]) for one in FILTERS if values.get(one.name) is not None}
    return DeadLetterFilter(**read)


def pattern_of(text: str | re.Pattern[str]) -> re.Pattern[str]:
    """Return the regular expression, for which upper and lower case are equal.

    Raises InvalidInputError for a text that is not a regular expression.
    """
    try:
        return text if isinstance(text, re.Pattern) else re.compile(text, re.IGNORECASE)
    except (re.error, OverflowError, RecursionError) as error:
        raise InvalidInputError(f"match: {text!r} is not a regular expression: {error}") from error


_READ: Mapping[FilterKind, Callable[[Any], Any]] = {
    FilterKind.IDS: frozenset,
    FilterKind.QUEUES: lambda names: tuple(map(DeadLetterQueue, names)) or ALL_QUEUES,
    FilterKind.NAME: str,
    FilterKind.ERROR: str,
    FilterKind.SEARCH: lambda text: text or None,
    FilterKind.PATTERN: pattern_of,
    FilterKind.EPOCH: float,
}


def refuse_everything(wanted: DeadLetterFilter, *, override: str) -> None:
    """Raise InvalidInputError for a filter that selects everything. `override` says how to ask for everything.

    A forgotten filter must not delete or redrive all dead letters.
    """
    if not wanted.selects_all():
        return
    if tuple(wanted.queues) == ALL_QUEUES:
        raise InvalidInputError(f"name ids or filters, or {override}")
    raise InvalidInputError(f"queues alone are not enough: name ids or filters as well, or {override}")
