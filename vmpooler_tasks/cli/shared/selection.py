"""Resolve the names that select dead letters: pools, their aliases, and requests."""

import click

from vmpooler_tasks.cli.shared.context import Context
from vmpooler_tasks.cli.shared.search import Search
from vmpooler_tasks.jobs.deadletters import query
from vmpooler_tasks.jobs.deadletters.names import UnknownNameError, resolve
from vmpooler_tasks.model.deadletters.filters import DeadLetterFilter


def resolved(context: Context, wanted: DeadLetterFilter) -> DeadLetterFilter:
    """Return the filter with the pools of an alias in its place. Raises BadParameter for a name that is unknown."""
    if wanted.pool is None and wanted.request is None:
        return wanted
    with Search(sum(query.sizes(context.db).values())) as search:
        try:
            return resolve(context.db, context.settings, wanted, search.on_read)
        except UnknownNameError as error:
            raise click.BadParameter(str(error.args[0]), param_hint=f"--{error.option}") from error
