"""What a command of Celery's remote control has to be, with its arguments.

A worker passes the arguments of a command on to Celery's functions, which check little. Here a name is bounded text,
and a number is in a range that a worker survives. A reply goes only to an address at which clients wait for replies:
with another one, a worker would write to any list that it may write to.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictBool, StrictInt

from vmpooler_tasks.tasks.broker.parsing import MAX_COUNT, Name, Number, first_problem_named

_REPLY_ADDRESS = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

MAX_TASK_IDS = 100
"""Tasks that one command may name. A worker reads the state of each one in Redis before it takes its next message."""

MAX_SLOTS = 1000
"""Processes or threads by which one command may change a worker."""

SIGNALS = ("TERM", "QUIT", "KILL")
"""Signals that end the process of a task, as Celery writes them: in capitals, perhaps with `SIG` before them.

After any other signal, Celery reports the task as terminated although it may go on: a process with tasks ignores INT,
takes USR1 for the soft time limit, and keeps its slot for ever after STOP.
"""
_SIGNAL_NUMBERS = (15, 3, 9)


def _as_signal(value: str | int) -> str | int:
    if value in _SIGNAL_NUMBERS or (isinstance(value, str) and value.removeprefix("SIG") in SIGNALS):
        return value
    raise ValueError(f"the signal must be one of {', '.join(SIGNALS)}")


def _as_reply_address(value: str) -> str:
    if not _REPLY_ADDRESS.fullmatch(value):
        raise ValueError("is not the address of a client that waits for replies")
    return value


Ids = Annotated[list[Name], Field(max_length=MAX_TASK_IDS)] | Name
Slots = Annotated[StrictInt, Field(ge=1, le=MAX_SLOTS)]
Seconds = Annotated[Number, Field(gt=0, le=MAX_COUNT)]


class _Arguments(BaseModel):
    """The arguments of all commands. The same name means the same in each of them."""

    model_config = ConfigDict(extra="forbid")

    safe: StrictBool | None = None
    with_defaults: StrictBool | None = None
    builtins: StrictBool | None = None
    taskinfoitems: Annotated[list[Name], Field(max_length=MAX_TASK_IDS)] | None = None
    ids: Ids | None = None
    task_id: Ids | None = None
    terminate: StrictBool | None = None
    signal: Annotated[Name | StrictInt, AfterValidator(_as_signal)] | None = None
    task_name: Name | None = None
    rate_limit: Name | Number | None = None
    soft: Seconds | None = None
    hard: Seconds | None = None
    n: Slots | None = None
    max: Slots | None = None
    min: Annotated[StrictInt, Field(ge=0, le=MAX_SLOTS)] | None = None
    queue: Name | None = None
    exchange: Name | None = None
    exchange_type: Name | None = None
    routing_key: Name | None = None
    samples: Slots | None = None
    modules: Annotated[list[Name], Field(max_length=0)] | None = None
    reload: StrictBool | None = None
    reloader: None = None


class _ReplyTo(BaseModel):
    exchange: Literal["reply.celery.pidbox"]
    routing_key: Annotated[Name, AfterValidator(_as_reply_address)]


class Command(BaseModel):
    """A command. Celery passes each field on as an argument."""

    model_config = ConfigDict(extra="forbid")

    method: Name
    arguments: dict[str, Any] | None = None
    destination: list[Name] | None = None
    pattern: Name | None = None
    # A worker's loop matches the pattern. A regular expression ("pcre") can take it minutes.
    matcher: Literal["glob"] | None = None
    reply_to: _ReplyTo | None = None
    ticket: Name | None = None


def check_arguments(arguments: Mapping[str, Any]) -> None:
    """Raise InvalidMessageError if a command cannot be carried out with these arguments."""
    with first_problem_named():
        _Arguments.model_validate(dict(arguments))
