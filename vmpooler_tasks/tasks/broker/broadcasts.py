"""What a broadcast has to be: a command of Celery's remote control, a reply to one, or an event.

Any client of Redis can publish to these channels. One broadcast that cannot be used would end each process that
listens.
"""

from typing import Any

from pydantic import BaseModel, ConfigDict, StrictStr

from vmpooler_tasks.tasks.broker.parsing import Envelope, InvalidMessageError, Name, Number, parse_json, parse_message

CONTROL_EXCHANGE = "celery.pidbox"
EVENT_EXCHANGE = "celeryev"


class _ReplyTo(BaseModel):
    exchange: Name
    routing_key: Name


class _Command(BaseModel):
    model_config = ConfigDict(extra="forbid")  # Celery passes each field on as an argument

    method: Name
    arguments: dict[str, Any] | None = None
    destination: list[StrictStr] | StrictStr | None = None
    pattern: Name | None = None
    matcher: Name | None = None
    reply_to: _ReplyTo | None = None
    ticket: Name | None = None


class _Event(BaseModel):
    type: Name
    hostname: Name | None = None
    uuid: Name | None = None
    timestamp: Number | None = None
    clock: Number | None = None


class _Events(BaseModel):
    body: list[_Event] | _Event


def read_broadcast(raw: bytes, exchange: str) -> Any:
    """Return the parsed broadcast. Raise InvalidMessageError if whoever listens cannot use it."""

    def check(envelope: Envelope) -> None:
        if not isinstance(envelope.headers.get("clock"), int | None):
            raise InvalidMessageError("the clock is not a number")
        body = parse_json(envelope.decoded_body(), "the body")
        if exchange == CONTROL_EXCHANGE:
            _Command.model_validate(body)
        elif exchange.startswith(EVENT_EXCHANGE):
            _Events.model_validate({"body": body})

    return parse_message(raw, check)
