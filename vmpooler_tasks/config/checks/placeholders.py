"""Find placeholders that nobody replaced, and that are used as written: `${A}`, `$(A)`, `<%= a %>`, `{{ a }}`."""

import re
from collections.abc import Iterator
from typing import Any

from vmpooler_tasks.config.checks.secrets import is_secret

PLACEHOLDER = re.compile(r"\$\{[^{}\n]*\}|\$\([A-Za-z_]\w*\)|<%.*?%>|\{\{.*?\}\}|\{%.*?%\}|%\{[^{}\n]*\}")

_NOT_SEARCHED = frozenset({"tagfilter"})
"""Sections of regular expressions, which contain such marks by right."""


def find_placeholders(data: Any, path: str = "") -> Iterator[str]:
    """Yield a line for each value or key that contains one, with its path."""
    if isinstance(data, dict):
        for key, value in data.items():
            where = f"{path}.{key}" if path else str(key)
            if where in _NOT_SEARCHED:
                continue
            if PLACEHOLDER.search(str(key)):
                yield f"{where}: the name of this option contains a placeholder that was not replaced"
            yield from find_placeholders(value, where)
    elif isinstance(data, list):
        for index, value in enumerate(data):
            yield from find_placeholders(value, f"{path}[{index}]")
    elif isinstance(data, str) and (found := PLACEHOLDER.search(data)):
        what = "a placeholder" if is_secret(path) else f"the placeholder {found[0]:.60}"
        yield f"{path}: {what} was not replaced, and is used as it is written"


def placeholder_near(text: str, line: int) -> str | None:
    """Return a placeholder in this line of the text (from 0) or in the two lines before it."""
    lines = text.splitlines()[max(0, line - 2) : line + 1]
    found = [match[0] for match in map(PLACEHOLDER.search, reversed(lines)) if match]
    return found[0] if found else None
