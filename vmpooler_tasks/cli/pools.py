"""`vmpooler-tasks pools`"""

import sys
from collections.abc import Sequence

import click

from vmpooler_tasks.cli.shared import options
from vmpooler_tasks.cli.shared.completion import complete_pools
from vmpooler_tasks.cli.shared.context import Context, pass_context, who_am_i
from vmpooler_tasks.cli.shared.output import age, print_json, print_json_line, print_line, print_table, repeat
from vmpooler_tasks.errors import InvalidInputError
from vmpooler_tasks.jobs.ownership.adopt import Adoption, find_foreign, marking_provider_of
from vmpooler_tasks.jobs.ownership.adopt import adopt as adopt_vms
from vmpooler_tasks.jobs.pools.control import Operator, OrderReport, PoolControl
from vmpooler_tasks.jobs.pools.overview import PoolRow, overview
from vmpooler_tasks.model.pools.state import PoolStateName
from vmpooler_tasks.tasks.pool_context import build_context

WATCH_SECONDS = 2.0
HEADINGS = ("POOL", "SIZE", "READY", "PENDING", "RUNNING", "FAILED/1H", "STATE", "DETAIL")

EXPLAINED = (
    PoolStateName.REMOVED,
    PoolStateName.STALLED,
    PoolStateName.SUSPENDED,
    PoolStateName.PAUSED,
    PoolStateName.DRAINING,
    PoolStateName.BRAKED,
)
"""States whose reason is shown beside the state."""

HINDERED = 1
"""Exit status of `retry` if something hinders the clone."""


@click.group(
    invoke_without_command=True,
    short_help="Show each pool's state; pause, drain, resume, retry, keep, confirm or adopt.",
    epilog="Example: vmpooler-tasks pools --watch",
)
@click.option("--watch", is_flag=True, help="Repeat every two seconds, until Ctrl-C.")
@options.as_json
@click.pass_context
def pools(invoked: click.Context, watch: bool, as_json: bool) -> None:
    """Show the state of each pool: its size, its VMs by queue, how many failed in the last hour, and why it lacks VMs.

    With --json also the VMs that are being cloned or wait for their destruction, and the provider.
    """
    if invoked.invoked_subcommand is None:
        _show_pools(watch=watch, as_json=as_json)


@pass_context
def _show_pools(context: Context, watch: bool, as_json: bool) -> None:
    def show() -> None:
        now = context.db.clock()
        _, rows = overview(context.db, context.settings, now)
        if as_json:
            shown = [row.as_json() for row in rows]
            (print_json_line if watch else print_json)(shown)
        else:
            if watch and sys.stdout.isatty():
                click.clear()
            _show(rows, now)

    if watch:
        repeat(show, WATCH_SECONDS)
    show()


def _show(rows: list[PoolRow], now: float) -> None:
    if not rows:
        print_line("No pools: none is configured, and no VMPooler has registered one.")
        return
    print_table(
        HEADINGS,
        [
            (row.pool, row.size, row.ready, row.pending, row.running, row.failures, _state(row, now), _detail(row, now))
            for row in rows
        ],
        numbers=HEADINGS[1:-2],
        below=(("STATE",), ("DETAIL",)),
    )


def _state(row: PoolRow, now: float) -> str:
    """Return the state in words; times as how long ago, or how long still."""
    match row.state:
        case PoolStateName.FULL:
            return "full"
        case PoolStateName.SHORT:
            return row.why
        case PoolStateName.EMPTY:
            return f"empty: {row.why}"
        case PoolStateName.SUSPENDED:
            return f"suspended {_how_long(row.until or 0, now)}"
        case PoolStateName.STALLED:
            since = f" for {_ago(row.since, now)}" if row.since else ""
            return f"short by {row.size - row.ready}, not moving{since}"
        case _:
            return f"{row.state} for {_ago(row.since, now)}" if row.since else str(row.state)


def _detail(row: PoolRow, now: float) -> str:
    """Return why the pool is in this state, or the last error, which may have been fixed since; and what is braked."""
    is_braked_beside = row.brake and row.state is not PoolStateName.BRAKED
    parts = (_reason(row, now), f"brake: {row.brake}" if is_braked_beside else "")
    return "; ".join(part for part in parts if part)


