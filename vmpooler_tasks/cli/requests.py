"""`vmpooler-tasks request`"""

import difflib
import sys
import time
from typing import Any

import click
from click.shell_completion import CompletionItem

from vmpooler_tasks.cli.shared import options
from vmpooler_tasks.cli.shared.completion import complete_requestable, complete_requests
from vmpooler_tasks.cli.shared.context import Context, pass_context
from vmpooler_tasks.cli.shared.output import print_json, print_line, print_note, print_table, utc_time
from vmpooler_tasks.cli.shared.program import PROGRAM
from vmpooler_tasks.errors import InvalidInputError, VmpoolerTasksError
from vmpooler_tasks.jobs.requests import create as job
from vmpooler_tasks.jobs.requests.history import RequestHistory, read_history, read_open_histories
from vmpooler_tasks.model.requests import RequestStatus

POLL_SECONDS = 0.5
NOT_FILLED = 1
"""Exit status if `--wait` ends with a request that failed."""


class PoolCount(click.ParamType[tuple[str, int]]):
    """Parses `centos-7=2`; `centos-7` means one VM."""

    name = "POOL=COUNT"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, int]:
        if isinstance(value, tuple):
            return value
        name, separator, count = value.rpartition("=")
        if not separator:
            return value, 1
        if not name or not count.isdecimal() or int(count) < 1:
            self.fail(f"{value!r} is not POOL=COUNT", param, ctx)
        return name, int(count)


class _Requests(click.Group):
    """Takes `request centos-7=2` as `request make centos-7=2`, beside commands like `request show ID`."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in self.commands:
            args = ["make", *args]
        name, command, rest = super().resolve_command(ctx, args)
        return ("" if name == "make" else name), command, rest  # errors must not name a command that nobody typed

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
            args = ["make", *args]  # options may come before the pools
        return super().parse_args(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Return the commands, and the pools and aliases that can be requested."""
        pools = complete_requestable(ctx, self.commands["make"].params[0], incomplete)
        return [*super().shell_complete(ctx, incomplete), *pools]


@click.group(
    cls=_Requests,
    short_help="Request VMs, or show what happened to a request.",
    options_metavar="",
    subcommand_metavar="POOL=COUNT… [--wait] | show ID | list",
    epilog="Example: vmpooler-tasks request centos-7=2 --wait",
)
def request() -> None:
    """Request VMs as VMPooler's API server does, `request POOL=COUNT… [--wait]`, or show what happened to a request."""


@request.command("make", hidden=True, epilog="Example: vmpooler-tasks request centos-7=2 --wait")
@click.argument(
    "requested", nargs=-1, required=True, type=PoolCount(), metavar="POOL=COUNT…", shell_complete=complete_requestable
)
@click.option("--wait", is_flag=True, help="Wait until it is filled or has failed (exit status 0 or 1).")
@options.as_json
@pass_context
def make(context: Context, requested: tuple[tuple[str, int], ...], wait: bool, as_json: bool) -> None:
    """Request VMs of each pool, by its name or an alias. The VMs of an alias are spread over its pools by weight."""
    try:
        request_id = job.create(context.db, context.settings, requested, context.db.clock())
    except InvalidInputError as error:
        near = difflib.get_close_matches(requested[0][0], list(request.commands), n=1)
        hint = f", or the command `{PROGRAM} request {near[0]}`" if near else ""
        raise click.UsageError(f"{error.args[0]}{hint}") from error
    if not context.settings.config.manage_pools:
        print_note("manage_pools is off: VMPooler's own manager has to fill the request")
    if not wait:
        if as_json:
            print_json({"request": request_id})
        else:
            print_line(f"Request {request_id}; follow it with `{PROGRAM} request show {request_id}`")
        return
    _wait(context, request_id, as_json)
    history = read_history(context.db, request_id)
    _print(context, history, as_json)
    sys.exit(0 if history.status == RequestStatus.READY else NOT_FILLED)


def _wait(context: Context, request_id: str, as_json: bool) -> None:
    """Wait until the request is filled or has failed. If that is interrupted, name the command that shows the rest."""
    try:
        if not as_json:
            sys.stderr.write(f"Waiting for request {request_id} …\n")
        while not job.is_closed(context.db, request_id):
            time.sleep(POLL_SECONDS)
    except (KeyboardInterrupt, VmpoolerTasksError):
        sys.stderr.write(f"\nThe request goes on. Follow it with `{PROGRAM} request show {request_id}`\n")
        raise


@request.command(short_help="The whole story of a request.", epilog="Example: vmpooler-tasks request show 0b2f1c9e-…")
@click.argument("request_id", metavar="ID", shell_complete=complete_requests)
@options.as_json
@pass_context
def show(context: Context, request_id: str, as_json: bool) -> None:
    """Show the history of a request: its VMs, attempts and dead letters, in order of time."""
    try:
        history = read_history(context.db, request_id)
    except InvalidInputError as error:
        raise click.ClickException(str(error.args[0])) from error
    _print(context, history, as_json)


@request.command("list", epilog="Example: vmpooler-tasks request list")
@options.as_json
@pass_context
def list_requests(context: Context, as_json: bool) -> None:
    """List the requests that wait or are being filled."""
    histories = read_open_histories(context.db)
    if as_json:
        print_json([one.as_json() for one in histories])
    elif not histories:
        print_line("No request is waiting or being filled.")
    else:
        print_table(
            ("ID", "STATUS", "REQUESTED", "DELIVERED", "RETRIES"),
            [
                (one.id, one.status, one.requested, sum(map(len, one.delivered.values())), one.retries)
                for one in histories
            ],
            numbers=("DELIVERED", "RETRIES"),
            below=(("REQUESTED",),),
        )


def _print(context: Context, history: RequestHistory, as_json: bool) -> None:
    if as_json:
        print_json(history.as_json())
        return
    colour = {"ready": "green", "failed": "red", "deleted": "red"}.get(history.status, "yellow")
    why = f": {history.reason}" if history.reason else ""
    print_line(f"{history.status.upper()}{why}  ({history.requested}, {history.retries} retries)", colour)
    for part, names in history.delivered.items():
        print_line(f"  {part}  {', '.join(names) or 'none yet'}")
    if history.events:
        now = context.db.clock()
        print_table(
            ("TIME", "WHAT", "VM", "POOL", "DETAIL"),
            [(utc_time(one.at, now), one.what, one.vm or "-", one.pool or "-", one.detail) for one in history.events],
            below=(("DETAIL",), ("POOL",)),
        )
