"""Let somebody change a JSON document in an editor."""

import json
import sys
from collections.abc import Callable, Mapping
from typing import Any

import click

from vmpooler_tasks.errors import InvalidInputError
from vmpooler_tasks.model.names import on_one_line, printable_json

COMMENT = "#"


def edit_json(document: Mapping[str, Any], head: str, check: Callable[[Any], None]) -> Any:
    """Open the document in $EDITOR below the lines of `head`, and return what was saved.

    `check` raises InvalidInputError for a document that cannot be used: it is reported, and can be edited again.

    Raises click.Abort if the editor is closed without saving, or if somebody gives up.
    """
    comments = "".join(f"{COMMENT} {line}".rstrip() + "\n" for line in head.splitlines())
    text = printable_json(document, indent=2) + "\n"
    while True:
        saved = click.edit(comments + text, extension=".json")
        if saved is None:
            sys.stderr.write("The editor was closed without saving: nothing was done.\n")
            raise click.Abort
        text = "".join(line for line in saved.splitlines(keepends=True) if not line.startswith(COMMENT))
        try:
            edited = parse_json(text)
            check(edited)
        except InvalidInputError as error:
            sys.stderr.write(f"{on_one_line(str(error.args[0]))}\n")
            click.confirm("Edit again?", default=True, abort=True, err=True)
        else:
            return edited


def parse_json(text: str) -> Any:
    """Return the value. Raises InvalidInputError for a text that is not JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(f"not valid JSON: {error}") from error
