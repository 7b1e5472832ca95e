"""`vmpooler-tasks dlq`"""

import csv
import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice
from typing import IO, Any

import click

from vmpooler_tasks.cli.redrive import HOW_TO_SELECT_ALL, redrive
from vmpooler_tasks.cli.shared import options
from vmpooler_tasks.cli.shared.context import Context, pass_context, who_am_i
from vmpooler_tasks.cli.shared.output import print_json, print_line, print_table, utc_time
from vmpooler_tasks.cli.shared.program import PROGRAM
from vmpooler_tasks.errors import InvalidInputError
from vmpooler_tasks.jobs.deadletters import query as job
from vmpooler_tasks.jobs.deadletters.delete import delete as delete_all
from vmpooler_tasks.model.deadletters.entry import FIELDS, StoredDeadLetter
from vmpooler_tasks.model.deadletters.filters import DeadLetterFilter, filter_of, refuse_everything

MESSAGE_WIDTH = 100


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
    wanted = _readable(context, filter_of(filters))
    try:
        page = job.read_page(context.db, wanted, limit, after)
    except ValueError as error:
        raise click.BadParameter(f"{after!r} is not a cursor", param_hint="--after") from error
    if as_json:
        print_json({"entries": [entry.as_json() for entry in page.entries], "next": page.next_cursor})
        return
    if not page.entries:
        print_line("No dead letters." if after is None else "No more dead letters.")
        return
    print_table(
        ("FAILED AT", "QUEUE", "VM OR TASK", "POOL", "RETRIES", "ID", "ERROR"),
        [_row(entry) for entry in page.entries],
        numbers=("RETRIES",),
    )
    if page.next_cursor:
        print_line(f"More with --after {page.next_cursor}")


def _readable(context: Context, wanted: DeadLetterFilter) -> DeadLetterFilter:
    """Return the filter without the queues whose keys are not sorted sets, and warn about these on stderr."""
    left, bad = job.without_unreadable(context.db, wanted)
    if bad:
        sys.stderr.write(f"{PROGRAM}: left out, since they are not sorted sets: {', '.join(bad)}\n")
    return left


def _row(entry: StoredDeadLetter) -> tuple[str, ...]:
    message = entry.text("error_message")
    short = message if len(message) <= MESSAGE_WIDTH else message[: MESSAGE_WIDTH - 1] + "…"
    return (
        utc_time(entry.score),
        entry.queue,
        entry.text("vm") or entry.text("task") or "-",
        entry.text("pool") or "-",
        entry.text("retry_count"),
        entry.id,
        f"{entry.text('error_class')}: {short}",
    )


@dlq.command(epilog="Example: vmpooler-tasks dlq show 0123456789abcdef")
@click.argument("ids", nargs=-1, required=True, metavar="ID…")
@options.as_json
@pass_context
def show(context: Context, ids: tuple[str, ...], as_json: bool) -> None:
    """Show everything about a dead letter, by its id."""
    entries = list(job.find(context.db, _readable(context, DeadLetterFilter(ids=frozenset(ids)))))
    _refuse_missing(ids, entries)
    if as_json:
        print_json([job.detail(entry) for entry in entries])
        return
    for entry in entries:
        for name, value in {**entry.as_json(), "attempts": _attempts(entry)}.items():
            first, *others = _text(value).rstrip().split("\n")
            print_line(f"{name + ':':<14} {first}")
            for line in others:
                print_line(" " * 15 + line)
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
@options.as_json
@pass_context
def stats(context: Context, /, as_json: bool, **filters: Any) -> None:
    """Count dead letters by error, without numbers and names."""
    groups = job.group_by_error(context.db, _readable(context, filter_of(filters)))
    sizes = job.sizes(context.db)
    if as_json:
        print_json({"sizes": sizes, "groups": [group.as_json() for group in groups]})
        return
    print_line("Total: " + ", ".join(f"{count} {queue}" for queue, count in sizes.items()))
    if groups:
        print_table(
            ("COUNT", "NEWEST", "OLDEST", "QUEUES", "POOLS", "EXAMPLE", "ERROR"),
            [
                (
                    group.count,
                    utc_time(group.newest),
                    utc_time(group.oldest),
                    ",".join(sorted(group.queues)),
                    _few(sorted(group.pools)),
                    group.example_id,
                    f"{group.error_class}: {group.message[:MESSAGE_WIDTH]}",
                )
                for group in groups
            ],
            numbers=("COUNT",),
        )


