"""The responses of the API, as its OpenAPI document describes them. Times are seconds since the epoch or text."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from vmpooler_tasks.jobs.pools.overview import PoolRow

PROBLEM = {
    "description": "what was wrong",
    "content": {
        "application/problem+json": {
            "schema": {
                "type": "object",
                "required": ["type", "title", "status", "detail"],
                "properties": {
                    "type": {"type": "string"},
                    "title": {"type": "string"},
                    "status": {"type": "integer"},
                    "detail": {"type": "string"},
                    "errors": {"type": "array", "items": {"type": "object"}},
                },
            }
        }
    },
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the description of error responses with these statuses, for the `responses` of an operation."""
    return dict.fromkeys(statuses, PROBLEM)


EVERYWHERE = problems(400, 413, 500)
"""400 for a host name of another server, 413 for a body that is too large, 500 for an error nobody expected."""

READING = problems(401, 409, 422, 429, 503)
CHANGING = problems(400, 401, 403, 409, 413, 415, 422, 429, 503)


class ExtensibleModel(BaseModel):
    """A response that may have more fields than those named here, now or in a later version."""

    model_config = ConfigDict(extra="allow")


class SessionResponse(BaseModel):
    login_required: bool
    user: str | None
    role: str | None
    csrf_token: str | None = Field(description="send it as X-CSRF-Token with each request that changes something")


class ReasonItem(ExtensibleModel):
    code: str
    severity: str
    measured: float
    threshold: float
    found: str = Field(description="the reason in words")
    remedy: str = Field(description="what to do")
    runbook: str = Field(description="path on this server that explains more")


class HealthDocument(ExtensibleModel):
    """The health status. `stale` is among the reasons if the last check is too old to be trusted."""

    status: str = Field(description="healthy, degraded or unhealthy")
    last_check: str | None
    stuck_vm_count: int
    dlq_total_size: int
    orphaned_metadata_count: int
    reasons: list[ReasonItem]


class RunningTaskItem(BaseModel):
    name: str
    id: str
    subject: dict[str, str] = Field(description="what it works on: vm, pool, request_id")
    since: float


class WorkerItem(BaseModel):
    name: str
    host: str
    queues: list[str]
    tasks: list[RunningTaskItem] = Field(description="the tasks that it runs now, the oldest first")


class PurgeSummary(BaseModel):
    """The last purge cycle."""

    started: float | None
    finished: float | None
    failure: str | None


class FeatureFlags(BaseModel):
    """The features that are switched on."""

    dlq: bool
    purge: bool
    purge_dry_run: bool
    health: bool
    manage_pools: bool


class OverviewResponse(BaseModel):
    at: float
    health: HealthDocument
    pools: list[PoolRow]
    dlq: dict[str, int]
    workers: list[WorkerItem]
    beats: list[str]
    messages: dict[str, int] = Field(description="waiting messages by Celery queue")
    unacknowledged: int
    purge: PurgeSummary
    open_requests: int = Field(description="on-demand requests that wait or are being filled")
    features: FeatureFlags
    version: str
    flower: str | None = Field(description="address of Flower, where one is configured")
    revision: str = Field(description="changes whenever dead letters are added or removed")


class PoolPoint(BaseModel):
    """One pool at one check; ages in seconds."""

    pending: int
    pending_oldest: int
    ready: int
    ready_oldest: int
    completed: int
    stuck: int


class HistoryPoint(BaseModel):
    at: float
    status: str
    dlq: int
    stuck: int
    orphaned: int
    reasons: list[str]
    pools: dict[str, PoolPoint]


class HistoryResponse(BaseModel):
    points: list[HistoryPoint]


class DeadLetterItem(ExtensibleModel):
    """One dead letter: those fields of the guide that it has."""

    id: str
    queue: str


class AttemptItem(ExtensibleModel):
    """One failure of the work. One that was run again has `redriven_at`, `run` and `who`; the last is this dead letter.

    `edited` is true if it was run again with changed arguments.
    """

    id: str = ""
    failed_at: str = Field("", description="ISO text in UTC")
    error_class: str = ""
    error_message: str = ""


