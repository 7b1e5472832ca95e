"""`vmpooler-tasks config`"""

import sys
from pathlib import Path

import click

from vmpooler_tasks.cli.shared import options
from vmpooler_tasks.cli.shared.context import Context, pass_context
from vmpooler_tasks.cli.shared.output import print_json, print_line, print_table
from vmpooler_tasks.config import load_settings
from vmpooler_tasks.errors import ConfigurationError
from vmpooler_tasks.tasks.observe.startup import feature_lines
from vmpooler_tasks.tasks.pool_context import try_providers


@click.group()
def config() -> None:
    """Validate the configuration, or show the effective values.

    Example: vmpooler-tasks config check vmpooler.yaml
    """


@config.command(epilog="Example: vmpooler-tasks config check /etc/vmpooler/vmpooler.yaml")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path), required=False)
@options.as_json
@pass_context
def check(context: Context, file: Path | None, as_json: bool) -> None:
    """Check a configuration, and show all its problems. Exit status: 0 valid, 78 not valid.

    If manage_pools is on, load the providers as a worker does.
    """
    try:
        settings = load_settings(file=file) if file else context.settings
        if settings.config.manage_pools:
            try_providers(settings)
    except ConfigurationError as error:
        if not as_json:
            raise
        print_json({"source": error.source, "valid": False, "problems": error.problems})
        sys.exit(error.exit_status)
    if as_json:
        print_json({"source": settings.source, "valid": True, "problems": []})
        return
    print_line(f"{settings.source} is valid.", "green")
    for line in feature_lines(settings):
        print_line("  " + line.removeprefix("[*] [config] "))


@config.command(short_help="Show the effective values.", epilog="Example: vmpooler-tasks config show --json")
@options.as_json
@pass_context
def show(context: Context, as_json: bool) -> None:
    """Show the effective values of the file, the environment and the defaults, without secrets."""
    values = {"source": context.settings.source, **context.settings.published()}
    if as_json:
        print_json(values)
    else:
        print_table(("OPTION", "VALUE"), list(values.items()), below=(("VALUE",),))
