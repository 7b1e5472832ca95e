"""The Lua scripts of this package: their text, the digest that a server knows them by, and how a server gets them."""

import functools
import hashlib
from collections.abc import Sequence
from importlib import resources
from typing import Any


@functools.cache
def script_text(name: str) -> str:
    """Return the text of `lua/<name>.lua`, behind the shared functions that its `-- uses:` lines name.

    Raise FileNotFoundError if there is no such script.
    """
    file = resources.files("vmpooler_tasks.store").joinpath("lua", *f"{name}.lua".split("/"))
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    shebang = lines.pop(0) if lines[0].startswith("#!") else ""
    shared = [line.split(":", 1)[1].strip() for line in lines if line.startswith("-- uses:")]
    return shebang + "".join(script_text(other) for other in shared) + "".join(lines)


@functools.cache
def digest(name: str) -> str:
    """Return the name that a server gives the script."""
    return hashlib.sha1(script_text(name).encode(), usedforsecurity=False).hexdigest()


def command(name: str, arguments: Sequence[Any]) -> Sequence[Any]:
    """Return the command that runs the script; `arguments` are the count of keys, the keys and ARGV."""
    return ("EVALSHA", digest(name), *arguments)


def load(client: Any, name: str) -> None:
    """Send the script's text to the server, which from then on knows it by its digest."""
    client.script_load(script_text(name))
