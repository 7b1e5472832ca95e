"""The command line, `vmpooler-tasks`."""

import os
import sys

import click

from vmpooler_tasks import __version__
from vmpooler_tasks.cli.audit import audit
from vmpooler_tasks.cli.config import config
from vmpooler_tasks.cli.dlq import dlq
from vmpooler_tasks.cli.doctor import doctor
from vmpooler_tasks.cli.health import health
from vmpooler_tasks.cli.purge import purge
from vmpooler_tasks.cli.run import run
from vmpooler_tasks.errors import VmpoolerTasksError


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="vmpooler-tasks")
@click.option(
    "--config", "config_file", type=click.Path(dir_okay=False), metavar="FILE",
    help="VMPooler's YAML; stands above VMPOOLER_CONFIG and VMPOOLER_CONFIG_FILE.",
)  # fmt: skip
@click.option("-v", "--verbose", is_flag=True, help="Show the log on stderr.")
@click.pass_context
def cli(context: click.Context, config_file: str | None, verbose: bool) -> None:
    """Dead letters, auto-purge and health checks for VMPooler's queues.

    It reads VMPooler's own configuration and works on VMPooler's own Redis (REDIS_URL, or the :redis: section).

    Example: vmpooler-tasks health
    """
    from vmpooler_tasks.cli.context import Context  # noqa: PLC0415 - `--version` and `--help` need no Redis client

    context.obj = Context(config_file, verbose)


for command in (purge, health, dlq, audit, config, doctor, run):
    cli.add_command(command)


def main() -> None:
    """Runs a command; whatever goes wrong is one line on stderr and an exit status of sysexits.h.

    A wrong option is 64, not click's 2: that is `health` saying unhealthy.
    """
    try:
        sys.exit(cli.main(standalone_mode=False) or 0)
    except click.UsageError as error:
        error.show()
        sys.exit(os.EX_USAGE)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.stderr.write("\n")
        sys.exit(130)
    except BrokenPipeError:
        # Whoever read our output has seen enough (`| head`); there is nobody to tell, at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except VmpoolerTasksError as error:
        sys.stderr.write(f"vmpooler-tasks: {error}\n")
        sys.exit(error.exit_status)
