"""`vmpooler-tasks run`"""

import os
import sys
from functools import partial

import click

from vmpooler_tasks.cli.shared.context import Context, pass_context
from vmpooler_tasks.cli.shared.output import print_line
from vmpooler_tasks.local import folder, foreman
from vmpooler_tasks.local.beside import NobodyConfirmedError


@click.command(
    short_help="Run workers, beat, web and Flower here, to try them out.",
    epilog="Example: REDIS_URL=redis://vmpooler.example.com vmpooler-tasks run",
)
@click.option("--show", is_flag=True, help="Show the addresses and logins of the run in this folder.")
@click.option("--yes", is_flag=True, help="With REDIS_URL: do not ask for confirmation.")
@pass_context
def run(context: Context, show: bool, yes: bool) -> None:
    """Run workers, beat, web and Flower here, to try them out. Redis is a private one, unless REDIS_URL is set.

    With REDIS_URL the run observes the VMPooler on that Redis and changes none of its keys. It says what it will touch,
    and asks first.
    """
    if show:
        _print_lines(folder.read_addresses(foreman.FOLDER))
        return
    settings = context.settings
    if context.config_file:
        os.environ["VMPOOLER_CONFIG_FILE"] = str(context.config_file.resolve())
        os.environ.pop("VMPOOLER_CONFIG", None)
    sys.exit(foreman.run(settings, partial(_confirm, yes=yes), file=context.config_file))


def _print_lines(text: str) -> None:
    for line in text.splitlines():
        print_line(line)


def _confirm(text: str, *, yes: bool) -> None:
    """Show what the run will touch. Raise click.Abort unless somebody agrees."""
    _print_lines(text)
    if yes:
        return
    if not sys.stdin.isatty():
        raise NobodyConfirmedError("start it with --yes (make run ARGS=--yes)")
    click.confirm("Start?", abort=True, err=True)
