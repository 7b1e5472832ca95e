"""Create the settings and the database of a command when it first uses them."""

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
from vmpooler_tasks.config.extra_files import NO_FILE
from vmpooler_tasks.model.names import readable
from vmpooler_tasks.store import Database

P = ParamSpec("P")
R = TypeVar("R")

LOCAL_ENVIRONMENT = Path(".vmpooler-tasks/env")
"""The file that `vmpooler-tasks run` keeps in this folder while it runs, for other terminals (local.foreman)."""


class Context:
    """A command's settings and database. Configures the log as the global options say."""

    def __init__(self, options: GlobalOptions) -> None:
        self.config_file = Path(options.config_file) if options.config_file else None
        # A command prints what it did. Log lines would repeat it.
        logs.configure(logs.choose(options.log_format), logging.INFO if options.verbose else logging.CRITICAL)

    def log_always(self) -> None:
        """Write the log to stderr without --verbose, for a command that runs until it is stopped."""
        logging.getLogger().setLevel(logging.INFO)

    @cached_property
    def settings(self) -> Settings:
        settings = load_settings(file=self.config_file)
        if settings.source == NO_FILE and not os.environ.get("REDIS_URL") and LOCAL_ENVIRONMENT.exists():
            sys.stderr.write(
                f"{PROGRAM}: no configuration is set. `. {LOCAL_ENVIRONMENT}` sets that of the `run` in this folder\n"
            )
        return settings

    @cached_property
    def db(self) -> Database:
        return Database(self.settings.redis.location)

    @cached_property
    def broker(self) -> Database:
        """Return the Redis with Celery's messages."""
        return self.db if self.settings.broker_url is None else Database(self.settings.broker_location)


def pass_context(command: Callable[Concatenate[Context, P], R]) -> Callable[P, R]:
    """Pass this run's Context to a command as its first argument. The first command that needs it creates it."""

    @functools.wraps(command)
    def with_context(*args: P.args, **kwargs: P.kwargs) -> R:
        return command(context_of(click.get_current_context()), *args, **kwargs)

    return with_context


def context_of(run: click.Context) -> Context:
    """Return the Context of this run. The first call creates it."""
    root = run.find_root()
    if not isinstance(root.obj, Context):
        root.obj = Context(root.obj)
    return root.obj


def who_am_i() -> str:
    """Return user@host, for the audit."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # the user of a container may have no name
        user = "unknown"
    return readable(f"{user}@{socket.gethostname()}".encode("utf-8", "surrogateescape"))
