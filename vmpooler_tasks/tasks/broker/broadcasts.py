"""What a broadcast has to be: a command of Celery's remote control, a reply to one, or an event.

Any client of Redis can publish to these channels. One broadcast that cannot be used would end each process that
listens.
"""

from typing import Annotated, Any

from celery.events.state import Task, Worker
from pydantic import AfterValidator, AliasPath, BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr

from vmpooler_tasks.tasks.broker.commands import Command
from vmpooler_tasks.tasks.broker.parsing import (
    Count,
    Envelope,
    InvalidMessageError,
    Name,
    Number,
    first_problem_named,
    parse_json,
    parse_message,
)

CONTROL_EXCHANGE = "celery.pidbox"
REPLY_QUEUE_SUFFIX = ".reply.celery.pidbox"
EVENT_EXCHANGE = "celeryev"

MAX_BROADCAST_BYTES = 2**20
"""A larger command or event is not parsed: whoever listens to events keeps many thousands of them."""

MAX_EVENTS = 1000
"""Events that one broadcast may hold. Celery sends at most some dozens at once."""

MAX_CLOCK = 2**63 - 1
"""The highest logical clock. Whoever listens continues from it, and sends it with each of its own messages."""

Clock = Annotated[StrictInt, Field(ge=0, le=MAX_CLOCK)]
Time = Annotated[Number, Field(ge=0, le=10**11)]
Offset = Annotated[Number, Field(ge=-48, le=48)]


KEYWORDS = "kwargs"


class _Fields(BaseModel):
    """The fields of an event that Celery and Flower read. An event may have others, but for names in `_RESERVED`."""

    model_config = ConfigDict(extra="allow")

    type: Name
    hostname: Name | None = None
    utcoffset: Offset | None = None
    timestamp: Time | None = None
    pid: Count | None = None
    clock: Clock | None = None


class _OfWorker(_Fields):
    hostname: Name
    timestamp: Time
    freq: Number | None = None
    active: Count | None = None
    processed: Count | None = None
    loadavg: Annotated[list[Number], Field(max_length=3)] | None = None
    sw_ident: Name | None = None
    sw_ver: Name | None = None
    sw_sys: Name | None = None


class _OfTask(_Fields):
    hostname: Name
    uuid: Name
    timestamp: Time
    name: Name | None = None
    args: StrictStr | None = None
    keywords: StrictStr | None = Field(None, validation_alias=AliasPath(KEYWORDS))
    root_id: Name | None = None
    parent_id: Name | None = None
    retries: Count | None = None
    eta: Name | None = None
    expires: Name | None = None
    queue: Name | None = None
    exchange: Name | None = None
    routing_key: Name | None = None
    result: StrictStr | None = None
    runtime: Number | None = None
    exception: StrictStr | None = None
    traceback: StrictStr | None = None
    terminated: StrictBool | None = None
    expired: StrictBool | None = None
    requeue: StrictBool | None = None
    signum: Count | Name | None = None


_KINDS: dict[str, tuple[type[_Fields], Any]] = {"worker": (_OfWorker, Worker()), "task": (_OfTask, Task())}
"""First word of an event's type → its fields, and an object as Celery keeps it, whose attributes they become."""


def _checked_event(value: Any) -> Any:
    kind = str(value["type"]).partition("-")[0] if isinstance(value, dict) and "type" in value else ""
    fields, state = _KINDS.get(kind, (_Fields, None))
    with first_problem_named():
        fields.model_validate(value)
    for name in set(value) - fields.model_fields.keys() - {KEYWORDS}:
        if name.startswith("_") or hasattr(state, name):  # it would take the place of a method
            raise ValueError(f"the name {name} is reserved")
    return value


_Event = Annotated[dict[str, Any], AfterValidator(_checked_event)]


class _Events(BaseModel):
    body: Annotated[list[_Event], Field(max_length=MAX_EVENTS)] | _Event


class _Reply(BaseModel):
    body: dict[Name, Any]


def read_broadcast(raw: bytes, exchange: str) -> Any:
    """Return the parsed broadcast. Raise InvalidMessageError if whoever listens cannot use it."""
    if len(raw) > MAX_BROADCAST_BYTES:
        raise InvalidMessageError(f"it has {len(raw)} bytes, more than {MAX_BROADCAST_BYTES}")

    def check(envelope: Envelope) -> None:
        body = _parsed_body(envelope)
        if exchange == CONTROL_EXCHANGE:
            Command.model_validate(body)
        elif exchange.startswith(EVENT_EXCHANGE):
            _Events.model_validate({"body": body})

    return parse_message(raw, check)


def read_reply(raw: bytes) -> dict[str, Any]:
    """Return the parsed reply to a command. Raise InvalidMessageError if whoever sent the command cannot use it."""

    def check(envelope: Envelope) -> None:
        _Reply.model_validate({"body": _parsed_body(envelope)})
        if not isinstance(envelope.headers.get("expires"), int | float | None):
            raise InvalidMessageError("the time of expiry is not a number")

    return parse_message(raw, check)


def _parsed_body(envelope: Envelope) -> Any:
    clock = envelope.headers.get("clock")
    if clock is not None and not (isinstance(clock, int) and 0 <= clock <= MAX_CLOCK):
        raise InvalidMessageError("the clock is not a number of a clock")
    return parse_json(envelope.decoded_body(), "the body")
