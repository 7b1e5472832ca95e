"""What the API can be asked: the selection of dead letters, as a query and as a body, and orders."""

from typing import Annotated, Literal

from fastapi import Query
from pydantic import BaseModel, ConfigDict, Field

from vmpooler_tasks.jobs.redrive.options import refuse_everything
from vmpooler_tasks.model.deadletters.filters import DeadLetterFilter
from vmpooler_tasks.model.names import DeadLetterQueue
from vmpooler_tasks.model.redrive import DEFAULT_MAX_FAILED, DEFAULT_RATE

MOST_IDS = 1000

CURSOR = r"^(-?[0-9]{1,25}(\.[0-9]{1,25})?(e[+-][0-9]{1,2})?|-?inf):[^\x00-\x1f]{1,160}$"
"""The score of a page's last letter, and its id."""

PurgedQueue = Literal["pending", "ready", "completed", "orphaned", "requests"]

Name = Annotated[str, Field(min_length=1, max_length=500)]
Text = Annotated[str, Field(min_length=1, max_length=5000)]
Why = Annotated[str, Field(max_length=500, description="the reason, kept in the audit")]
Flag = Annotated[bool, Field(strict=True)]
"""JSON's own: 0 is not false."""

Epoch = Annotated[float, Field(ge=0, le=10**12, allow_inf_nan=False)]


class Selection(BaseModel):
    """Which dead letters are meant: those that meet every condition given. As for `vmpooler-tasks dlq`."""

    model_config = ConfigDict(extra="forbid")

    pool: Name | None = None
    vm: Name | None = None
    request: Name | None = None
    error_class: Name | None = None
    error: Text | None = Field(None, description="the error of one group of /dlq/stats")
    search: Annotated[str, Field(max_length=200)] | None = Field(
        None, description="text, case aside, in the error, the names and the ids"
    )
    since: Epoch | None = None
    until: Epoch | None = None

    def filter(self, queues: list[DeadLetterQueue], ids: frozenset[str] = frozenset()) -> DeadLetterFilter:
        return DeadLetterFilter(
            queues=tuple(queues) or tuple(DeadLetterQueue),
            ids=ids,
            pool=self.pool,
            vm=self.vm,
            request=self.request,
            error_class=self.error_class,
            error=self.error,
            search=self.search or None,
            since=self.since,
            until=self.until,
        )


class LetterQuery(Selection):
    """The same as a query; `queue` may come several times."""

    queue: Annotated[list[DeadLetterQueue], Field(max_length=len(DeadLetterQueue))] = []

    def chosen(self) -> DeadLetterFilter:
        return self.filter(self.queue)


class PageQuery(LetterQuery):
    limit: Annotated[int, Field(ge=1, le=500)] = 50
    cursor: Annotated[str, Field(pattern=CURSOR)] | None = Field(None, description="what the last page named")


class Order(Selection):
    """A selection that something is done with. Without ids or filters, `every` has to be true."""

    since: Annotated[Epoch, Field(strict=True)] | None = None
    until: Annotated[Epoch, Field(strict=True)] | None = None
    ids: Annotated[list[Name], Field(max_length=MOST_IDS)] = []
    queues: Annotated[list[DeadLetterQueue], Field(max_length=len(DeadLetterQueue))] = []
    every: Flag = False
    dry_run: Flag = False
    why: Why | None = None

    def chosen(self) -> DeadLetterFilter:
        """Raises InvalidInputError if it means nothing in particular."""
        wanted = self.filter(self.queues, frozenset(self.ids))
        if not self.every:
            refuse_everything(wanted, names_queues=bool(self.queues))
        return wanted


class RedriveOptions(Order):
    rate: Annotated[float, Field(strict=True, ge=0, le=10_000, allow_inf_nan=False)] = Field(
        DEFAULT_RATE, description="letters a second"
    )
    limit: Annotated[int, Field(strict=True, ge=1, le=1_000_000)] | None = None
    max_failed_percent: Annotated[float, Field(strict=True, ge=0, le=100)] = DEFAULT_MAX_FAILED


class PurgeBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    dry_run: Flag = False
    pools: Annotated[list[Name], Field(max_length=1000)] = []
    queues: Annotated[list[PurgedQueue], Field(max_length=5)] = []
    force: Flag = Field(default=False, description="also if the purge is switched off; overrules purge_max_percent")
    why: Why | None = None


class Login(BaseModel):
    model_config = ConfigDict(extra="forbid")

    user: Annotated[str, Field(max_length=500)]
    password: Annotated[str, Field(max_length=500)]


Letters = Annotated[LetterQuery, Query()]
Pages = Annotated[PageQuery, Query()]
