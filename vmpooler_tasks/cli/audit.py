"""`vmpooler-tasks audit`"""

from collections.abc import Iterable, Mapping, Sequence

import click

from vmpooler_tasks.cli.shared import options
from vmpooler_tasks.cli.shared.context import Context, pass_context
from vmpooler_tasks.cli.shared.output import print_json, print_line, print_table, utc_time
from vmpooler_tasks.store.fleet.audit import OPERATION, AuditEntry, AuditFilter, search

QUIET_PURGE = {("action", "purge"), ("who", "beat"), ("count", "0")}
OWN_COLUMNS = ("action", "who", "why", "count", OPERATION)


@click.command(epilog="Example: vmpooler-tasks audit --limit 20")
@click.option(
    "--limit",
    type=click.IntRange(1, 10_000),
    default=50,
    show_default=True,
    help="Maximum number of entries, the newest first.",
)
@click.option("--who", default="", help="Only entries whose author contains this text.")
@click.option("--action", default="", help="Only entries whose action contains this text.")
@click.option("--since", type=options.MOMENT, help="Only entries since then: a time, or how long ago (2h).")
@options.as_json
@pass_context
def audit(context: Context, limit: int, who: str, action: str, since: float | None, as_json: bool) -> None:
    """Show who redrove, deleted and purged what, when and why.

    Automatic purges in sequence that found nothing are one row; --json shows each.
    """
    entries = search(context.db, AuditFilter(who=who, action=action, since=since), limit).entries
    if as_json:
        print_json([{"at": entry.at, **entry.fields} for entry in entries])
        return
    if not entries:
        print_line("Nothing was redriven, deleted or purged yet.")
        return
    now = context.db.clock()
    print_table(
        ("TIME", "ACTION", "WHO", "COUNT", "WHY", "DETAILS"),
        [_row(group, now) for group in _grouped(entries)],
        numbers=("COUNT",),
        below=(("WHO",), ("WHY",), ("DETAILS",)),
    )


def _grouped(entries: Iterable[AuditEntry]) -> list[list[AuditEntry]]:
    """Return the entries, newest first, with automatic purges in sequence that found nothing as one group."""
    groups: list[list[AuditEntry]] = []
    for entry in entries:
        if groups and _is_quiet_purge(entry) and _is_quiet_purge(groups[-1][0]):
            groups[-1].append(entry)
        else:
            groups.append([entry])
    return groups


def _is_quiet_purge(entry: AuditEntry) -> bool:
    return set(entry.fields.items()) - {("dry_run", "true")} == QUIET_PURGE


def _row(group: Sequence[AuditEntry], now: float) -> tuple[object, ...]:
    newest, *others = group
    if not others:
        return (utc_time(newest.at, now), *_columns(newest.fields))
    details = f"{len(group)} automatic purges that found nothing, since {utc_time(group[-1].at, now)}"
    return (utc_time(newest.at, now), "purge", "beat", "0", "", details)


def _columns(fields: Mapping[str, str]) -> tuple[str, ...]:
    details = " ".join(f"{name}={value}" for name, value in fields.items() if name not in OWN_COLUMNS)
    return (
        fields.get("action", ""),
        fields.get("who", ""),
        fields.get("count", ""),
        fields.get("why", ""),
        details,
    )