class DeadLetterDetail(DeadLetterItem):
    """All of one dead letter."""

    attempts: list[AttemptItem] = Field(description="all known attempts across redrives, in order of time")
    attempts_unknown: int = Field(description="attempts before those, which are not kept")
    editable: bool = Field(description="its task can be run again with changed arguments")


class DeadLetterPageResponse(BaseModel):
    letters: list[DeadLetterItem]
    next_cursor: str | None
    unreadable: list[str] = Field(description="keys that are left out, since they are not sorted sets")


class DeadLetterGroupItem(BaseModel):
    error: str
    error_class: str
    message: str
    count: int
    oldest: float
    newest: float
    queues: list[str]
    pools: list[str]
    example_id: str


class DeadLetterGroupsResponse(BaseModel):
    total: int
    groups: list[DeadLetterGroupItem]


class DeletionResponse(BaseModel):
    dry_run: bool = False
    selected: int
    deleted: int


class PreviewReason(BaseModel):
    """Why some dead letters would not run again: they are closed as `obsolete`, or `kept`."""

    outcome: str
    reason: str
    count: int


class PreviewGroupItem(BaseModel):
    queue: str
    pool: str
    error: str
    count: int
    expected: dict[str, int] = Field(description="the count of each outcome")
    reasons: list[PreviewReason]


class PreviewResponse(BaseModel):
    """The forecast of a run of redrives."""

    dry_run: bool
    selected: int
    poisoned: int = Field(description="left out, since they came back too often")
    to_confirm: int = Field(description="reverts, which run again only by their ids and with `confirm`")
    expected: dict[str, int] = Field(description="the count of each outcome: redriven, obsolete (closed), kept")
    reasons: list[PreviewReason]
    groups: list[PreviewGroupItem]


class RunResponse(BaseModel):
    run: str
    state: str
    selected: int
    position: int
    redriven: int
    obsolete: int
    kept: int
    gone: int
    failed_again: int
    who: str
    why: str | None
    started: float


class RunListResponse(BaseModel):
    runs: list[RunResponse]


class ArgumentItem(BaseModel):
    name: str
    type: str = Field(description="in words")
    required: bool
    fixed: bool = Field(description="an edit may not change it")


class EditFormResponse(BaseModel):
    """What can be changed of a failed task. `reason` says why nothing can."""

    model_config = ConfigDict(extra="forbid")

    editable: bool
    reason: str | None
    task: str
    args: list[Any] = Field(description="as the task failed with them; secrets are redacted")
    kwargs: dict[str, Any]
    arguments: list[ArgumentItem]


class EditResponse(BaseModel):
    """The dead letter has left, and its task runs again; with `dry_run`, the arguments are valid."""

    dry_run: bool
    task: str


class CancellationResponse(BaseModel):
    cancelled: bool


class PurgeEntryItem(BaseModel):
    queue: str
    pool: str
    vm: str
    age_seconds: float
    max_age_seconds: float


class PurgeResponse(ExtensibleModel):
    dry_run: bool
    found: dict[str, int]
    purged: dict[str, int]
    total: int
    errors: list[str]
    error_count: int
    entries: list[PurgeEntryItem]
    entries_left_out: int
    duration_seconds: float


class ScheduleItem(BaseModel):
    """An entry of beat's schedule. A `next_run` in the past means that no beat has sent it yet."""

    name: str
    task: str
    interval_seconds: float
    enabled: bool
    switch: str = Field(description="the option that switches it on")
    last_run: float | None = Field(description="when beat last sent it")
    next_run: float | None = Field(description="null if it is switched off")


class ScheduleResponse(BaseModel):
    at: float = Field(description="the server's time")
    entries: list[ScheduleItem]


class RunNowResponse(BaseModel):
    """The task that a worker is to carry out."""

    name: str
    task: str
    task_id: str


class AuditItem(ExtensibleModel):
    at: float
    action: str = ""
    who: str = ""


class AuditPageResponse(BaseModel):
    entries: list[AuditItem]
    next_cursor: str | None
