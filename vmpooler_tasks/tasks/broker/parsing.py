"""Parse what arrives from the broker, as kombu does, within bounds of size and depth.

kombu parses JSON as UTF-8, and makes objects of `{"__type__": …, "__value__": …}`. Whoever checks a message has to see
exactly what Celery will see.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any

from kombu.transport.virtual.base import Base64
from kombu.utils.json import loads
from pydantic import BaseModel, Field, StrictInt, StrictStr, ValidationError

from vmpooler_tasks.model.deadletters.shown import is_too_deep
from vmpooler_tasks.model.redaction import MAX_DEPTH

MAX_MESSAGE_BYTES = 16 * 2**20
"""A larger message is not parsed."""

MAX_VALUES = 500_000
"""Values in a message, counted by commas and brackets. A parsed value takes up to 70 bytes of a worker's memory."""

MAX_NAME = 1024
"""Characters of a name: of a task, a queue, an id. Names are in log lines, and in keys of Redis."""

MAX_COUNT = 2**31 - 1

JSON_TYPE = "application/json"

Name = Annotated[StrictStr, Field(max_length=MAX_NAME)]
Count = Annotated[StrictInt, Field(ge=0, le=MAX_COUNT)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]


class InvalidMessageError(ValueError):
    """A message that cannot be used, with the reason."""


class DeliveryInfo(BaseModel):
    exchange: Name
    routing_key: Name


class Properties(BaseModel):
    delivery_tag: Name
    delivery_info: DeliveryInfo
    delivery_mode: StrictInt | Name | None = None
    priority: Count | None = None
    body_encoding: Name | None = None
    correlation_id: Name | None = None
    reply_to: Name | None = None


class Envelope(BaseModel):
    """The parts of every message, as kombu writes it to Redis."""

    properties: Properties
    headers: dict[str, Any]
    body: Any
    content_type: Name | None = Field(None, alias="content-type")
    content_encoding: Name | None = Field(None, alias="content-encoding")

    def decoded_body(self) -> str | bytes:
        """Return the body as kombu decodes it. Raise InvalidMessageError if kombu cannot, or should not."""
        if not isinstance(self.body, str):
            raise InvalidMessageError("the body is not text")
        encoding = self.properties.body_encoding
        if not encoding or encoding.lower() == "utf-8":
            return self.body
        if encoding != "base64":
            raise InvalidMessageError(f"the encoding of the body is {encoding!r}, not base64")
        try:
            decoded: bytes = Base64().decode(self.body)
        except ValueError as error:
            raise InvalidMessageError(f"the body is not base64: {error}") from None
        return decoded


def parse_message(raw: bytes, check: Callable[[Envelope], object]) -> dict[str, Any]:
    """Return the parsed message. Raise InvalidMessageError if Celery cannot use it.

    `check` raises that, or a ValidationError, for what its envelope holds.
    """
    message: dict[str, Any] = parse_json(raw)
    with first_problem_named():
        check(_parse_envelope(message))
    if b"\\u" in raw:
        _check_text(message)
    return message


@contextmanager
def first_problem_named() -> Iterator[None]:
    """Raise InvalidMessageError in place of a ValidationError, with its first problem."""
    try:
        yield
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise InvalidMessageError(f"the message is not valid: {place}: {first['msg']}") from None


def _parse_envelope(message: Any) -> Envelope:
    """Return the parts of a parsed message. Raise InvalidMessageError or ValidationError if Celery cannot use them."""
    if not isinstance(message, dict):
        raise InvalidMessageError(f"the message is a JSON {type(message).__name__}, not an object")
    envelope = Envelope.model_validate(message)
    if envelope.content_type != JSON_TYPE:  # kombu decodes some other types whether they are accepted or not
        raise InvalidMessageError(f"the content type is {envelope.content_type!r}, not {JSON_TYPE}")
    if envelope.headers.get("compression") is not None:  # it could unpack to any size
        raise InvalidMessageError("the message is compressed")
    return envelope


def _check_text(message: dict[str, Any]) -> None:
    """Raise InvalidMessageError if the envelope has text that is not UTF-8: JSON can hold it, and keys cannot."""
    try:
        json.dumps([message["headers"], message["properties"]], ensure_ascii=False, default=str).encode()
    except UnicodeEncodeError:
        raise InvalidMessageError("the headers or properties hold text that is not UTF-8") from None


def parse_json(text: bytes | str, what: str = "the message") -> Any:
    """Return the parsed JSON. Raise InvalidMessageError if kombu cannot parse it, or if it is too large or too deep."""
    if len(text) > MAX_MESSAGE_BYTES:
        raise InvalidMessageError(f"{what} has {len(text)} bytes, more than {MAX_MESSAGE_BYTES}")
    brackets = _count(text, "[", "{")
    if brackets + _count(text, ",") > MAX_VALUES:
        raise InvalidMessageError(f"{what} has more than {MAX_VALUES} commas and brackets")
    try:
        value = loads(text)
    except RecursionError:
        raise InvalidMessageError(f"{what} is nested too deeply") from None
    except Exception as error:  # noqa: BLE001 - the decoder of a `__type__` may raise anything
        raise InvalidMessageError(f"{what} is not JSON: {error}") from None
    if brackets > MAX_DEPTH and is_too_deep(value):  # Celery walks through arguments recursively
        raise InvalidMessageError(f"{what} is nested too deeply")
    return value


def _count(text: bytes | str, *characters: str) -> int:
    if isinstance(text, str):
        return sum(text.count(character) for character in characters)
    return sum(text.count(character.encode()) for character in characters)
