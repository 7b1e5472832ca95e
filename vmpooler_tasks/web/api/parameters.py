"""The parameters of the API: filters of dead letters, as a query and as a body, and the bodies of other requests."""

from typing import Annotated, Any

from fastapi import Query
from pydantic import BaseModel, ConfigDict, Field, model_validator

from vmpooler_tasks.jobs.deadletters.export import ExportFormat
from vmpooler_tasks.jobs.deadletters.selection import filter_of_model, filter_of_order, with_filters
from vmpooler_tasks.jobs.deadletters.sorting import SortColumn, SortOrder
from vmpooler_tasks.model.deadletters.filters import DeadLetterFilter, FilterKind
from vmpooler_tasks.model.names import DeadLetterQueue
from vmpooler_tasks.model.purge import PurgeTarget
from vmpooler_tasks.model.redrive import DEFAULT_MAX_FAILED, DEFAULT_RATE

MAX_IDS = 1000
MAX_FIELDS = 100

CURSOR = r"^((-?[0-9]{1,25}(\.[0-9]{1,25})?(e[+-][0-9]{1,3})?|-?inf):[^\x00-\x1f]{1,180}|s:[A-Za-z0-9_=-]{1,8000})$"
"""The score of a page's last dead letter, and its id; or the place in a sorted list."""

Name = Annotated[str, Field(min_length=1, max_length=500)]
Text = Annotated[str, Field(min_length=1, max_length=5000)]
Why = Annotated[str, Field(max_length=500, description="the reason, kept in the audit")]
Flag = Annotated[bool, Field(strict=True)]
"""true or false of JSON: 0 is refused."""

Epoch = Annotated[float, Field(ge=0, le=10**12, allow_inf_nan=False)]


SearchText = Annotated[str, Field(max_length=200)]
AuditCursor = Annotated[str | None, Query(pattern=r"^\d{1,15}-\d{1,15}$", description="the last `next_cursor`")]

DeadLetterQueues = Annotated[tuple[DeadLetterQueue, ...], Field(max_length=len(DeadLetterQueue))]
Pattern = Annotated[str, Field(min_length=1, max_length=500)]

_IN_QUERY: dict[FilterKind, Any] = {
    FilterKind.QUEUES: DeadLetterQueues,
    FilterKind.NAME: Name,
    FilterKind.ERROR: Text,
    FilterKind.SEARCH: SearchText,
    FilterKind.EPOCH: Epoch,
}
_IN_BODY = _IN_QUERY | {
    FilterKind.IDS: Annotated[tuple[Name, ...], Field(max_length=MAX_IDS)],
    FilterKind.PATTERN: Pattern,
    FilterKind.EPOCH: Annotated[Epoch, Field(strict=True)],
}


class StrictModel(BaseModel):
    """A query or a body: what it does not know is an error, and the number of errors is bounded."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _refuse_floods(cls, given: Any) -> Any:
        """Raise one error for too many values. Pydantic takes ten seconds for a megabyte of errors."""
        if isinstance(given, dict):
            if len(given) > MAX_FIELDS:
                raise ValueError(f"at most {MAX_FIELDS} fields are allowed, not {len(given)}")
            for name, value in given.items():
                if isinstance(value, list | tuple) and len(value) > MAX_IDS:
                    raise ValueError(f"{name[:100]}: at most {MAX_IDS} items are allowed, not {len(value)}")
        return given


@with_filters(_IN_QUERY, query=True)
class DeadLetterQuery(StrictModel):
    """The dead letters that meet every condition given, as for `vmpooler-tasks dlq`. `queue` may come several times."""

    def filter(self) -> DeadLetterFilter:
        return filter_of_model(self)


class DeadLetterPageQuery(DeadLetterQuery):
    limit: Annotated[int, Field(ge=1, le=500)] = 50
    sort: SortColumn = Field(SortColumn.TIME, description="the column; `vm` sorts by VM or task")
    order: SortOrder = Field(SortOrder.DESCENDING, description="with equal values, the newest come first")
    cursor: Annotated[str, Field(pattern=CURSOR)] | None = Field(None, description="the `next_cursor` of the last page")


class ExportQuery(DeadLetterQuery):
    format: ExportFormat = ExportFormat.JSONL


@with_filters(_IN_BODY)
class DeleteBody(StrictModel):
    """Deletes the dead letters that meet every condition. Without ids or filters, set `every` to true."""

    every: Flag = False
    dry_run: Flag = False
    why: Why | None = None

    def filter(self) -> DeadLetterFilter:
        """Return the filter. Raises InvalidInputError as `filter_of_order` does."""
        return filter_of_order(self, every=self.every)


class RedriveBody(DeleteBody):
    """Runs the dead letters again that meet every condition. Without ids or filters, set `every` to true."""

    rate: Annotated[float, Field(strict=True, ge=0, le=10_000, allow_inf_nan=False)] = Field(
        DEFAULT_RATE, description="dead letters a second"
    )
    limit: Annotated[int, Field(strict=True, ge=1, le=1_000_000)] | None = None
    max_failed_percent: Annotated[float, Field(strict=True, ge=0, le=100)] = DEFAULT_MAX_FAILED
    confirm: Flag = Field(
        default=False,
        description="run reverts again, too, which discard what the users did since; it needs ids",
    )


class EditBody(StrictModel):
    """Runs the dead letter of a task again with these arguments. They replace all that it failed with."""

    args: Annotated[list[Any], Field(max_length=1000, description="arguments by position")] = []
    kwargs: Annotated[dict[str, Any], Field(max_length=1000, description="arguments by name")]
    dry_run: Flag = Field(default=False, description="check the arguments only")
    why: Why | None = None


class RunNowBody(StrictModel):
    why: Why | None = None


class PurgeBody(StrictModel):
    dry_run: Flag = False
    pools: Annotated[list[Name], Field(max_length=1000)] = []
    queues: Annotated[list[PurgeTarget], Field(max_length=5)] = []
    force: Flag = Field(default=False, description="also if the purge is switched off; overrules purge_max_percent")
    why: Why | None = None


class Login(StrictModel):
    user: Annotated[str, Field(max_length=500)]
    password: Annotated[str, Field(max_length=500)]


Filtered = Annotated[DeadLetterQuery, Query()]
Paged = Annotated[DeadLetterPageQuery, Query()]
Exported = Annotated[ExportQuery, Query()]
