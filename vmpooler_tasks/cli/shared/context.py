"""What every command needs: settings and database, made when they are first used."""

import functools
import getpass
import logging
import os
import socket
import sys
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

import click

from vmpooler_tasks import logs
from vmpooler_tasks.cli.shared.program import PROGRAM, GlobalOptions
from vmpooler_tasks.config import Settings, load_settings
from vmpooler_tasks.config.load import NO_FILE
from vmpooler_tasks.store import Database

P = ParamSpec("P")
R = TypeVar("R")

RUNNING_HERE = Path(".vmpooler-tasks/env")
"""What `vmpooler-tasks run` in this folder keeps for other terminals while it runs (local.foreman)."""


class Context:
    """A command's settings and database. Configures the log as the global options say."""

    def __init__(self, options: GlobalOptions) -> None:
        self.config_file = Path(options.config_file) if options.config_file else None
        # A command prints what it did. Log lines beside that would repeat everything.
        logs.configure(logs.choose(options.log_format), logging.INFO if options.verbose else logging.CRITICAL)

    def log_always(self) -> None:
        """Show the log of a command that runs until it is stopped."""
        logging.getLogger().setLevel(logging.INFO)

    @cached_property
    def settings(self) -> Settings:
        settings = load_settings(file=self.config_file)
        if settings.source == NO_FILE and not os.environ.get("REDIS_URL") and RUNNING_HERE.exists():
            sys.stderr.write(f"{PROGRAM}: no configuration is named; `. {RUNNING_HERE}` names the one that runs here\n")
        return settings

    @cached_property
    def db(self) -> Database:
        return Database(self.settings.redis.location)


def pass_context(command: Callable[Concatenate[Context, P], R]) -> Callable[P, R]:
    """Pass this run's Context to a command as its first argument. The first command to need it makes it."""

    @functools.wraps(command)
    def with_context(*args: P.args, **kwargs: P.kwargs) -> R:
        root = click.get_current_context().find_root()
        if not isinstance(root.obj, Context):
            root.obj = Context(root.obj)
        return command(root.obj, *args, **kwargs)

    return with_context


def who_am_i() -> str:
    """Return user@host, for the audit."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        user = "unknown"
    return f"{user}@{socket.gethostname()}"
