"""Remove secrets from the arguments of a failed task, from text, and from messages that cannot be decoded.

The patterns are in model/secret_patterns.py. Each takes time in proportion to the text: a task's arguments may have
megabytes. Secrets are removed from the whole text. Only then it may be cut (model/deadletters/bounds.py): a cut that
came first would separate a secret from its name. Others cut as well (Celery shortens the arguments in a header), so
that a secret without its end is removed up to the end of the text.
"""

import base64
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from vmpooler_tasks.model import secret_patterns as patterns
from vmpooler_tasks.model.secret_patterns import is_secret_name

REDACTED = "[redacted]"

MAX_DEPTH = 100
"""Levels of nested lists and objects that are kept. Many programs read JSON recursively."""

MAX_PARSED_BYTES = 2**20
"""A larger message is not parsed: secrets are removed from its text."""

TOO_DEEP = f"[cut: nested more than {MAX_DEPTH} levels]"

_AFTER_SCHEME = "://"
_AFTER_LAST_WORD = " \t\r\n'\")]}.…"
_WORD = re.compile(r"[^\s'\"]+")
_HOST = re.compile(r"[^:/?#]*(?::\d{1,5})?(?:[/?#.,;)]|$)|\[")
"""What follows `://` in an address without a login: a host, perhaps with a port, or a host in brackets."""

_OPENING, _CLOSING = frozenset("[{("), frozenset("]})")
_SCHEME = re.compile(r"\b(?P<scheme>Bearer|Basic)(?P<space>\s++)(?P<value>[\w.~+/=-]++)", re.IGNORECASE)
# What prose says of these schemes.
_SAID_OF_SCHEMES = frozenset(
    {"access", "auth", "authentication", "authorization", "realm", "scheme", "token", "tokens"}
)
_LONGEST_START = 64
"""Characters before a name in which its option or its element starts."""

_PAIR = 2
_NAME_FIELDS, _VALUE_FIELD = ("name", "key"), "value"
"""An object such as `{"name": "API_TOKEN", "value": "…"}`, as an environment is written."""

_LISTS_OF_NAMES = frozenset({"pools"})
"""Fields with lists of names of VMPooler: two of them are no secret's name and its value."""


def redacted(value: Any, depth: int = MAX_DEPTH, *, may_be_pair: bool = True) -> Any:
    """Return a copy without the values of names such as `password`, at any depth, and without logins in addresses.

    What is nested more than `depth` levels becomes TOO_DEEP. `may_be_pair`: a list of two may be a name and its value.
    """
    if isinstance(value, dict | list | tuple) and depth == 0:
        return TOO_DEEP
    if isinstance(value, dict):
        named = _named_secret(value)
        return {
            redacted_text(str(key)): REDACTED
            if inner is not None and (is_secret_name(str(key)) or key == named)
            else redacted(inner, depth - 1, may_be_pair=key not in _LISTS_OF_NAMES)
            for key, inner in value.items()
        }
    if isinstance(value, list | tuple):
        is_pair = may_be_pair and len(value) == _PAIR
        return [
            REDACTED
            if isinstance(inner, str | bytes) and _follows_name(value, place, is_pair=is_pair)
            else redacted(inner, depth - 1)
            for place, inner in enumerate(value)
        ]
    if isinstance(value, bytes):
        return redacted_bytes(value)
    return _redacted_json(value, depth) if isinstance(value, str) else value


def _named_secret(value: Mapping[Any, Any]) -> str | None:
    """Return the field that holds a secret of which another field is the name."""
    names = [value.get(field) for field in _NAME_FIELDS]
    return _VALUE_FIELD if any(isinstance(name, str) and is_secret_name(name) for name in names) else None


def _follows_name(values: Sequence[Any], place: int, *, is_pair: bool) -> bool:
    """Return whether a secret's name stands before this value: an option of a command line, or the name in a pair."""
    name = values[place - 1] if place else None
    if not isinstance(name, str) or len(name) > _LONGEST_START or not name.isprintable() or " " in name:
        return False
    is_option = name.startswith("-") and "=" not in name
    return (is_option or is_pair) and is_secret_name(name)


