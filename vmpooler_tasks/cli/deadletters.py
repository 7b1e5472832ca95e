"""`vmpooler-tasks dlq`"""

import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice
from typing import Any, NamedTuple

import click

from vmpooler_tasks.cli.redrive.command import HOW_TO_SELECT_ALL, redrive
from vmpooler_tasks.cli.shared import options
from vmpooler_tasks.cli.shared.colour import colour_option
from vmpooler_tasks.cli.shared.completion import complete_dead_letters
from vmpooler_tasks.cli.shared.context import Context, pass_context, who_am_i
from vmpooler_tasks.cli.shared.output import print_json, print_line, print_note, print_table, utc_time
from vmpooler_tasks.cli.shared.search import Search
from vmpooler_tasks.cli.shared.selection import resolved
from vmpooler_tasks.cli.shared.table import Table
from vmpooler_tasks.errors import InvalidInputError
from vmpooler_tasks.jobs.deadletters import query as job
from vmpooler_tasks.jobs.deadletters.delete import DELETING
from vmpooler_tasks.jobs.deadletters.delete import delete as delete_all
from vmpooler_tasks.jobs.deadletters.export import LINES, ExportFormat, as_text
from vmpooler_tasks.model.deadletters.entry import StoredDeadLetter
from vmpooler_tasks.model.deadletters.filters import DeadLetterFilter, filter_of, refuse_everything

MESSAGE_WIDTH = 100
LIST_HEADINGS = ("FAILED AT", "QUEUE", "VM OR TASK", "POOL", "RETRIES", "ID", "ERROR")

read_limit = click.option("--limit", type=click.IntRange(min=1), help="At most so many, the newest first.")


class _Selection(NamedTuple):
    """The dead letters that a command reads. `unreadable` names the keys that are not sorted sets, and are left out."""

    wanted: DeadLetterFilter
    unreadable: list[str]

    def end(self) -> None:
        """End the program with EX_DATAERR if a key was left out: what was printed is not complete."""
        if self.unreadable:
            sys.exit(os.EX_DATAERR)


@click.group()
def dlq() -> None:
    """Search, redrive, delete and export dead letters.

    Example: vmpooler-tasks dlq list --queue clone --since 2h
    """


dlq.add_command(redrive)


@dlq.command("list", epilog="Example: vmpooler-tasks dlq list --match 'template .* not exist' --since 24h")
@options.dead_letter_filters
@click.option("--limit", type=click.IntRange(1, 100_000), default=50, show_default=True, help="Dead letters on a page.")
@click.option("--after", metavar="CURSOR", help="The next page: the cursor that the last page printed.")
@options.as_json
@pass_context
def list_dead_letters(context: Context, /, limit: int, after: str | None, as_json: bool, **filters: Any) -> None:
    """List dead letters, newest first."""
    selection = _select(context, filter_of(filters))
    table = Table(LIST_HEADINGS, numbers=("RETRIES",), below=(("VM OR TASK", "POOL"), ("ERROR",)))
    page: list[StoredDeadLetter] = []
    with _search(context, selection, on_pause=table.flush_pending) as search:
        found = _find_after(context, selection.wanted, after, search.on_read)
        for entry in search.counted(islice(found, limit)):
            page.append(entry)
            if not as_json:
                table.add(_row(entry, context.db.clock()))
        cursor = job.cursor_of(page[-1]) if next(found, None) else None
    if as_json:
        print_json({"entries": [entry.as_json() for entry in page], "next": cursor})
    elif page:
        table.flush_pending()
        if cursor:
            print_line(f"More with --after {cursor}")
    elif not selection.unreadable:
        print_line("No dead letters." if after is None else "No more dead letters.")
    selection.end()


def _select(context: Context, wanted: DeadLetterFilter) -> _Selection:
    """Return what to read: the filter with aliases resolved, without the queues whose keys are not sorted sets.

    These are named on stderr. Raises WrongTypeError if no queue is left, and BadParameter for a name that is unknown.
    """
    left, bad = job.without_unreadable(context.db, wanted)
    if bad:
        why = "it is not a sorted set" if len(bad) == 1 else "they are not sorted sets"
        print_note(f"left out, since {why}: {', '.join(bad)}")
    return _Selection(resolved(context, left), bad)


def _search(context: Context, selection: _Selection, **how: Any) -> Search:
    return Search(job.count(context.db, selection.wanted), **how)


