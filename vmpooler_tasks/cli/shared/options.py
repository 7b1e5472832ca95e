"""Define the options that several commands share, and parse times and durations."""

import re
from collections.abc import Callable
from typing import Any

import click

from vmpooler_tasks.cli.shared.colour import colour_option
from vmpooler_tasks.cli.shared.completion import completions_of
from vmpooler_tasks.cli.shared.context import context_of
from vmpooler_tasks.errors import InvalidInputError
from vmpooler_tasks.model.deadletters.filters import FILTERS, FilterKind, pattern_of
from vmpooler_tasks.model.names import DeadLetterQueue
from vmpooler_tasks.model.timestamps import parse_time

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}

Decorated = Callable[..., Any]


class Duration(click.ParamType[float]):
    """Parse `90s`, `15m`, `24h`, `7d`, `2w`, or several (`1h30m`) to seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, int | float):
            return float(value)
        parts = re.findall(r"(\d+(?:\.\d+)?)([smhdw])", value)
        if not parts or "".join(number + unit for number, unit in parts) != value:
            self.fail(f"{value!r} is not a duration; write 90s, 15m, 24h or 7d", param, ctx)
        return sum(float(number) * UNITS[unit] for number, unit in parts)


class Moment(click.ParamType[float]):
    """Parse a time (`2024-01-15T10:30:00Z`) or a duration ago (`2h`) to seconds since the epoch."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, int | float):
            return float(value)
        if parsed := parse_time(str(value).encode(errors="replace")):
            return parsed.timestamp()
        try:
            seconds = DURATION.convert(value, param, ctx)
        except click.BadParameter:
            self.fail(f"{value!r} is not a time; write 2024-01-15T10:30:00Z, or how long ago: 2h", param, ctx)
        # By the server's clock, like the times that it is compared with: this machine's may be wrong.
        return context_of(ctx or click.get_current_context()).db.clock() - seconds


class Pattern(click.ParamType[re.Pattern[str]]):
    name = "regex"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> re.Pattern[str]:
        try:
            return pattern_of(value)
        except InvalidInputError as error:
            self.fail(str(error.args[0]).removeprefix("match: "), param, ctx)


DURATION = Duration()
MOMENT = Moment()

_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for machines.")


def as_json(command: Decorated) -> Decorated:
    """Add --json and --color, which every command has that prints a result."""
    with_colour: Decorated = colour_option(help="When to use colours.")(command)
    return _json_option(with_colour)


why = click.option("--why", metavar="TEXT", help="The reason, kept in the audit.")

_TYPES: dict[FilterKind, click.ParamType[Any] | type[str]] = {
    FilterKind.QUEUES: click.Choice([str(queue) for queue in DeadLetterQueue]),
    FilterKind.NAME: str,
    FilterKind.ERROR: str,
    FilterKind.SEARCH: str,
    FilterKind.PATTERN: Pattern(),
    FilterKind.EPOCH: MOMENT,
}


def dead_letter_filters(command: Decorated) -> Decorated:
    """Add an option for each filter of dead letters. `filter_of` reads their values."""
    for one in reversed(FILTERS):
        if one.option is None:
            continue
        how = ": a time, or how long ago (2h)" if one.kind is FilterKind.EPOCH else ""
        command = click.option(
            f"--{one.option}",
            one.name,
            type=_TYPES[one.kind],
            multiple=one.kind is FilterKind.QUEUES,
            help=f"{one.help}{how}.",
            shell_complete=completions_of(one.name),
        )(command)
    return command
