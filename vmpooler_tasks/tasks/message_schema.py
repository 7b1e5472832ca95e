"""The schema of messages in a queue: what kombu and Celery's worker can use.

Celery uses most fields of a message unchecked: a wrong type in one of them ends the worker, and then the next worker
that takes the message. So every field that Celery reads is checked here before Celery sees it. Other fields are free.
Celery's "Message Protocol", version 2, describes the fields. Messages of version 1 have all of them in their body.
"""

from datetime import UTC, timedelta
from typing import Annotated, Any, Literal, Self

from celery.app.task import Context
from celery.canvas import Signature
from celery.utils.time import maybe_iso8601, maybe_make_aware
from pydantic import (
    AfterValidator,
    AliasPath,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictStr,
    model_validator,
)

from vmpooler_tasks.tasks.broker.parsing import (
    MAX_MESSAGE_BYTES,
    Count,
    Envelope,
    InvalidMessageError,
    Name,
    Number,
    parse_json,
    parse_message,
)

MAX_ENVELOPE_BYTES = 2**20
"""Bytes of a message without its body."""

MAX_LIMIT_SECONDS = 10 * 365 * 86400
"""The longest time limit. A timer of the worker cannot hold much larger numbers."""

A_DAY = timedelta(days=1)


def _readable(text: str) -> str:
    try:
        moment = maybe_make_aware(maybe_iso8601(text), UTC).astimezone(UTC)
        _ = moment - A_DAY, moment + A_DAY  # as in any time zone, and by a clock that is wrong
    except (ArithmeticError, ValueError, TypeError, AttributeError) as error:  # of text that is empty, too
        raise ValueError(f"{text[:50]!r} is not a time: {error}") from None
    return text


Moment = Annotated[Name, AfterValidator(_readable)]
"""A time as ISO 8601."""

Seconds = Annotated[Number, Field(ge=0, le=MAX_LIMIT_SECONDS)]


class _Signature(BaseModel):
    """A task, or several of them, to be called with, after or instead of this one."""

    task: Name
    args: list[Any]
    keywords: dict[str, Any] = Field(validation_alias=AliasPath("kwargs"))
    options: "_Options"
    subtask_type: StrictStr | None = None
    immutable: StrictBool | None = None
    chord_size: Count | None = None

    @model_validator(mode="after")
    def _has_its_parts(self) -> Self:
        if self.subtask_type:
            if self.subtask_type not in Signature.TYPES:
                raise ValueError(f"there is no signature of the type {self.subtask_type[:50]!r}")
            _PARTS.get(self.subtask_type, _Calls).model_validate(self.keywords)
        return self


class _Options(BaseModel):
    """How a signature is sent. Stamps are among the options, under names of their own."""

    queue: Name | None = None
    exchange: Name | None = None
    routing_key: Name | None = None
    task_id: Name | None = None
    group_id: Name | None = None
    group_index: Count | None = None
    root_id: Name | None = None
    parent_id: Name | None = None
    reply_to: Name | None = None
    shadow: Name | None = None
    countdown: Number | None = None
    eta: Moment | None = None
    expires: Number | Moment | None = None
    time_limit: Seconds | None = None
    soft_time_limit: Seconds | None = None
    priority: Count | None = None
    retries: Count | None = None
    retry: StrictBool | None = None
    retry_policy: dict[str, Number | None] | None = None
    headers: dict[str, Any] | None = None
    serializer: Literal["json"] | None = None
    compression: None = None
    ignore_result: StrictBool | None = None
    add_to_parent: StrictBool | None = None
    replaced_task_nesting: Count | None = None
    stamped_headers: list[Name] | None = None
    link: "list[_Signature] | _Signature | None" = None
    link_error: "list[_Signature] | _Signature | None" = None
    chain: list[_Signature] | None = None
    chord: _Signature | None = None
    connection: None = None
    producer: None = None
    publisher: None = None
    router: None = None
    declare: None = None


class _Tasks(BaseModel):
    tasks: list[_Signature] | _Signature


class _Chord(BaseModel):
    header: list[_Signature] | _Signature
    body: _Signature | None = None


class _Calls(BaseModel):
    task: _Signature
    it: list[Any]
    n: Annotated[Count, Field(ge=1)] = 1