def _find_after(
    context: Context, wanted: DeadLetterFilter, after: str | None, on_read: job.OnRead
) -> Iterator[StoredDeadLetter]:
    try:
        return job.find_after(context.db, wanted, after, on_read=on_read)
    except ValueError as error:
        raise click.BadParameter(f"{after!r} is not a cursor", param_hint="--after") from error


def _row(entry: StoredDeadLetter, now: float) -> tuple[Any, ...]:
    message = entry.text("error_message")
    short = message if len(message) <= MESSAGE_WIDTH else message[: MESSAGE_WIDTH - 1] + "…"
    return (
        utc_time(entry.score, now),
        entry.queue,
        entry.text("vm") or entry.text("task") or "-",
        entry.text("pool") or "-",
        entry.text("retry_count"),
        entry.id,
        f"{entry.text('error_class')}: {short}",
    )


@dlq.command(epilog="Example: vmpooler-tasks dlq show 0123456789abcdef")
@click.argument("ids", nargs=-1, required=True, metavar="ID…", shell_complete=complete_dead_letters)
@options.as_json
@pass_context
def show(context: Context, ids: tuple[str, ...], as_json: bool) -> None:
    """Show everything about a dead letter, by its id."""
    selection = _select(context, DeadLetterFilter(ids=frozenset(ids)))
    with _search(context, selection) as search:
        entries = list(search.counted(job.find(context.db, selection.wanted, on_read=search.on_read)))
    if not selection.unreadable:
        _refuse_missing(ids, entries)
    if as_json:
        print_json([job.detail(entry) for entry in entries])
    else:
        for entry in entries:
            _print_detail(entry)
    selection.end()


def _print_detail(entry: StoredDeadLetter) -> None:
    for name, value in {**entry.as_json(), "attempts": _attempts(entry)}.items():
        first, *others = as_text(value).rstrip().split("\n")
        print_line(f"{name + ':':<14} {first}", hang=15)
        for line in others:
            print_line(" " * 15 + line, hang=17)
    print_line("")


def _attempts(entry: StoredDeadLetter) -> str:
    """Return the attempts as lines of text, in order of time."""
    found = job.detail(entry)
    unknown = found["attempts_unknown"]
    return "\n".join([*([f"{unknown} older, not kept"] if unknown else []), *map(_attempt, found["attempts"])])


def _attempt(attempt: Mapping[str, Any]) -> str:
    vm, what = attempt.get("vm"), f"{attempt.get('error_class', '')}: {attempt.get('error_message', '')}"
    text = f"{attempt.get('failed_at', '-')}  {f'{vm}  ' if vm else ''}{what}"
    if not attempt.get("redriven_at"):
        return text
    run = f" in run {attempt['run']}" if attempt.get("run") else ""
    edited = " with changed arguments" if attempt.get("edited") else ""
    return f"{text}\n  run again {attempt['redriven_at']} by {attempt.get('who', '-')}{run}{edited}"


def _refuse_missing(ids: tuple[str, ...], entries: list[StoredDeadLetter]) -> None:
    missing = sorted(set(ids) - {entry.id for entry in entries})
    if missing:
        raise click.ClickException(f"no dead letter with id {', '.join(missing)}")


@dlq.command(epilog="Example: vmpooler-tasks dlq stats --since 24h")
@options.dead_letter_filters
@read_limit
@options.as_json
@pass_context
def stats(context: Context, /, limit: int | None, as_json: bool, **filters: Any) -> None:
    """Count dead letters by error, without numbers and names."""
    chosen = filter_of(filters)
    selection = _select(context, chosen)
    selected = Counter[str]()
    with _search(context, selection, noun="counted") as search:
        found = search.counted(islice(job.find(context.db, selection.wanted, on_read=search.on_read), limit))
        groups = job.group(_counted_by_queue(found, selected))
    sizes = job.sizes(context.db)
    counts = {str(queue): selected[queue] for queue in selection.wanted.queues}
    if as_json:
        print_json({"sizes": sizes, "selected": counts, "groups": [group.as_json() for group in groups]})
    else:
        is_part = chosen != DeadLetterFilter() or limit is not None
        of_all = f"; {sum(sizes.values())} dead letters in all queues" * is_part
        print_line("Total: " + ", ".join(f"{count} {queue}" for queue, count in counts.items()) + of_all)
        if groups:
            _print_groups(groups, context.db.clock())
    selection.end()


