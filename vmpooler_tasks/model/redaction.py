"""Remove secrets from the arguments of a failed task, from text, and from messages that cannot be decoded.

Each pattern takes time in proportion to the text, whatever the text is: a task's arguments may have megabytes. Secrets
are removed from the whole text. Only then it may be cut (model/deadletters/bounds.py): a cut that came first would
separate a secret from its name. Others cut as well (Celery shortens the arguments in a header), so that a secret
without its end is removed up to the end of the text.
"""

import base64
import json
import re
from typing import Any

REDACTED = "[redacted]"

MAX_DEPTH = 100
"""Levels of nested lists and objects that are kept. Many programs read JSON recursively."""

TOO_DEEP = f"[cut: nested more than {MAX_DEPTH} levels]"

_SENSITIVE = r"(?:passw|passphrase|secret|token|credential|api[-_]?key|private[-_]?key|authorization)"
_SECRET_NAME = re.compile(_SENSITIVE, re.IGNORECASE)
_AFTER_SCHEME = "://"
_AFTER_LAST_WORD = " \t\r\n'\")]}.…"
_WORD = re.compile(r"[^\s'\"]+")
_HOST = re.compile(r"[^:/?#]*(?::\d{1,5})?(?:[/?#.,;)]|$)|\[")
"""What follows `://` in an address without a login: a host, perhaps with a port, or a host in brackets."""

# A value in quotes ends with the same quote, and one without an end is the rest of the text. In JSON within JSON, the
# quote has backslashes before it, and a quote within the value has more of them.
_ASSIGNED = re.compile(
    rf"(?P<name>{_SENSITIVE}[\w-]{{0,60}}+\\*+['\"]?+\s*+[=:]\s*+)(?!\[redacted\])"
    r"(?:'(?:[^'\\]++|\\.)*+(?:'|\\?\Z)"
    r"|\"(?:[^\"\\]++|\\.)*+(?:\"|\\?\Z)"
    r"|(?P<quote>\\++['\"]).*?(?:(?<!\\)(?P=quote)|\Z)"
    r"|(?:(?:Bearer|Basic|Digest|Token|ApiKey|Negotiate|NTLM|OAuth)\s++)?[^\s,;)}\]]++)",
    re.IGNORECASE | re.DOTALL,
)
_KEY_FILE = re.compile(
    r"-----BEGIN (?P<kind>[A-Z0-9 ]{0,40}PRIVATE KEY)-----.*?(?:-----END (?P=kind)-----|\Z)", re.DOTALL
)
_SCHEME = re.compile(r"\b(?P<scheme>Bearer|Basic)(?P<space>\s++)(?P<value>[\w.~+/=-]++)", re.IGNORECASE)
# What prose says of these schemes.
_SAID_OF_SCHEMES = frozenset(
    {"access", "auth", "authentication", "authorization", "realm", "scheme", "token", "tokens"}
)


def redacted(value: Any, depth: int = MAX_DEPTH) -> Any:
    """Return a copy without the values of names such as `password`, at any depth, and without logins in addresses.

    What is nested more than `depth` levels becomes TOO_DEEP.
    """
    if isinstance(value, dict | list | tuple) and depth == 0:
        return TOO_DEEP
    if isinstance(value, dict):
        return {
            redacted_text(str(key)): REDACTED
            if inner is not None and _SECRET_NAME.search(str(key))
            else redacted(inner, depth - 1)
            for key, inner in value.items()
        }
    if isinstance(value, list | tuple):
        return [redacted(inner, depth - 1) for inner in value]
    return redacted_text(value) if isinstance(value, str) else value


def redacted_text(text: str) -> str:
    """Return text, such as a message or a traceback, without secrets."""
    if _AFTER_SCHEME in text:
        text = _without_logins(text)
    if "-----BEGIN " in text:
        text = _KEY_FILE.sub(REDACTED, text)
    if _may_name_secrets(text):
        text = _ASSIGNED.sub(lambda found: found["name"] + REDACTED, text)
        text = _SCHEME.sub(_without_value, text)
    return text


_HINTS = ("passw", "passphrase", "secret", "token", "credential", "key", "authorization", "bearer", "basic")


def _may_name_secrets(text: str) -> bool:
    """Return False if no pattern can match. Finding a plain text takes a hundredth of the time of a pattern."""
    lower = text.lower()
    return any(hint in lower for hint in _HINTS)


def _without_logins(text: str) -> str:
    """Remove the login of each address, up to the last @ of the word: a password may hold a / or @ that it should not.

    An address at the end of the text may have lost its @: then what follows `://` is removed, unless it is a host.
    """
    parts, done, last = list[str](), 0, len(text.rstrip(_AFTER_LAST_WORD))
    for word in _WORD.finditer(text):
        found = word[0]
        if _AFTER_SCHEME not in found:
            continue
        start, end = found.index(_AFTER_SCHEME) + len(_AFTER_SCHEME), found.rfind("@")
        if end < start:
            is_cut = word.end() >= last and not _HOST.match(found, start)
            end = len(found) if is_cut else start
        if end > start:
            parts += [text[done : word.start() + start], REDACTED]
            done = word.start() + end
    return "".join(parts) + text[done:]


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
        text = _BODY.sub(_with_redacted_body, raw.decode("utf-8", "surrogateescape"))
        return redacted_text(text).encode("utf-8", "surrogateescape")
    clean = redacted(message)
    if isinstance(message, dict) and isinstance(body := message.get("body"), str):
        clean["body"] = _redacted_body(body)
    return raw if clean == message else json.dumps(clean, ensure_ascii=False).encode("utf-8", "surrogatepass")


_BASE64_GROUP = 4
"""Characters that together stand for three bytes."""

_BODY = re.compile(r'(?P<name>"body"\s*+:\s*+")(?P<body>[A-Za-z0-9+/=]++)')


def _with_redacted_body(found: re.Match[str]) -> str:
    return found["name"] + _redacted_body(found["body"])


def _redacted_body(body: str) -> str:
    """Redact the arguments of a message, which are in base64, where no pattern would match. It may lack its end."""
    try:
        inner = base64.b64decode(body[: len(body) // _BASE64_GROUP * _BASE64_GROUP], validate=True)
    except ValueError:
        return redacted_text(body)
    clean = redacted_bytes(inner)
    return body if clean == inner else base64.b64encode(clean).decode()