def _reason(row: PoolRow, now: float) -> str:
    age_of_error = f" ({_ago(row.last_error_at, now)} ago)" if row.last_error_at else ""
    if row.state in EXPLAINED:
        return row.why + (age_of_error if "Last error: " in row.why else "")
    if row.last_error_at and now - row.last_error_at <= row.failures_seconds:
        return f"last error, {_ago(row.last_error_at, now)} ago: {row.last_error}"
    return f"last error: {row.last_failure}" if row.last_failure else ""


def _ago(epoch: float, now: float) -> str:
    return age(now - epoch)


def _how_long(until: float, now: float) -> str:
    left = until - now
    return f"for {age(left)} more" if left > 0 else "until a clone succeeds"


def _pools_argument(command: options.Decorated) -> options.Decorated:
    return click.argument("names", nargs=-1, required=True, metavar="POOL…", shell_complete=complete_pools)(command)


@pools.command(epilog="Example: vmpooler-tasks pools pause centos-7-x86_64 --why 'new disks'")
@_pools_argument
@options.why
@options.as_json
@pass_context
def pause(context: Context, names: tuple[str, ...], why: str | None, as_json: bool) -> None:
    """Give these pools no new clones. Checks, lifetimes and destructions go on.

    A POOL is a name or an alias. `resume` ends the pause.
    """
    control = _control(context, why)
    _print_orders([control.pause(pool) for pool in _find(control, names)], as_json)


@pools.command(epilog="Example: vmpooler-tasks pools drain centos-7-x86_64 --why 'hypervisor maintenance'")
@_pools_argument
@options.why
@options.as_json
@pass_context
def drain(context: Context, names: tuple[str, ...], why: str | None, as_json: bool) -> None:
    """Pause these pools, and destroy their pending and ready VMs. Running VMs stay with their users.

    A POOL is a name or an alias. `resume` ends it: the pools fill themselves again.
    """
    control = _control(context, why)
    _print_orders([control.drain(pool) for pool in _find(control, names)], as_json)


@pools.command(epilog="Example: vmpooler-tasks pools resume centos-7-x86_64")
@_pools_argument
@options.why
@options.as_json
@pass_context
def resume(context: Context, names: tuple[str, ...], why: str | None, as_json: bool) -> None:
    """End the pause of these pools, also while they drain, and an order to keep them. A POOL is a name or an alias."""
    control = _control(context, why)
    _print_orders([control.resume(pool) for pool in _find(control, names)], as_json)


@pools.command(epilog="Example: vmpooler-tasks pools keep centos-6-x86_64 --why 'a user still needs them'")
@_pools_argument
@options.why
@options.as_json
@pass_context
def keep(context: Context, names: tuple[str, ...], why: str | None, as_json: bool) -> None:
    """Keep the VMs of these pools if they are in no configuration. Without it, they are drained after a grace.

    A POOL is a name. `resume` ends it.
    """
    control = _control(context, why)
    _print_orders([control.keep(pool) for pool in _find(control, names)], as_json)


@pools.command(epilog="Example: vmpooler-tasks pools confirm centos-7-x86_64 --why 'the old folder is empty'")
@click.argument("names", nargs=-1, metavar="[POOL…]", shell_complete=complete_pools)
@click.option("--provider", "providers", multiple=True, metavar="NAME", help="VMs of no pool (may be given again).")
@options.why
@options.as_json
@pass_context
def confirm(
    context: Context, names: tuple[str, ...], providers: tuple[str, ...], why: str | None, as_json: bool
) -> None:
    """Release the brake of these pools once: the strays and missing VMs that it holds are completed and destroyed.

    A POOL is a name or an alias. More VMs than the brake held engage it again. First find out why they are unknown.
    With --provider: let the VMs of this installation whose pool is in no configuration be destroyed.
    """
    if not names and not providers:
        raise click.UsageError("name a POOL or a --provider")
    control = _control(context, why)
    pools_found = _find(control, names)
    try:
        for provider in providers:  # before the first brake is released
            control.require_provider(provider)
        orders = [*map(control.confirm, pools_found), *map(control.confirm_provider, providers)]
    except InvalidInputError as error:
        raise click.BadParameter(str(error.args[0]), param_hint="--provider") from error
    _print_orders(orders, as_json)


