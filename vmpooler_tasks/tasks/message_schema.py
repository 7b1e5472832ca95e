"""What a message in a queue has to be, so that kombu and Celery's worker can use it.

Celery uses most fields of a message unchecked: a wrong type in one of them ends the worker, and then the next worker
that takes the message. So every field that Celery reads is checked here before Celery sees it. Other fields are free.
Celery's "Message Protocol", version 2, describes the fields. Messages of version 1 have all of them in their body.
"""

import base64
import binascii
import json
from collections.abc import Callable, Iterator
from typing import Annotated, Any

from pydantic import AliasPath, BaseModel, BeforeValidator, Field, StrictBool, StrictInt, StrictStr, ValidationError

MAX_MESSAGE_BYTES = 16 * 2**20
"""A larger message is not parsed: parsing takes several times its size of a worker's memory."""

MAX_DEPTH = 100
"""Levels of nested lists and objects. Celery walks through arguments recursively, in many places."""

JSON_TYPE = "application/json"
UNPARSED_TYPES = ("application/data", "", None)
"""Content types that kombu does not decode at all: the worker would get bytes as arguments."""

MAX_COUNT = 2**31 - 1

Count = Annotated[StrictInt, Field(ge=0, le=MAX_COUNT)]
Moment = Annotated[StrictStr, Field(min_length=1)]
"""A time as text. Celery refuses a time that it cannot read, and fails with an empty one."""

Seconds = Annotated[float, Field(strict=True, allow_inf_nan=False)]


class _DeliveryInfo(BaseModel):
    exchange: StrictStr
    routing_key: StrictStr


class _Properties(BaseModel):
    delivery_tag: StrictStr
    delivery_info: _DeliveryInfo
    delivery_mode: StrictInt | StrictStr | None = None
    priority: Count | None = None
    body_encoding: StrictStr | None = None
    correlation_id: StrictStr | None = None
    reply_to: StrictStr | None = None


class _Envelope(BaseModel):
    properties: _Properties
    headers: dict[str, Any]
    body: Any
    content_type: StrictStr | None = Field(None, alias="content-type")
    content_encoding: StrictStr | None = Field(None, alias="content-encoding")


class _Task(BaseModel):
    """The headers of a message of version 2, or the body of one of version 1."""

    task: StrictStr
    id: StrictStr
    shadow: StrictStr | None = None
    lang: StrictStr | None = None
    origin: StrictStr | None = None
    root_id: StrictStr | None = None
    parent_id: StrictStr | None = None
    group: StrictStr | None = None
    group_index: Count | None = None
    eta: Moment | None = None
    expires: Moment | None = None
    retries: Count | None = None
    timelimit: Annotated[list[Seconds | None], Field(min_length=2, max_length=2)] | None = None
    argsrepr: StrictStr | None = None
    kwargsrepr: StrictStr | None = None
    ignore_result: StrictBool | None = None
    replaced_task_nesting: Count | None = None
    stamped_headers: list[StrictStr] | None = None
    stamps: dict[str, Any] | None = None


class _Signature(BaseModel):
    """A task to be called with, after or instead of this one."""

    task: StrictStr
    args: list[Any] = []
    keywords: dict[str, Any] = Field({}, validation_alias=AliasPath("kwargs"))
    options: dict[str, Any] = {}


class _Embedded(BaseModel):
    callbacks: list[_Signature] | None = None
    errbacks: list[_Signature] | None = None
    chain: list[_Signature] | None = None
    chord: _Signature | None = None


def _as_object(value: Any) -> Any:
    """[args, kwargs, embedded] as an object, so that an error names the part."""
    names = ("args", "kwargs", "embedded")
    return dict(zip(names, value, strict=True)) if isinstance(value, list) and len(value) == len(names) else value


class _Arguments(BaseModel):
    args: list[Any]
    keywords: dict[str, Any] = Field(validation_alias=AliasPath("kwargs"))
    embedded: _Embedded


class _Body(BaseModel):
    body: Annotated[_Arguments, BeforeValidator(_as_object)]


class _VersionOne(_Task, _Embedded):
    taskset: StrictStr | None = None
    args: list[Any] = []
    keywords: dict[str, Any] = Field({}, validation_alias=AliasPath("kwargs"))


class _ReplyTo(BaseModel):
    exchange: StrictStr
    routing_key: StrictStr


class _Command(BaseModel):
    """A command of Celery's remote control."""

    method: StrictStr
    arguments: dict[str, Any] | None = None
    destination: list[StrictStr] | StrictStr | None = None
    pattern: StrictStr | None = None
    matcher: StrictStr | None = None
    reply_to: _ReplyTo | None = None
    ticket: StrictStr | None = None


