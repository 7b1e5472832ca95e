"""`vmpooler-tasks purge`"""

from typing import TYPE_CHECKING

import click

from vmpooler_tasks.cli.shared import options
from vmpooler_tasks.cli.shared.completion import complete_pools
from vmpooler_tasks.cli.shared.context import Context, pass_context, who_am_i
from vmpooler_tasks.cli.shared.lazy import LazyModule
from vmpooler_tasks.cli.shared.output import age, print_json, print_line, print_table
from vmpooler_tasks.errors import InvalidInputError
from vmpooler_tasks.jobs.deadletters.names import pools_named
from vmpooler_tasks.jobs.purge import cycle
from vmpooler_tasks.jobs.purge.options import PurgeOptions, validate
from vmpooler_tasks.jobs.purge.report import PurgeReport
from vmpooler_tasks.model.purge import PurgeTarget

if TYPE_CHECKING:
    from vmpooler_tasks.tasks import enqueue as client
else:
    client = LazyModule("vmpooler_tasks.tasks.enqueue")  # Celery is slow to import

MAX_ROWS = 50


@click.command(epilog="Example: vmpooler-tasks purge --dry-run --pool centos-7-x86_64")
@click.option("--dry-run", is_flag=True, help="Show what would be purged; change nothing.")
@click.option(
    "--pool",
    "pools",
    multiple=True,
    help="Only this pool (may be given again).",
    shell_complete=complete_pools,
)
@click.option(
    "--queue",
    "queues",
    multiple=True,
    type=click.Choice([str(target) for target in PurgeTarget]),
    help="Only this queue (may be given again).",
)
@click.option("--force", is_flag=True, help="Purge even if purge is switched off or purge_max_percent forbids it.")
@click.option("--enqueue", is_flag=True, help="Have a worker do it, and return at once.")
@options.why
@options.as_json
@pass_context
def purge(
    context: Context,
    dry_run: bool,
    pools: tuple[str, ...],
    queues: tuple[str, ...],
    force: bool,
    enqueue: bool,
    why: str | None,
    as_json: bool,
) -> None:
    """Remove stale entries from the queues now. An alias given to --pool means all its pools."""
    pools = tuple(dict.fromkeys(name for one in pools for name in pools_named(context.settings, one) or [one]))
    wanted = PurgeOptions(
        dry_run=dry_run, force=force, pools=pools, queues=queues, keep_entries=True, who=who_am_i(), why=why
    )
    try:
        validate(context.db, context.settings, wanted)
    except InvalidInputError as error:  # the queues are click's choices: a pool is not known
        raise click.BadParameter(str(error.args[0]), param_hint="--pool") from error
    if enqueue:
        _enqueue(
            context,
            as_json,
            dry_run=dry_run,
            pools=pools,
            queues=queues,
            force=force,
            who=wanted.who,
            why=why,
        )
        return
    report = cycle.run(context.db, context.settings, context.db.clock, wanted)
    if as_json:
        print_json(report.as_json())
    else:
        _print_report(report)
        if context.settings.config.observe_only and not dry_run:
            print_line("Nothing was changed: observe_only is on.", "yellow")


def _enqueue(context: Context, as_json: bool, **arguments: object) -> None:
    task_id = client.enqueue_purge(context.settings, arguments)
    if as_json:
        print_json({"task_id": task_id})
    else:
        print_line(f"Enqueued as task {task_id}. The log of the worker that runs it shows the result.")


def _print_report(report: PurgeReport) -> None:
    if report.skipped:
        print_line(f"Nothing done: {report.skipped}.", "yellow")
        return
    counts = report.found if report.dry_run else report.purged
    if report.entries:
        print_table(
            ("QUEUE", "POOL", "AGE", "LIMIT", "VM"),
            [
                (entry.queue, entry.pool, age(entry.age_seconds), age(entry.max_age_seconds), entry.vm)
                for entry in report.entries[:MAX_ROWS]
            ],
            numbers=("AGE", "LIMIT"),
            below=(("VM",),),
        )
        if len(report.entries) > MAX_ROWS:
            print_line(f"… and {len(report.entries) - MAX_ROWS} more (all of them with --json)")
    parts = ", ".join(f"{count} {queue}" for queue, count in counts.items() if count) or "nothing"
    done = "Would purge" if report.dry_run else "Purged"
    print_line(f"{done} {parts} in {report.duration_seconds:.2f}s.")
    for error in report.errors[:MAX_ROWS]:
        print_line(f"! {error}", "yellow")
    if report.error_count > MAX_ROWS:
        print_line(f"! … and {report.error_count - MAX_ROWS} more errors", "yellow")
