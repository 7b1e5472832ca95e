"""What every command needs: settings and database, made when first asked for."""

import getpass
import logging
import os
import socket
import sys
from functools import cached_property
from pathlib import Path

import click

from vmpooler_tasks import logs
from vmpooler_tasks.config import Settings, load_settings
from vmpooler_tasks.config.load import NO_FILE
from vmpooler_tasks.store import Database

PROGRAM = "vmpooler-tasks"

RUNNING_HERE = Path(".vmpooler-tasks/env")
"""What `vmpooler-tasks run` in this folder keeps for other terminals while it runs (local.foreman)."""


class Context:
    def __init__(self, config_file: str | None, verbose: bool, log_format: str | None = None) -> None:
        self.config_file = Path(config_file) if config_file else None
        # A command shows what it did itself; the log's lines beside it would say everything twice.
        logs.configure(logs.choose(log_format), logging.INFO if verbose else logging.CRITICAL)

    def log_always(self) -> None:
        """For what runs on: its log is what there is to see."""
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


pass_context = click.make_pass_decorator(Context)


def who_am_i() -> str:
    """user@host, for the audit."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        user = "unknown"
    return f"{user}@{socket.gethostname()}"