CONTROL_EXCHANGE = "celery.pidbox"


def message_problem(raw: bytes) -> str | None:
    """Return why these bytes are not a message that a worker can use; None if they are one."""
    if len(raw) > MAX_MESSAGE_BYTES:
        return f"the message has {len(raw)} bytes, more than {MAX_MESSAGE_BYTES}"
    return _reason(lambda: _problem_of_bytes(raw))


def broadcast_problem(message: Any, exchange: str) -> str | None:
    """Return why a broadcast that was parsed as JSON cannot be used: a remote-control command, a reply or an event."""
    return _reason(lambda: _problem_of_broadcast(message, exchange))


class _NotAMessageError(ValueError):
    pass


def _reason(check: Callable[[], str | None]) -> str | None:
    try:
        return check()
    except _NotAMessageError as error:
        return str(error)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        return f"the message is not valid: {'.'.join(map(str, first['loc']))}: {first['msg']}"


def _problem_of_bytes(raw: bytes) -> str | None:
    message = _parsed(raw)
    return _problem(message) or (_problem_of_text(message) if b"\\u" in raw else None)


def _problem_of_broadcast(message: Any, exchange: str) -> str | None:
    if _is_deep(message):
        return "the message is nested too deeply"
    envelope = _envelope(message)
    if envelope.content_type != JSON_TYPE:
        return f"the content type is {envelope.content_type!r}, not {JSON_TYPE}"
    if not isinstance(envelope.headers.get("clock"), int | None):
        return "the clock is not a number"
    body = _parsed(_decoded(envelope), "the body")
    if exchange == CONTROL_EXCHANGE:
        _Command.model_validate(body)
    return _problem_of_text(message)


def _envelope(message: Any) -> _Envelope:
    """Return the parts of a message. Raises _NotAMessageError, or ValidationError naming the part."""
    if not isinstance(message, dict):
        raise _NotAMessageError(f"the message is a JSON {type(message).__name__}, not an object")
    envelope = _Envelope.model_validate(message)
    if envelope.content_type in UNPARSED_TYPES:
        raise _NotAMessageError(f"the content type is {envelope.content_type!r}, not {JSON_TYPE}")
    if envelope.headers.get("compression") is not None:
        raise _NotAMessageError("the message is compressed")  # it could unpack to any size
    return envelope


def _parsed(text: bytes | str, what: str = "the message") -> Any:
    """Return the JSON value. Raises _NotAMessageError if it is not JSON, or nested too deeply."""
    try:
        value = json.loads(text)
    except RecursionError:
        raise _NotAMessageError(f"{what} is nested too deeply") from None
    except ValueError as error:
        raise _NotAMessageError(f"{what} is not JSON: {error}") from None
    if _may_be_deep(text) and _is_deep(value):
        raise _NotAMessageError(f"{what} is nested too deeply")
    return value


def _may_be_deep(text: bytes | str) -> bool:
    """Return False if there are too few brackets for it: nearly always, and in a microsecond."""
    if isinstance(text, str):
        return text.count("[") + text.count("{") > MAX_DEPTH
    return text.count(b"[") + text.count(b"{") > MAX_DEPTH


def _is_deep(value: Any) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [inner for one in level for inner in _children(one)]
        if not level:
            return False
    return True


def _children(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, list):
        yield from value


def _problem(message: Any) -> str | None:
    envelope = _envelope(message)
    is_task = "task" in envelope.headers
    if is_task:
        _Task.model_validate(envelope.headers)
    body = _decoded(envelope)
    if envelope.content_type != JSON_TYPE:
        return None  # Celery refuses these, and keeps them as a dead letter
    arguments = _parsed(body, "the body")
    if is_task:
        _Body.model_validate({"body": arguments})
    elif isinstance(arguments, dict) and "task" in arguments:
        _VersionOne.model_validate(arguments)
    return None


def _problem_of_text(message: dict[str, Any]) -> str | None:
    """Return a problem if the envelope has text that is not UTF-8, which JSON can hold and Redis keys cannot."""
    try:
        json.dumps([message["headers"], message["properties"]], ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return "the headers or properties hold text that is not UTF-8"
    return None


def _decoded(envelope: _Envelope) -> bytes | str:
    body = envelope.body
    if not isinstance(body, str):
        raise _NotAMessageError("the body is not text")
    if envelope.properties.body_encoding != "base64":
        return body
    try:
        return base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError) as error:
        raise _NotAMessageError(f"the body is not base64: {error}") from None
