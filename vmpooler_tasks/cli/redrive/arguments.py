"""The arguments of `dlq redrive`, and the dead letters that they name."""

from collections.abc import Iterable
from dataclasses import dataclass

import click

from vmpooler_tasks.cli.shared.context import Context
from vmpooler_tasks.cli.shared.search import Search
from vmpooler_tasks.jobs.deadletters import query
from vmpooler_tasks.jobs.redrive.selection import Selection
from vmpooler_tasks.model.deadletters.entry import StoredDeadLetter
from vmpooler_tasks.model.deadletters.filters import DeadLetterFilter


@dataclass(frozen=True, slots=True, kw_only=True)
class RedriveArguments:
    """The arguments of `dlq redrive`. `wanted` is the filter that they describe."""

    wanted: DeadLetterFilter
    every: bool
    dry_run: bool
    rate: float
    limit: int | None
    max_failed: float
    enqueue: bool
    yes: bool
    confirm: bool
    resume: str | None
    cancel: str | None
    status: str | None
    runs: bool
    edit: bool
    args: str | None
    kwargs: str | None
    why: str | None
    as_json: bool

    def refuse_mixture(self) -> None:
        """Raise UsageError for arguments of which at most one can be meant."""
        selects = self.every or self.wanted != DeadLetterFilter()
        if sum(map(bool, (selects, self.resume, self.cancel, self.status, self.runs))) > 1:
            raise click.UsageError("a selection, --resume, --cancel, --status and --runs exclude each other")
        if self.is_edit and self.wanted != DeadLetterFilter(ids=self.wanted.ids):
            raise click.UsageError("--edit takes the id of one dead letter and no filter")
        if self.is_edit and len(self.wanted.ids) != 1:
            raise click.UsageError("--edit takes the id of one dead letter")

    @property
    def is_edit(self) -> bool:
        return self.edit or self.args is not None or self.kwargs is not None


def refuse_missing(wanted: DeadLetterFilter, found: Iterable[StoredDeadLetter]) -> None:
    """Raise ClickException for an id without a dead letter."""
    missing = sorted(wanted.ids - {entry.id for entry in found})
    if missing:
        raise click.ClickException(f"no dead letter with id {', '.join(missing)}")


def search_selected(context: Context, selection: Selection) -> list[StoredDeadLetter]:
    """Return the selected dead letters, which are few: they are named by their ids."""
    with Search(query.count(context.db, selection.wanted)) as search:
        return list(selection.read(context.db, on_read=search.on_read))
