"""`vmpooler-tasks purge`"""

import click

from vmpooler_tasks.cli import options
from vmpooler_tasks.cli.context import Context, pass_context, who_am_i
from vmpooler_tasks.cli.output import age, print_json, print_line, print_table
from vmpooler_tasks.clock import system_clock

SHOWN = 50
QUEUES = ("pending", "ready", "completed", "orphaned", "requests")


@click.command(epilog="Example: vmpooler-tasks purge --dry-run --pool centos-7-x86_64")
@click.option("--dry-run", is_flag=True, help="Say what would be purged; change nothing.")
@click.option("--pool", "pools", multiple=True, help="Only this pool (may be given again).")
@click.option(
    "--queue",
    "queues",
    multiple=True,
    type=click.Choice(QUEUES),
    help="Only this queue (may be given again).",
)
@click.option("--force", is_flag=True, help="Also if purge is switched off or purge_max_percent forbids it.")
@click.option("--enqueue", is_flag=True, help="Let a worker do it, and return at once.")
@options.why
@options.as_json
@pass_context
def purge(
    context: Context, dry_run: bool, pools: tuple[str, ...], queues: tuple[str, ...], force: bool, enqueue: bool,
    why: str | None, as_json: bool,
) -> None:  # fmt: skip
    """Take stale entries out of the queues now."""
    from vmpooler_tasks.jobs import purge as job  # noqa: PLC0415

    _refuse_unknown_pools(context, pools)
    if enqueue:
        _enqueue(
            context,
            as_json,
            dry_run=dry_run,
            pools=pools,
            queues=queues,
            force=force,
            who=who_am_i(),
            why=why,
        )
        return
    order = job.PurgeOrder(
        dry_run=dry_run, force=force, pools=pools, queues=queues, keep_entries=True, who=who_am_i(), why=why
    )
    report = job.run(context.db, context.settings, system_clock, order)
    if as_json:
        print_json(report.as_json())
    else:
        _show(report)


def _refuse_unknown_pools(context: Context, pools: tuple[str, ...]) -> None:
    import difflib  # noqa: PLC0415

    from vmpooler_tasks.store.queues import pool_names  # noqa: PLC0415

    known = [pool.name for pool in context.settings.pools] if pools else []
    known += pool_names(context.db) if pools else []
    for pool in pools:
        if pool not in known:
            near = difflib.get_close_matches(pool, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else f"; there are {', '.join(sorted(set(known))) or 'none'}"
            raise click.BadParameter(f"no pool {pool!r}{hint}", param_hint="--pool")


def _enqueue(context: Context, as_json: bool, **order: object) -> None:
    from vmpooler_tasks.tasks.enqueue import enqueue_purge  # noqa: PLC0415

    task_id = enqueue_purge(context.settings, order)
    if as_json:
        print_json({"task_id": task_id})
    else:
        print_line(f"Enqueued as task {task_id}; a worker's log tells how it goes.")


def _show(report: "job.PurgeReport") -> None:  # type: ignore[name-defined]  # noqa: F821
    if report.skipped:
        print_line(f"Nothing done: {report.skipped}.", "yellow")
        return
    counts = report.found if report.dry_run else report.purged
    if report.entries:
        print_table(
            ("QUEUE", "POOL", "AGE", "LIMIT", "VM"),
            [
                (
                    entry["queue"],
                    entry["pool"],
                    age(entry["age_seconds"]),
                    age(entry["max_age_seconds"]),
                    entry["vm"],
                )
                for entry in report.entries[:SHOWN]
            ],
            numbers=("AGE", "LIMIT"),
        )
        if len(report.entries) > SHOWN:
            print_line(f"… and {len(report.entries) - SHOWN} more (all of them with --json)")
    parts = ", ".join(f"{count} {queue}" for queue, count in counts.items() if count) or "nothing"
    done = "Would purge" if report.dry_run else "Purged"
    print_line(f"{done} {parts} in {report.duration_seconds:.2f}s.")
    for error in report.errors[:SHOWN]:
        print_line(f"! {error}", "yellow")
    if report.error_count > SHOWN:
        print_line(f"! … and {report.error_count - SHOWN} more errors", "yellow")