_PARTS: dict[str, type[BaseModel]] = {"chain": _Tasks, "group": _Tasks, "chord": _Chord}
"""What the keyword arguments of each type of signature hold; of the others: a task that is called several times."""


class _Embedded(BaseModel):
    callbacks: list[_Signature] | None = None
    errbacks: list[_Signature] | None = None
    chain: list[_Signature] | None = None
    chord: _Signature | None = None


class _OnlyEmbedded(_Embedded):
    model_config = ConfigDict(extra="forbid")  # they would take the place of headers


class _Task(_Embedded):
    """The headers of a message of version 2, or the body of one of version 1."""

    task: Name
    id: Name
    shadow: Name | None = None
    lang: Name | None = None
    origin: Name | None = None
    root_id: Name | None = None
    parent_id: Name | None = None
    group: Name | None = None
    group_index: Count | None = None
    eta: Moment | None = None
    expires: Moment | None = None
    retries: Count | None = None
    timelimit: Annotated[list[Seconds | None], Field(min_length=2, max_length=2)] | None = None
    argsrepr: StrictStr | None = None
    kwargsrepr: StrictStr | None = None
    ignore_result: StrictBool | None = None
    replaced_task_nesting: Count | None = None
    stamped_headers: list[Name] | None = None
    stamps: dict[str, Any] | None = None
    headers: dict[str, Any] | None = None
    taskset: Name | None = None
    time_limit: Seconds | None = None
    soft_time_limit: Seconds | None = None
    tick: StrictBool | None = None


_FREE = {"args", "kwargs", "hostname", "delivery_info", "properties", "reply_to", "correlation_id", "called_directly"}
_FREE |= {"is_eager", "logfile", "loglevel", "utc"}
"""Attributes of a task's request that Celery sets itself, whatever the message has."""

RESERVED = frozenset(dir(Context)) - _FREE - _Task.model_fields.keys()
"""Attributes and methods of a task's request, which a header of the same name would replace."""


def _as_object(value: Any) -> Any:
    """Return [args, kwargs, embedded] as an object, so that an error names the part."""
    names = ("args", "kwargs", "embedded")
    return dict(zip(names, value, strict=True)) if isinstance(value, list) and len(value) == len(names) else value


class _Arguments(BaseModel):
    args: list[Any]
    keywords: dict[str, Any] = Field(validation_alias=AliasPath("kwargs"))
    embedded: _OnlyEmbedded | None


class _Body(BaseModel):
    body: Annotated[_Arguments, BeforeValidator(_as_object)]


class _VersionOne(_Task):
    args: list[Any] = []
    keywords: dict[str, Any] = Field({}, validation_alias=AliasPath("kwargs"))
    utc: StrictBool | None = None


def read_message(raw: bytes, size: int | None = None) -> dict[str, Any]:
    """Return the parsed message. Raise InvalidMessageError if a worker cannot use it.

    `size`: its bytes, if `raw` may be only the start of it.
    """
    if size is not None and size > len(raw):
        raise InvalidMessageError(f"the message has {size} bytes, more than {MAX_MESSAGE_BYTES}")

    def check(envelope: Envelope) -> None:
        body = envelope.decoded_body()
        if len(raw) - len(envelope.body) > MAX_ENVELOPE_BYTES:
            raise InvalidMessageError(f"headers and properties have more than {MAX_ENVELOPE_BYTES} bytes")
        _check_task(envelope.headers, body)

    return parse_message(raw, check)


def _check_task(headers: dict[str, Any], text: str | bytes) -> None:
    """Raise InvalidMessageError or ValidationError if they are not those of a task. A message may be no task."""
    is_task = "task" in headers
    if is_task:
        _check_names(headers)
        _Task.model_validate(headers)
    body = parse_json(text, "the body")
    if is_task:
        _Body.model_validate({"body": body})
    elif isinstance(body, dict) and "task" in body:
        _check_names(body)
        _VersionOne.model_validate(body)


def _check_names(fields: dict[str, Any]) -> None:
    for name in fields:
        if name in RESERVED or name.startswith("__"):
            raise InvalidMessageError(f"the message is not valid: {name}: the name is reserved")
