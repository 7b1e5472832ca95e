"""What a run of redrives is asked for by a task's arguments, which are JSON from anybody."""

import re
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vmpooler_tasks.errors import InvalidInputError
from vmpooler_tasks.model.deadletters.filters import DeadLetterFilter
from vmpooler_tasks.model.names import DeadLetterQueue
from vmpooler_tasks.model.redrive import DEFAULT_MAX_FAILED, DEFAULT_RATE


class RedriveOptions(BaseModel):
    """The filters of `vmpooler-tasks dlq redrive`, and its options; times are epochs in seconds.

    Without any filter or id, `every` has to be true: a slip of the pen must not run everything again.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    ids: tuple[str, ...] = ()
    queues: tuple[DeadLetterQueue, ...] = tuple(DeadLetterQueue)
    pool: str | None = None
    vm: str | None = None
    request: str | None = None
    error_class: str | None = None
    match: str | None = None
    since: float | None = None
    until: float | None = None
    every: bool = False
    dry_run: bool = False
    limit: Annotated[int, Field(ge=1)] | None = None
    rate: Annotated[float, Field(ge=0)] = DEFAULT_RATE
    max_failed_percent: Annotated[float, Field(ge=0, le=100)] = DEFAULT_MAX_FAILED
    who: str | None = None
    why: str | None = None

    def filter(self) -> DeadLetterFilter:
        """Raises InvalidInputError if it selects nothing in particular, or the pattern is none."""
        try:
            match = None if self.match is None else re.compile(self.match, re.IGNORECASE)
        except re.error as error:
            raise InvalidInputError(f"match: {self.match!r} is no regular expression: {error}") from error
        wanted = DeadLetterFilter(
            queues=self.queues,
            ids=frozenset(self.ids),
            pool=self.pool,
            vm=self.vm,
            request=self.request,
            error_class=self.error_class,
            match=match,
            since=self.since,
            until=self.until,
        )
        if not self.every:
            refuse_everything(wanted, names_queues="queues" in self.model_fields_set)
        return wanted


def refuse_everything(wanted: DeadLetterFilter, *, names_queues: bool) -> None:
    """Raises InvalidInputError for a selection of all letters, which nobody has asked for in so many words."""
    if wanted.selects_all():
        alone = "queues alone are not enough: " if names_queues else ""
        raise InvalidInputError(f"{alone}name ids or filters{' as well' * bool(alone)}, or set every to true")


def read_order(arguments: object) -> RedriveOptions:
    """Raises InvalidInputError with all that is wrong."""
    try:
        return RedriveOptions.model_validate(arguments)
    except ValidationError as error:
        told = (f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        raise InvalidInputError("; ".join(told)) from error