@pools.command(epilog="Example: vmpooler-tasks pools adopt centos-7-x86_64 pooler-left-over --why 'made by a test'")
@click.argument("name", metavar="POOL", shell_complete=complete_pools)
@click.argument("vms", nargs=-1, metavar="[VM…]")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@options.why
@options.as_json
@pass_context
def adopt(context: Context, name: str, vms: tuple[str, ...], yes: bool, why: str | None, as_json: bool) -> None:
    """List the foreign VMs of a pool, and give them the mark of this installation if you confirm.

    Foreign VMs are in no queue and do not have the mark. Adopted VMs are destroyed, under the brake of the pool. If no
    VM is named, all foreign VMs of the pool are meant. --json without --yes only lists them. The exit status is 1 if
    one of them did not get the mark.
    """
    _control(context, why)  # raises where VMPooler's own manager has the pools
    own, manager = context.settings.pool(name), build_context(context.db, context.settings)
    if own is None:
        raise click.BadParameter(f"no pool {name!r} in {context.settings.source}", param_hint="POOL")
    found = find_foreign(manager, own, vms)
    if as_json and (not yes or not found):
        print_json([one.as_json() for one in found])
        return
    if not found:
        print_line(f"{name}: no foreign VMs")
        return
    if not as_json:
        print_table(("VM", "MARK"), [(one.name, one.mark or "none") for one in found])
    marking_provider_of(manager, own)  # raises if nothing can be adopted
    if not yes:
        click.confirm(f"Adopt {len(found)} VMs of {name}? They are then destroyed", abort=True, err=True)
    done = adopt_vms(manager, own, found, Operator(who=who_am_i(), why=why))
    _print_adoptions(done, as_json=as_json)


def _print_adoptions(done: Sequence[Adoption], *, as_json: bool) -> None:
    if as_json:
        print_json([one.as_json() for one in done])
    else:
        for one in done:
            print_line(f"{one.vm}: {one.error or 'adopted. The next inspections destroy it'}")
    if any(one.error for one in done):
        sys.exit(HINDERED)


@pools.command(epilog="Example: vmpooler-tasks pools retry centos-7-x86_64")
@click.argument("names", nargs=-1, metavar="[POOL…]")
@click.option("--provider", "providers", multiple=True, metavar="NAME", help="This provider (may be given again).")
@options.why
@options.as_json
@pass_context
def retry(context: Context, names: tuple[str, ...], providers: tuple[str, ...], why: str | None, as_json: bool) -> None:
    """Let one clone try a suspended pool or provider now. If it succeeds, the suspension ends.

    This overrules neither an operator's pause nor the refusal beside another pool manager. The exit status is 1 if
    something hinders the clone.
    """
    if not names and not providers:
        raise click.UsageError("name a POOL or a --provider")
    control = _control(context, why)
    pools_found = _find(control, names)
    try:
        providers_found = [control.find_provider(name) for name in providers]
    except InvalidInputError as error:
        raise click.BadParameter(str(error.args[0]), param_hint="--provider") from error
    orders = [*map(control.retry_pool, pools_found), *map(control.retry_provider, providers_found)]
    _print_orders(orders, as_json)
    if any(order.hindered_by for order in orders):
        sys.exit(HINDERED)


def _control(context: Context, why: str | None) -> PoolControl:
    return PoolControl(context.db, context.settings, context.db.clock, Operator(who=who_am_i(), why=why))


def _find(control: PoolControl, names: Sequence[str]) -> list[str]:
    try:
        return control.find(names)
    except InvalidInputError as error:
        raise click.BadParameter(str(error.args[0]), param_hint="POOL") from error


def _print_orders(orders: Sequence[OrderReport], as_json: bool) -> None:
    if as_json:
        print_json([order.as_json() for order in orders])
        return
    for order in orders:
        subject = order.pool if order.pool is not None else f"provider {order.provider}"
        print_line(f"{subject}: {order.text}")
        for hindrance in order.hindered_by:
            print_line(f"  ! {hindrance}", "yellow")
