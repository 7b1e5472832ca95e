"""The option `--color`, before or after a command. click removes colours from what is not a terminal."""

import os
from collections.abc import Callable
from typing import Any

import click

_COLOURS: dict[str, bool | None] = {"never": False, "auto": None, "always": True}
"""The values of the option → click's `Context.color`, which the contexts of subcommands inherit."""


def colour_option(*, help: str) -> Callable[[Any], Any]:  # noqa: A002 - click's name
    """Return a decorator that adds `--color`. The value goes into the context; the command does not receive it."""
    return click.option(
        "--color",
        type=click.Choice(list(_COLOURS)),
        metavar="never|auto|always",
        callback=_set_colour,
        expose_value=False,
        help=help,
    )


def _set_colour(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
    del parameter
    if value is not None:
        context.color = _COLOURS[value]
        context.meta[__name__] = value


def choose_colour(context: click.Context) -> None:
    """Switch colours off if NO_COLOR is set and no option says otherwise. https://no-color.org"""
    if __name__ not in context.meta and os.environ.get("NO_COLOR"):
        context.color = False
