"""What the API answers with, as its OpenAPI document describes it. Times are epochs in seconds unless they are text."""

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
    """The errors that an operation may answer with, for its `responses`."""
    return dict.fromkeys(statuses, PROBLEM)


READING = problems(401, 409, 422, 429, 503)
CHANGING = problems(400, 401, 403, 409, 413, 415, 422, 429, 503)


class Answer(BaseModel):
    """Fields beyond those named may come, and in time will."""

    model_config = ConfigDict(extra="allow")


class SessionAnswer(BaseModel):
    login_required: bool
    user: str | None
    role: str | None
    csrf_token: str | None = Field(description="to be sent as X-CSRF-Token with what changes something")


class Reason(Answer):
    code: str
    severity: str
    measured: float
    threshold: float
    found: str = Field(description="the reason in words")
    remedy: str = Field(description="what to do")
    runbook: str = Field(description="where more is said, on this server")


class Health(Answer):
    """The verdict as everybody may have it; `stale` among the reasons if it is too old to be believed."""

    status: str = Field(description="healthy, degraded or unhealthy")
    last_check: str | None
    stuck_vm_count: int
    dlq_total_size: int
    orphaned_metadata_count: int
    reasons: list[Reason]


class Worker(BaseModel):
    name: str
    queues: list[str]


class Purge(BaseModel):
    """The last cycle."""

    started: float | None
    finished: float | None
    failure: str | None


class Features(BaseModel):
    """What is switched on."""

    dlq: bool
    purge: bool
    purge_dry_run: bool
    health: bool
    manage_pools: bool


class Overview(BaseModel):
    at: float
    health: Health
    pools: list[PoolRow]
    dlq: dict[str, int]
    workers: list[Worker]
    beats: list[str]
    messages: dict[str, int] = Field(description="messages that wait, by Celery queue")
    unacknowledged: int
    purge: Purge
    features: Features
    revision: str = Field(description="changes whenever dead letters came or went")


class PoolPoint(BaseModel):
    """One pool at one check; ages in seconds."""

    pending: int
    pending_oldest: int
    ready: int
    ready_oldest: int
    completed: int
    stuck: int


class Point(BaseModel):
    at: float
    status: str
    dlq: int
    stuck: int
    orphaned: int
    reasons: list[str]
    pools: dict[str, PoolPoint]


class History(BaseModel):
    points: list[Point]


class Letter(Answer):
    """One dead letter; the guide's fields, those that it has."""

    id: str
    queue: str


class DeadLetterPage(BaseModel):
    letters: list[Letter]
    next_cursor: str | None
    unreadable: list[str] = Field(description="keys left out, since they are no queues")


class ErrorGroup(BaseModel):
    error: str
    error_class: str
    message: str
    count: int
    oldest: float
    newest: float
    queues: list[str]
    pools: list[str]
    example_id: str


class Stats(BaseModel):
    total: int
    groups: list[ErrorGroup]


class Deleted(BaseModel):
    dry_run: bool = False
    selected: int
    deleted: int


class Group(BaseModel):
    queue: str
    pool: str
    error: str
    count: int


class Preview(BaseModel):
    """What a run of redrives would do, as things stand."""

    dry_run: bool
    selected: int
    poisoned: int
    expected: dict[str, int]
    groups: list[Group]


class RunAnswer(BaseModel):
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


class Runs(BaseModel):
    runs: list[RunAnswer]


class Cancelled(BaseModel):
    cancelled: bool


class PurgeEntry(BaseModel):
    queue: str
    pool: str
    vm: str
    age_seconds: float
    max_age_seconds: float


class PurgeAnswer(Answer):
    dry_run: bool
    found: dict[str, int]
    purged: dict[str, int]
    total: int
    errors: list[str]
    error_count: int
    entries: list[PurgeEntry]
    entries_left_out: int
    duration_seconds: float


class AuditAnswer(Answer):
    at: float
    action: str = ""
    who: str = ""


class AuditPage(BaseModel):
    entries: list[AuditAnswer]
    next_cursor: str | None