def _redacted_json(text: str, depth: int) -> str:
    """Redact a text. One that is JSON is read: its names may be escaped."""
    if "\\u" in text and text.lstrip()[:1] in ("{", "[") and len(text) <= MAX_PARSED_BYTES:
        try:
            inner = json.loads(text)
        except (ValueError, RecursionError):
            return redacted_text(text)
        clean = redacted(inner, depth - 1)
        return redacted_text(text if clean == inner else json.dumps(clean))
    return redacted_text(text)


def redacted_text(text: str) -> str:
    """Return text, such as a message or a traceback, without secrets."""
    if _AFTER_SCHEME in text:
        text = _without_logins(text)
    if "-----BEGIN " in text:
        text = patterns.KEY_FILE.sub(REDACTED, text)
    if "=" in text or "%3" in text:
        text = patterns.URL_SECRET.sub(_without_end, text)
    lower = patterns.ascii_lower(text)
    if any(hint in lower for hint in patterns.HINTS):
        text = _without_named_values(text, lower)
    if ":" in text:
        text = patterns.LOGIN_ARGUMENT.sub(_without_end, text)
    text = patterns.WELL_KNOWN.sub(REDACTED, text)
    return _SCHEME.sub(_without_value, text) if "bearer" in lower or "basic" in lower else text


def _without_end(found: re.Match[str]) -> str:
    return found["name"] + REDACTED


def _without_named_values(text: str, lower: str) -> str:
    """Remove the value of each name of a secret, in all forms in which a value follows its name.

    `lower` is the text in lowercase.
    """
    parts, done = list[str](), 0
    for name in patterns.NAME.finditer(lower):
        if name.start() < done:
            continue
        value = _assigned_value(text, lower, name) or _other_value(text, name)
        if value is not None:
            start, end = value
            parts += [text[done:start], REDACTED]
            done = end
    return "".join(parts) + text[done:]


def _assigned_value(text: str, lower: str, name: re.Match[str]) -> tuple[int, int] | None:
    """Return where the value starts and ends that is assigned to a name, as in `name: value` or `"name" => "value"`."""
    assigned = patterns.ASSIGNMENT.match(text, name.end())
    if not assigned or (assigned["words"].strip() and not assigned["closing"]):
        return None
    start = assigned.end()
    if quoted := patterns.QUOTED_VALUE.match(text, start):
        return start, quoted.end()
    nested = patterns.NESTED_VALUE.match(text, start)
    if nested and (assigned["closing"] or assigned["sign"] != ":"):
        return start, _end_of_value(text, nested.end())
    if assigned["sign"] == ":":
        found = patterns.BLOCK_VALUE.match(text, start)
        if not found and not assigned["closing"] and patterns.HEADER_NAME.match(lower, name.start(), name.end()):
            found = patterns.HEADER_VALUE.match(text, start)
        if found:
            return start, found.end()
    if not assigned["closing"] and patterns.PROSE_VALUE.match(text, start):
        return None
    plain = patterns.PLAIN_VALUE.match(text, start)
    return (start, plain.end()) if plain else None


def _other_value(text: str, name: re.Match[str]) -> tuple[int, int] | None:
    """Return where the value starts and ends that follows a name as an argument, in an XML element or in prose."""
    before = text[max(0, name.start() - _LONGEST_START) : name.start()]
    if patterns.OPTION_START.search(before) and (option := patterns.OPTION_VALUE.match(text, name.end())):
        value = patterns.QUOTED_VALUE.match(text, option.end()) or patterns.PLAIN_VALUE.match(text, option.end())
        return (option.end(), value.end()) if value else None
    if patterns.ELEMENT_START.search(before) and (element := patterns.ELEMENT_VALUE.match(text, name.end())):
        return element.span("value")
    if name[0].startswith(patterns.SAID_NAMES) and (said := patterns.SAID_VALUE.match(text, name.end())):
        value = patterns.QUOTED_VALUE.match(text, said.end())
        return (said.end(), value.end()) if value else None
    return None


def _end_of_value(text: str, start: int) -> int:
    """Return where the value at `start` ends; a value without an end is the rest of the text."""
    depth = 0
    for part in patterns.PART.finditer(text, start):
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
