"""The command line, `vmpooler-tasks`."""

import io
import os
import shutil
import sys
from collections.abc import Callable
from typing import Any

import click
from click.exceptions import NoArgsIsHelpError

from vmpooler_tasks import __version__
from vmpooler_tasks.cli.shared.colour import choose_colour, colour_option
from vmpooler_tasks.cli.shared.lazy import LazyCommand, LazyGroup
from vmpooler_tasks.cli.shared.program import PROGRAM, GlobalOptions
from vmpooler_tasks.cli.shared.terminal import wrap
from vmpooler_tasks.errors import VmpoolerTasksError
from vmpooler_tasks.model.names import on_one_line

_COMMANDS = {
    "audit": LazyCommand("vmpooler_tasks.cli.audit:audit", "Show who redrove, deleted and purged what, when and why."),
    "completion": LazyCommand(
        "vmpooler_tasks.cli.shared.completion:completion", "Print the script that completes commands in a shell."
    ),
    "config": LazyCommand(
        "vmpooler_tasks.cli.config:config",
        "Validate the configuration, show the effective values, or hash a password for it.",
    ),
    "dlq": LazyCommand("vmpooler_tasks.cli.deadletters:dlq", "Search, redrive, delete and export dead letters."),
    "doctor": LazyCommand("vmpooler_tasks.cli.doctor.command:doctor", "Check everything that these workers depend on."),
    "health": LazyCommand("vmpooler_tasks.cli.health:health", "Check the queues now."),
    "pools": LazyCommand(
        "vmpooler_tasks.cli.pools:pools",
        "Show each pool's state; pause, drain, resume, retry, keep, confirm or adopt.",
    ),
    "purge": LazyCommand("vmpooler_tasks.cli.purge:purge", "Remove stale entries from the queues now."),
    "request": LazyCommand("vmpooler_tasks.cli.requests:request", "Request VMs, or show what happened to a request."),
    "run": LazyCommand("vmpooler_tasks.cli.run:run", "Run workers, beat, web and Flower here, to try them out."),
    "web": LazyCommand("vmpooler_tasks.cli.web:web", "Serve the dashboard, the API and Prometheus metrics."),
}

_ALIASES = {"status": "health"}
"""Other names of commands, which the help does not list."""


@click.group(
    cls=LazyGroup,
    commands=_COMMANDS,
    aliases=_ALIASES,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name=PROGRAM)
@click.option(
    "--config",
    "config_file",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="VMPooler's YAML. Overrides VMPOOLER_CONFIG and VMPOOLER_CONFIG_FILE.",
)
@click.option("-v", "--verbose", is_flag=True, help="Show the log on stderr.")
@click.option(
    "--log-format",
    metavar="text|json",
    help="How to write the log, here and in what `run` starts; VMPOOLER_LOG_FORMAT is the default.",
)
@colour_option(help="When to use colours. NO_COLOR in the environment means never.  [default: auto]")
@click.pass_context
def cli(context: click.Context, config_file: str | None, verbose: bool, log_format: str | None) -> None:
    """Pool workers, dead letters, auto-purge and health checks for VMPooler's queues.

    It reads VMPooler's own configuration and works on VMPooler's own Redis (REDIS_URL, or the :redis: section).

    Example: vmpooler-tasks health
    """
    choose_colour(context)
    context.obj = GlobalOptions(config_file, verbose, log_format)


def main() -> None:
    """Run a command. Every error is one line on stderr and an exit status of sysexits.h.

    A wrong option is 64, not click's 2: with 2, `health` reports unhealthy.
    """
    _print_any_text()
    try:
        status = _status(cli.main)
        sys.stdout.flush()  # here, where a closed pipe can still be distinguished from a failure
        sys.exit(status)
    except click.ClickException as error:
        sys.exit(_complain(error))
    except (click.Abort, KeyboardInterrupt) as stop:
        if not isinstance(stop.__cause__, KeyboardInterrupt):  # click has ended the line of the ^C
            sys.stderr.write(f"{PROGRAM}: stopped\n")
        sys.exit(130)
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nothing more is to be written, at exit either
        if isinstance(error, BrokenPipeError):
            sys.exit(141)  # the reader has closed the pipe (`| head`)
        named = f"{error.filename}: " if error.filename else ""
        _write_error(f"{PROGRAM}: {named}{error.strerror or error}")
        sys.exit(os.EX_IOERR)
    except VmpoolerTasksError as error:
        _write_error(f"{PROGRAM}: {error}")
        sys.exit(error.exit_status)


def _print_any_text() -> None:
    """Escape what the encoding of a stream lacks: the locale's may lack characters, and a path need not be UTF-8."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _status(run: Callable[..., Any]) -> Any:
    out = sys.stdout
    try:
        return run(standalone_mode=False) or 0
    except SystemExit as end:
        if sys.stdout is not out:  # so click answers a broken pipe, with a status that `health` has another use for
            raise BrokenPipeError from None
        return end.code  # a command's own exit status


def _complain(error: click.ClickException) -> int:
    """Write the error to stderr in one line, and return the exit status. No command at all is a request for help."""
    if isinstance(error, NoArgsIsHelpError):
        click.echo(error.format_message())
        return os.EX_OK
    context = getattr(error, "ctx", None)
    program = context.command_path.strip() if context else PROGRAM
    hint = f" (see {program} --help)" if isinstance(error, click.UsageError) else ""
    message = " ".join(error.format_message().split())
    _write_error(f"{program}: {message}{hint}")
    return os.EX_USAGE if isinstance(error, click.UsageError) else error.exit_code


def _write_error(text: str) -> None:
    """Write to stderr with control characters escaped; on a terminal wrapped between words."""
    columns = shutil.get_terminal_size().columns if sys.stderr.isatty() else None
    for line in text.split("\n"):
        sys.stderr.write("\n".join(wrap(on_one_line(line), columns)) + "\n")
