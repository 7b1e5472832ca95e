"""Options that several commands share, and how times and durations are written."""

import re
import time
from collections.abc import Callable
from typing import Any

import click

from vmpooler_tasks.model.deadletters.filters import DeadLetterFilter
from vmpooler_tasks.model.names import DeadLetterQueue
from vmpooler_tasks.model.timestamps import parse_time

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}

Decorated = Callable[..., Any]


class Duration(click.ParamType[float]):
    """`90s`, `15m`, `24h`, `7d`, `2w`, or several: `1h30m`; in seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, int | float):
            return float(value)
        parts = re.findall(r"(\d+(?:\.\d+)?)([smhdw])", value)
        if not parts or "".join(number + unit for number, unit in parts) != value:
            self.fail(f"{value!r} is no duration; write 90s, 15m, 24h or 7d", param, ctx)
        return sum(float(number) * UNITS[unit] for number, unit in parts)


class Moment(click.ParamType[float]):
    """A time (`2024-01-15T10:30:00Z`) or a duration ago (`2h`); in seconds since the epoch."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, int | float):
            return float(value)
        if parsed := parse_time(str(value).encode()):
            return parsed.timestamp()
        try:
            return time.time() - DURATION.convert(value, param, ctx)
        except click.BadParameter:
            self.fail(f"{value!r} is no time; write 2024-01-15T10:30:00Z, or how long ago: 2h", param, ctx)


class Pattern(click.ParamType[re.Pattern[str]]):
    name = "regex"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> re.Pattern[str]:
        try:
            return value if isinstance(value, re.Pattern) else re.compile(value, re.IGNORECASE)
        except re.error as error:
            self.fail(f"{value!r} is no regular expression: {error}", param, ctx)


DURATION = Duration()
MOMENT = Moment()

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, for machines.")
why = click.option("--why", metavar="TEXT", help="The reason, kept in the audit.")

_FILTERS = (
    click.option(
        "--queue",
        "queues",
        multiple=True,
        type=click.Choice([str(q) for q in DeadLetterQueue]),
        help="Only these queues.",
    ),
    click.option("--pool", help="Only this pool."),
    click.option("--vm", help="Only this VM."),
    click.option("--request", help="Only this on-demand request."),
    click.option("--error-class", help="Only this class of error."),
    click.option("--match", type=Pattern(), help="Only errors that match this regular expression."),
    click.option("--since", type=MOMENT, help="Only failures since then: a time, or how long ago (2h)."),
    click.option("--until", type=MOMENT, help="Only failures until then."),
)

FILTER_NAMES = ("queues", "pool", "vm", "request", "error_class", "match", "since", "until")


def letter_filters(command: Decorated) -> Decorated:
    """The filters that select dead letters."""
    for option in reversed(_FILTERS):
        command = option(command)
    return command


def filter_from(options: dict[str, Any], ids: tuple[str, ...] = ()) -> DeadLetterFilter:
    """The filter that these options (of `letter_filters`) describe."""
    chosen = {name: options[name] for name in FILTER_NAMES if name != "queues"}
    queues = tuple(DeadLetterQueue(name) for name in options["queues"]) or tuple(DeadLetterQueue)
    return DeadLetterFilter(queues=queues, ids=frozenset(ids), **chosen)
