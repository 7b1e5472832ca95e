"""`vmpooler-tasks pools`"""

import sys
import time

import click

from vmpooler_tasks.cli.shared import options
from vmpooler_tasks.cli.shared.context import Context, pass_context
from vmpooler_tasks.cli.shared.output import age, print_json, print_json_line, print_line, print_table
from vmpooler_tasks.clock import system_clock
from vmpooler_tasks.jobs.pools.overview import PoolRow, overview

WATCH_SECONDS = 2.0
HEADINGS = ("POOL", "SIZE", "READY", "PENDING", "RUNNING", "FAILED", "LAST FAILURE")


@click.command(short_help="Show the state of each pool.", epilog="Example: vmpooler-tasks pools --watch")
@click.option("--watch", is_flag=True, help="Repeat every two seconds, until Ctrl-C.")
@options.as_json
@pass_context
def pools(context: Context, watch: bool, as_json: bool) -> None:
    """Show the state of each pool: its size, its VMs by queue, and how many failed in the last hour.

    With --json also the VMs that are being cloned or wait for their destruction, and the provider.
    """
    while True:
        _, rows = overview(context.db, context.settings, system_clock())
        if as_json:
            shown = [row.as_json() for row in rows]
            (print_json_line if watch else print_json)(shown)
        else:
            if watch and sys.stdout.isatty():
                click.clear()
            _show(rows)
        if not watch:
            return
        sys.stdout.flush()
        time.sleep(WATCH_SECONDS)


def _show(rows: list[PoolRow]) -> None:
    if not rows:
        print_line("No pools: none is configured, and no VMPooler has registered one.")
        return
    print_table(
        HEADINGS,
        [(row.pool, row.size, row.ready, row.pending, row.running, row.failures, row.last_failure) for row in rows],
        numbers=HEADINGS[1:-1],
    )
    suspended = {row.provider: row.provider_closed_until for row in rows if row.provider_closed_until}
    for provider, until in suspended.items():
        print_line(f"! provider {provider} is suspended {_how_long(until)}: it failed repeatedly, or hung", "yellow")
    for row in rows:
        if row.pool_closed_until:
            print_line(f"! {row.pool} is suspended {_how_long(row.pool_closed_until)}: {row.last_failure}", "yellow")


def _how_long(until: float) -> str:
    left = until - system_clock()
    return f"for {age(left)} more" if left > 0 else "until a clone succeeds"
