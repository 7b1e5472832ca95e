"""The program's name and the options before a command. Imports nothing that `--help` does not need."""

from typing import NamedTuple

PROGRAM = "vmpooler-tasks"


class GlobalOptions(NamedTuple):
    """The options that stand before a command."""

    config_file: str | None
    verbose: bool
    log_format: str | None
