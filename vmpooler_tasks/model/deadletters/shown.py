r"""Show what a member of a dead-letter queue holds, whatever that is.

Anybody may write to Redis, and JSON holds more than UTF-8, other JSON libraries and a page can show: halves of
surrogate pairs, NaN, deep nesting, a number where a text should be. It is shown escaped: `\\ud800`, `"NaN"`, its JSON.
"""

import json
from collections.abc import Iterable
from math import isfinite
from typing import Any

from vmpooler_tasks.model.redaction import MAX_DEPTH, TOO_DEEP

MAX_ID_CHARACTERS = 160

MAX_DEEP_CHARACTERS = 4_000
"""Characters shown of what is nested too deeply."""


def shown(value: Any, depth: int = MAX_DEPTH) -> Any:
    """Return a JSON value that every program can read. What is nested more than `depth` levels becomes its JSON."""
    if isinstance(value, str):
        return shown_text(value)
    if isinstance(value, float):
        return value if isfinite(value) else str(value)
    if not isinstance(value, dict | list):
        return value
    if depth == 0:
        return _as_json(value)[:MAX_DEEP_CHARACTERS]
    if isinstance(value, dict):
        return {shown_text(name): shown(inner, depth - 1) for name, inner in value.items()}
    return [shown(inner, depth - 1) for inner in value]


def shown_text(value: Any) -> str:
    r"""Return a text that UTF-8 can encode: a lone surrogate becomes `\\ud800`. Any other value becomes its JSON."""
    if not isinstance(value, str):
        return shown_text(_as_json(value))
    return value if value.isascii() else value.encode("utf-8", errors="backslashreplace").decode()


def usable_id(value: Any) -> str | None:
    """Return the id of a member as text; None if it cannot be one: then the digest of the member is its id."""
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str) or not 0 < len(text) <= MAX_ID_CHARACTERS:
        return None
    return text if text == shown_text(text) and text.isprintable() else None


def is_too_deep(value: Any) -> bool:
    """Return whether lists and objects are nested more than MAX_DEPTH levels. It reads each level once."""
    level = _nested([value])
    for _ in range(MAX_DEPTH):
        level = _nested(inner for one in level for inner in (one.values() if isinstance(one, dict) else one))
        if not level:
            return False
    return True


def _nested(values: Iterable[Any]) -> list[Any]:
    return [value for value in values if isinstance(value, dict | list)]


def _as_json(value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    except RecursionError:
        return TOO_DEEP