def _few(names: list[str], max_names: int = 2) -> str:
    more = len(names) - max_names
    return ",".join(names[:max_names]) + (f" +{more}" if more > 0 else "")


@dlq.command(epilog="Example: vmpooler-tasks dlq delete --queue tasks --until 24h --why 'fixed in #42'")
@click.argument("ids", nargs=-1, metavar="[ID]…")
@options.dead_letter_filters
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
    entries = list(job.find(context.db, wanted))
    if ids:
        _refuse_missing(ids, entries)
    if not dry_run and not yes and entries:
        click.confirm(f"Delete {len(entries)} dead letters?", abort=True, err=True)
    deleted = 0 if dry_run else delete_all(context.db, entries, who=who_am_i(), why=why)
    if as_json:
        print_json({"dry_run": dry_run, "found": len(entries), "deleted": deleted})
    else:
        print_line(f"Would delete {len(entries)} dead letters." if dry_run else f"Deleted {deleted} dead letters.")


@dlq.command(epilog="Example: vmpooler-tasks dlq export --format csv --since 7d > failures.csv")
@options.dead_letter_filters
@click.option("--format", "form", type=click.Choice(["jsonl", "csv"]), default="jsonl", show_default=True)
@click.option(
    "--output",
    type=click.Path(dir_okay=False, allow_dash=True),
    default="-",
    help="A file instead of stdout.",
)
@click.option("--json", "as_json", is_flag=True, help="The same as --format jsonl.")
@pass_context
def export(context: Context, /, form: str, output: str, as_json: bool, **filters: Any) -> None:
    """Export the selected dead letters, as JSON lines or CSV."""
    entries = job.find(context.db, _readable(context, filter_of(filters)))
    entries = _with_first_read(entries)  # if Redis fails, a file that exists already is not emptied
    write = _write_csv if form == "csv" and not as_json else _write_lines
    with click.open_file(output, "w", encoding="utf-8") as file:
        count = write(file, entries)
        file.flush()  # a write error shows before the export is called done
    sys.stderr.write(f"{count} dead letters exported\n")


def _with_first_read(entries: Iterator[StoredDeadLetter]) -> Iterator[StoredDeadLetter]:
    """Read the first dead letter, and return an iterator over all."""
    return chain(list(islice(entries, 1)), entries)


def _write_lines(file: IO[str], entries: Iterable[StoredDeadLetter]) -> int:
    count = 0
    for count, entry in enumerate(entries, start=1):  # noqa: B007 - the count is returned
        file.write(json.dumps(entry.as_json(), ensure_ascii=False, separators=(",", ":")) + "\n")
    return count


def _write_csv(file: IO[str], entries: Iterable[StoredDeadLetter]) -> int:
    writer = csv.DictWriter(file, ("queue", *FIELDS), extrasaction="ignore")
    writer.writeheader()
    count = 0
    for count, entry in enumerate(entries, start=1):  # noqa: B007 - the count is returned
        writer.writerow(_csv_row(entry.as_json()))
    return count


def _csv_row(fields: dict[str, Any]) -> dict[str, str]:
    """Return the row as text. A text that a spreadsheet would run as a formula is quoted."""
    texts = {name: _text(value) for name, value in fields.items()}
    return {name: f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t") else text for name, text in texts.items()}


def _text(value: Any) -> str:
    """Return text unchanged, and any other value as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
