"""`vmpooler-tasks run`"""

import os
import sys

import click

from vmpooler_tasks.cli.shared.context import Context, pass_context
from vmpooler_tasks.local import foreman


@click.command(
    short_help="Run workers, beat, web and Flower here, to try them out.",
    epilog="Example: VMPOOLER_CONFIG_FILE=deploy/vmpooler.yaml vmpooler-tasks run",
)
@pass_context
def run(context: Context) -> None:
    """Run workers, beat, web and Flower here, to try them out. Redis is a private one, unless REDIS_URL is set."""
    settings = context.settings
    if context.config_file:
        os.environ["VMPOOLER_CONFIG_FILE"] = str(context.config_file.resolve())
        os.environ.pop("VMPOOLER_CONFIG", None)
    sys.exit(foreman.run(settings))