def _counted_by_queue(found: Iterable[StoredDeadLetter], counts: Counter[str]) -> Iterator[StoredDeadLetter]:
    for entry in found:
        counts[entry.queue] += 1
        yield entry


def _print_groups(groups: Iterable[job.DeadLetterGroup], now: float) -> None:
    print_table(
        ("COUNT", "NEWEST", "OLDEST", "QUEUES", "POOLS", "EXAMPLE", "ERROR"),
        [
            (
                group.count,
                utc_time(group.newest, now),
                utc_time(group.oldest, now),
                ",".join(sorted(group.queues)),
                _few(sorted(group.pools)),
                group.example_id,
                f"{group.error_class}: {group.message[:MESSAGE_WIDTH]}",
            )
            for group in groups
        ],
        numbers=("COUNT",),
        below=(("POOLS",), ("ERROR",)),
    )


def _few(names: list[str], max_names: int = 2) -> str:
    more = len(names) - max_names
    return ",".join(names[:max_names]) + (f" +{more}" if more > 0 else "")


@dlq.command(epilog="Example: vmpooler-tasks dlq delete --queue tasks --until 24h --why 'fixed in #42'")
@click.argument("ids", nargs=-1, metavar="[ID]…", shell_complete=complete_dead_letters)
@options.dead_letter_filters
@read_limit
@click.option("--all", "every", is_flag=True, help="Every dead letter of the queues named, or of all.")
@click.option("--dry-run", is_flag=True, help="Say how many; delete nothing.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@options.why
@options.as_json
@pass_context
def delete(
    context: Context,
    /,
    ids: tuple[str, ...],
    limit: int | None,
    every: bool,
    dry_run: bool,
    yes: bool,
    why: str | None,
    as_json: bool,
    **filters: Any,
) -> None:
    """Delete dead letters, by id or filter. The audit keeps who did it, and why."""
    wanted = filter_of({**filters, "ids": ids})
    if not every:
        try:
            refuse_everything(wanted, override=HOW_TO_SELECT_ALL)
        except InvalidInputError as error:
            raise click.UsageError(str(error.args[0])) from error
    selection = _Selection(resolved(context, wanted), [])
    with _search(context, selection) as search:
        found = job.find(context.db, selection.wanted, on_read=search.on_read)
        entries = list(search.counted(islice(found, limit)))
    if ids and limit is None:
        _refuse_missing(ids, entries)
    if not dry_run:
        context.settings.refuse_if_observing(DELETING)
    if not dry_run and not yes and entries:
        click.confirm(f"Delete {len(entries)} dead letters?", abort=True, err=True)
    deleted = 0 if dry_run else delete_all(context.db, entries, who=who_am_i(), why=why)
    if as_json:
        print_json({"dry_run": dry_run, "found": len(entries), "deleted": deleted})
    else:
        print_line(f"Would delete {len(entries)} dead letters." if dry_run else f"Deleted {deleted} dead letters.")


@dlq.command(epilog="Example: vmpooler-tasks dlq export --format csv --since 7d > failures.csv")
@options.dead_letter_filters
@read_limit
@click.option("--format", "form", type=click.Choice(list(map(str, ExportFormat))), default="jsonl", show_default=True)
@click.option(
    "--output",
    type=click.Path(dir_okay=False, allow_dash=True),
    default="-",
    help="A file instead of stdout.",
)
@click.option("--json", "as_json", is_flag=True, help="The same as --format jsonl.")
@colour_option(help="When to use colours.")
@pass_context
def export(context: Context, /, limit: int | None, form: str, output: str, as_json: bool, **filters: Any) -> None:
    """Export the selected dead letters, as JSON lines or CSV."""
    selection = _select(context, filter_of(filters))
    lines_of = LINES[ExportFormat.JSONL if as_json else ExportFormat(form)]
    with _search(context, selection, noun="exported") as search:
        every = job.find(context.db, selection.wanted, on_read=search.on_read)
        found = _with_first_read(islice(every, limit))  # if Redis fails, a file that exists already is not emptied
        with click.open_file(output, "w", encoding="utf-8") as file:
            for line in lines_of(search.counted(found)):
                file.write(line)
            file.flush()  # a write error shows before the export is called done
    sys.stderr.write(f"{search.found} dead letters exported\n")
    selection.end()


def _with_first_read(entries: Iterator[StoredDeadLetter]) -> Iterator[StoredDeadLetter]:
    """Read the first dead letter, and return an iterator over all."""
    return chain(list(islice(entries, 1)), entries)
