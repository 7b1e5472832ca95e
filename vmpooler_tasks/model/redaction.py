"""Secrets are taken out of what is kept of a failed task's arguments."""

import re
from typing import Any

REDACTED = "[redacted]"

_SECRET_NAME = re.compile(r"passw|secret|token|credential|api[-_]?key|private[-_]?key|authorization", re.IGNORECASE)
# To the last @ of the word: a password may hold a / or @ that it should not.
_LOGIN_IN_URL = re.compile(r"(?<=://)[^\s'\"]+@")
_ASSIGNED = re.compile(
    r"(?P<name>[\w-]*(?:passw|secret|token|credential|api[-_]?key|private[-_]?key|authorization)[\w-]*)"
    r"(?P<quote>['\"]?\s*[=:]\s*)(?P<value>'[^']*'|\"[^\"]*\"|(?:Bearer |Basic )?[^\s,;)}\]]+)",
    re.IGNORECASE,
)


def redacted(value: Any) -> Any:
    """A copy with the values of secret-looking names replaced, at any depth, and logins cut out of addresses."""
    if isinstance(value, dict):
        return {
            str(key): REDACTED if _SECRET_NAME.search(str(key)) and inner is not None else redacted(inner)
            for key, inner in value.items()
        }
    if isinstance(value, list | tuple):
        return [redacted(inner) for inner in value]
    return redacted_text(value) if isinstance(value, str) else value


def redacted_text(text: str) -> str:
    """The same for prose: an error's message, a traceback."""
    text = _LOGIN_IN_URL.sub(f"{REDACTED}@", text)
    return _ASSIGNED.sub(lambda found: f"{found['name']}{found['quote']}{REDACTED}", text)
