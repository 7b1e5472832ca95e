"""The attempts of one piece of work across redrives. A dead letter carries those before it, as a list of JSON objects.

An attempt is the failure that a dead letter reports (`id`, `vm`, `failed_at`, `error_class`, `error_message`). One that
was run again also has `redriven_at`, `run` and `who`, and `edited` if its arguments were changed.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from vmpooler_tasks.model.deadletters.shown import shown_text

MAX_EARLIER = 10
"""Earlier attempts that a dead letter carries: the newest of them."""

MAX_TEXT_OF_ATTEMPT = 200
"""Characters kept of each text of an attempt."""

OF_FAILURE = ("id", "vm", "failed_at", "error_class", "error_message")
OF_REDRIVE = ("redriven_at", "run", "who")
EDITED = "edited"


def earlier_attempts(fields: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the attempts before a dead letter with these fields, the oldest first, without what is not an attempt."""
    found = fields.get("attempts")
    attempts = [one for one in found if isinstance(one, Mapping)] if isinstance(found, list | tuple) else []
    return [_attempt(one, redrive=one) for one in attempts[-MAX_EARLIER:]]


def attempts_with_redrive(fields: Mapping[str, Any], redrive: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the attempts that the successor of a dead letter with these fields carries, the oldest first."""
    return [*earlier_attempts(fields), _attempt(fields, redrive=redrive)][-MAX_EARLIER:]


def all_attempts(fields: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return all known attempts of a dead letter with these fields, the oldest first. The last is its own failure."""
    return [*earlier_attempts(fields), _attempt(fields, redrive={})]


def count_unknown(fields: Mapping[str, Any], redrives: int) -> int:
    """Return how many attempts there were before those that the dead letter carries."""
    return max(0, redrives - len(earlier_attempts(fields)))


def _attempt(failure: Mapping[str, Any], *, redrive: Mapping[str, Any]) -> dict[str, Any]:
    edited = {EDITED: True} if redrive.get(EDITED) else {}
    return {**_texts(failure, OF_FAILURE), **_texts(redrive, OF_REDRIVE), **edited}


def _texts(fields: Mapping[str, Any], names: Sequence[str]) -> dict[str, str]:
    return {name: shown_text(fields[name])[:MAX_TEXT_OF_ATTEMPT] for name in names if fields.get(name)}
