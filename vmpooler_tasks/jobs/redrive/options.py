"""The options of a run of redrives, read from a task's arguments. Anybody can send such arguments: they are JSON."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vmpooler_tasks.errors import InvalidInputError
from vmpooler_tasks.jobs.deadletters.selection import filter_of_order, with_filters
from vmpooler_tasks.model.deadletters.filters import DeadLetterFilter, FilterKind
from vmpooler_tasks.model.names import DeadLetterQueue
from vmpooler_tasks.model.redrive import DEFAULT_MAX_FAILED, DEFAULT_RATE

_TYPES: dict[FilterKind, Any] = {
    FilterKind.IDS: tuple[str, ...],
    FilterKind.QUEUES: tuple[DeadLetterQueue, ...],
    FilterKind.NAME: str,
    FilterKind.ERROR: str,
    FilterKind.SEARCH: str,
    FilterKind.PATTERN: str,
    FilterKind.EPOCH: float,
}


@with_filters(_TYPES)
class RedriveOptions(BaseModel):
    """The filters and options of `vmpooler-tasks dlq redrive`. Times are seconds since the epoch.

    Without any filter or id, `every` has to be true. `confirm` needs ids: what starts only once runs again, too.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    every: bool = False
    dry_run: bool = False
    confirm: bool = False
    limit: Annotated[int, Field(ge=1)] | None = None
    rate: Annotated[float, Field(ge=0)] = DEFAULT_RATE
    max_failed_percent: Annotated[float, Field(ge=0, le=100)] = DEFAULT_MAX_FAILED
    who: str | None = None
    why: str | None = None

    def filter(self) -> DeadLetterFilter:
        """Return the filter. Raises InvalidInputError as `filter_of_order` does."""
        return filter_of_order(self, every=self.every)


def read_options(arguments: object) -> RedriveOptions:
    """Return the options in a task's arguments. Raises InvalidInputError that names every part that is wrong."""
    try:
        return RedriveOptions.model_validate(arguments)
    except ValidationError as error:
        problems = (f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        raise InvalidInputError("; ".join(problems)) from error
