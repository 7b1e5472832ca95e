"""The Lua scripts of this package: their text, the digest that a server knows them by, and how a server gets them."""

import functools
import hashlib
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

from vmpooler_tasks.store import keys
from vmpooler_tasks.store.key_types import FIXED_KEYS, OWN_FAMILIES, OWN_KEYS_PREFIX, OWN_PATTERNS

TYPE_GUARD = "redis/type_guard"

SET_ASIDE_SECONDS = 86400
"""How long a key that was set aside is kept, for whoever wants to know what wrote it."""


@functools.cache
def script_text(name: str) -> str:
    """Return the text of `lua/<name>.lua`, behind the shared functions that it uses.

    Raise FileNotFoundError if there is no such script.
    """
    flags, parts = _read(name)
    return flags + "".join(parts.values())


@functools.cache
def guarded_text(name: str) -> str:
    """Return the text that a server runs: the script behind the guard of its keys, unless the script only reads."""
    flags, parts = _read(name)
    return flags + ("" if "no-writes" in flags else _type_guard()) + "".join(parts.values())


@functools.cache
def _read(name: str) -> tuple[str, Mapping[str, str]]:
    """Return the first line of the script if it has flags, and the script's parts by name, in their order.

    What a `-- uses:` line names comes before what uses it, and only once, whoever else uses it.
    """
    file = resources.files("vmpooler_tasks.store").joinpath("lua", *f"{name}.lua".split("/"))
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    flags = lines.pop(0) if lines[0].startswith("#!") else ""
    parts: dict[str, str] = {}
    for line in lines:
        if line.startswith("-- uses:"):
            parts |= _read(line.split(":", 1)[1].strip())[1]
    return flags, parts | {name: "".join(lines)}


def _lua_list(values: Mapping[str, str]) -> str:
    """Return `;name=value;name=value;`."""
    return "".join(f";{name}={value}" for name, value in values.items()) + ";"


@functools.cache
def _type_guard() -> str:
    fixed = {key: kind for key, kind in FIXED_KEYS.items() if key.startswith(OWN_KEYS_PREFIX)}
    values = {
        "FIXED": _lua_list({key.removeprefix(OWN_KEYS_PREFIX).decode(): kind for key, kind in fixed.items()}),
        "FAMILIES": _lua_list(OWN_FAMILIES),
        "PATTERNS": ", ".join(f"'{word}'" for pair in OWN_PATTERNS.items() for word in pair),
        "PREFIX": OWN_KEYS_PREFIX.decode(),
        "RECORD": keys.SET_ASIDE.decode(),
        "KEEP_SECONDS": str(SET_ASIDE_SECONDS),
    }
    text = script_text(TYPE_GUARD)
    for word, value in values.items():
        text = text.replace(f"@{word}@", value)
    return text


@functools.cache
def digest(name: str) -> str:
    """Return the name that a server gives the script."""
    return hashlib.sha1(guarded_text(name).encode(), usedforsecurity=False).hexdigest()


def command(name: str, arguments: Sequence[Any]) -> Sequence[Any]:
    """Return the command that runs the script; `arguments` are the count of keys, the keys and ARGV."""
    return ("EVALSHA", digest(name), *arguments)


def load(client: Any, name: str) -> None:
    """Send the script's text to the server, which from then on knows it by its digest."""
    client.script_load(guarded_text(name))
