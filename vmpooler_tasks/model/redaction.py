"""Remove secrets from the arguments of a failed task, from text, and from messages that cannot be decoded."""

import base64
import json
import re
from typing import Any

REDACTED = "[redacted]"

_SENSITIVE = r"(?:passw|secret|token|credential|api[-_]?key|private[-_]?key|authorization)"
_SECRET_NAME = re.compile(_SENSITIVE, re.IGNORECASE)
# To the last @ of the word: a password may hold a / or @ that it should not.
_LOGIN_IN_URL = re.compile(r"(?<=://)[^\s'\"]+@")
_ASSIGNED = re.compile(
    rf"(?P<name>{_SENSITIVE}[\w-]{{0,60}}\\?['\"]?\s*[=:]\s*)(?!\[redacted\])"
    r"(?:'(?:[^'\\]|\\.)*'|\\\"(?:[^\"\\])*\\\"|\"(?:[^\"\\]|\\.)*\"|(?:Bearer |Basic )?[^\s,;)}\]]+)",
    re.IGNORECASE,
)
_SCHEME = re.compile(r"\b(?P<scheme>Bearer|Basic)(?P<space>\s+)(?P<value>[\w.~+/=-]+)", re.IGNORECASE)
# What prose says of these schemes.
_SAID_OF_SCHEMES = frozenset(
    {"access", "auth", "authentication", "authorization", "realm", "scheme", "token", "tokens"}
)


def redacted(value: Any) -> Any:
    """Return a copy without the values of names such as `password`, at any depth, and without logins in addresses."""
    if isinstance(value, dict):
        return {
            str(key): REDACTED if _SECRET_NAME.search(str(key)) and inner is not None else redacted(inner)
            for key, inner in value.items()
        }
    if isinstance(value, list | tuple):
        return [redacted(inner) for inner in value]
    return redacted_text(value) if isinstance(value, str) else value


def redacted_text(text: str) -> str:
    """Return text, such as a message or a traceback, without secrets."""
    text = _LOGIN_IN_URL.sub(f"{REDACTED}@", text)
    text = _ASSIGNED.sub(lambda found: found["name"] + REDACTED, text)
    return _SCHEME.sub(_without_value, text)


def _without_value(found: re.Match[str]) -> str:
    """`Bearer x`, also as an argument without a name. A sentence may say "a basic check"."""
    value, text = found["value"], found.string
    around = text[max(found.start() - 1, 0) : found.start()] + text[found.end() : found.end() + 1]
    prose = found["scheme"].lower() == "basic" and value.isalpha() and value.islower() and around.strip("'\"")
    if prose or value.lower() in _SAID_OF_SCHEMES:
        return found[0]
    return f"{found['scheme']}{found['space']}{REDACTED}"


def redacted_bytes(raw: bytes) -> bytes:
    """Return the bytes of a message without secrets. Without a secret in it, it is returned unchanged."""
    try:
        message = json.loads(raw)
    except (ValueError, RecursionError):
        text = raw.decode("utf-8", "surrogateescape")
        return redacted_text(text).encode("utf-8", "surrogateescape")
    clean = redacted(message)
    if isinstance(message, dict) and isinstance(body := message.get("body"), str):
        clean["body"] = _redacted_body(body)
    return raw if clean == message else json.dumps(clean, ensure_ascii=False).encode("utf-8", "surrogatepass")


def _redacted_body(body: str) -> str:
    """Redact the arguments of a message, which are in base64, where no pattern would match."""
    try:
        inner = base64.b64decode(body, validate=True)
    except ValueError:
        return redacted_text(body)
    clean = redacted_bytes(inner)
    return body if clean == inner else base64.b64encode(clean).decode()
