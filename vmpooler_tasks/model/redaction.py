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

MAX_PARSED_BYTES = 2**20
"""A larger message is not parsed: secrets are removed from its text."""

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
_QUOTED = (
    r"'(?:[^'\\]++|\\.)*+(?:'|\\?\Z)"
    r"|\"(?:[^\"\\]++|\\.)*+(?:\"|\\?\Z)"
    r"|(?<!\\)(?P<quote>\\++['\"]).*?(?:(?<!\\)(?P=quote)|\Z)"
)
_ASSIGNED = re.compile(
    rf"(?P<name>{_SENSITIVE}[\w-]{{0,60}}+\\*+['\"]?+\s*+[=:]\s*+)(?!\[redacted\])(?:{_QUOTED}"
    r"|(?:(?:Bearer|Basic|Digest|Token|ApiKey|Negotiate|NTLM|OAuth)\s++)?[^\s,;)}\]]++)",
    re.IGNORECASE | re.DOTALL,
)
# The value of a quoted name, as in JSON, may be nested. Of a message that is not parsed, all of the value is removed.
_QUOTED_NAME = re.compile(
    rf"{_SENSITIVE}[^'\"\\\n]{{0,60}}+\\*+['\"]\s*+:\s*+(?!\[redacted\])(?=\\*+['\"]|[\w.]*+[\[{{(])", re.IGNORECASE
)
_OPENING, _CLOSING = frozenset("[{("), frozenset("]})")
_PART = re.compile(rf"{_QUOTED}|[\[{{(\]}})]", re.DOTALL)
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
        text = _without_quoted_names_values(text)
        text = _ASSIGNED.sub(lambda found: found["name"] + REDACTED, text)
        text = _SCHEME.sub(_without_value, text)
    return text


_HINTS = ("passw", "passphrase", "secret", "token", "credential", "key", "authorization", "bearer", "basic")


def _may_name_secrets(text: str) -> bool:
    """Return False if no pattern can match. Finding a plain text takes a hundredth of the time of a pattern."""
    lower = text.lower()
    return any(hint in lower for hint in _HINTS)


def _without_quoted_names_values(text: str) -> str:
    """Remove the value of each quoted name that is sensitive: a text in quotes, or all within its brackets."""
    parts, done = list[str](), 0
    while found := _QUOTED_NAME.search(text, done):
        parts += [text[done : found.end()], REDACTED]
        done = _end_of_value(text, found.end())
    return "".join(parts) + text[done:]


def _end_of_value(text: str, start: int) -> int:
    """Return where the value at `start` ends; a value without an end is the rest of the text."""
    depth = 0
    for part in _PART.finditer(text, start):
        depth += (part[0] in _OPENING) - (part[0] in _CLOSING)
        if depth <= 0:
            return part.end()
        if depth > MAX_DEPTH:
            break
    return len(text)


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
    """Return the bytes of a message without secrets. Without a secret in it, it is returned unchanged.

    Of a message that was cut, or that is too large to be parsed, they are removed from its text.
    """
    try:
        message = json.loads(raw) if len(raw) <= MAX_PARSED_BYTES else None
    except (ValueError, RecursionError):
        message = None
    if message is None:
        # UTF-16 has a zero byte beside each character of a name.
        text = raw.decode("utf-8", "surrogateescape").replace("\0", "")
        clean_text = redacted_text(_BODY.sub(_with_redacted_body, text))
        return raw if clean_text == text else clean_text.encode("utf-8", "surrogateescape")
    clean = redacted(message)
    _redact_bodies(message, clean)
    return raw if clean == message else json.dumps(clean, ensure_ascii=False).encode("utf-8", "surrogatepass")


_BASE64_GROUP = 4
"""Characters that together stand for three bytes."""

_BODY = re.compile(r'(?P<name>"body"\s*+:\s*+")(?P<body>(?:[A-Za-z0-9+/=]|\\/)++)')


def _with_redacted_body(found: re.Match[str]) -> str:
    body = found["body"].replace("\\", "")
    clean = _redacted_body(body)
    return found[0] if clean == body else found["name"] + clean


def _redact_bodies(message: Any, clean: Any) -> None:
    """Redact the body in the copy of a message, or of a list such as `[message, exchange, routing key]`."""
    messages = zip(message, clean, strict=True) if isinstance(message, list) else [(message, clean)]
    for one, copy in messages:
        if isinstance(one, dict) and isinstance(body := one.get("body"), str):
            copy["body"] = _redacted_body(body)


def _redacted_body(body: str) -> str:
    """Redact the arguments of a message, which are in base64, where no pattern would match. It may lack its end."""
    try:
        inner = base64.b64decode(body[: len(body) // _BASE64_GROUP * _BASE64_GROUP], validate=True)
    except ValueError:
        return redacted_text(body)
    clean = redacted_bytes(inner)
    return body if clean == inner else base64.b64encode(clean).decode()
