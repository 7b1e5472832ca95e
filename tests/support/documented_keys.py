"""The keys of the modules of keys in `store` as their docstrings describe them: name, type, contents."""

import ast
import inspect
import re
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import NamedTuple

from vmpooler_tasks.store import broker_keys, fleet_keys, keys

MODULES = (keys, fleet_keys, broker_keys)

OURS = "vmpooler_tasks__"
DESCRIPTION = re.compile(
    r"(?:Prefix of a (?P<prefixed>[a-z ]+), followed by (?P<rest>[A-Z]+)"
    r"|(?P<kind>String|Hash|Set|Sorted set|List|Stream|Counter)): (?P<contents>.+)",
    re.DOTALL,
)


class DocumentedKey(NamedTuple):
    """A key, with upper-case words for its variable parts: `vmpooler_tasks__breaker__PROVIDER`."""

    name: str
    kind: str
    contents: str


class UndocumentedKeyError(Exception):
    """A docstring that does not start with the type of its key."""


def documented_keys() -> Iterator[DocumentedKey]:
    """Yield every key of all modules, VMPooler's too. Raise UndocumentedKeyError for one without a description."""
    for module in MODULES:
        yield from _keys_of(module)


def _keys_of(module: ModuleType) -> Iterator[DocumentedKey]:
    for name, docstring in _constants(module):
        value = getattr(module, name)
        if isinstance(value, bytes) and not docstring.startswith(("Prefix of the keys", "Pattern of")):
            yield _described(value.decode(), docstring)
    for function in _functions(module):
        parts = inspect.signature(function).parameters.values()
        words = [part.name.upper().encode() if part.annotation is bytes else part.name.upper() for part in parts]
        yield _described(function(*words).decode(), inspect.getdoc(function) or "")


def _constants(module: ModuleType) -> Iterator[tuple[str, str]]:
    """Yield (name, docstring) of the module's public constants; the docstring is the text below the assignment."""
    body = ast.parse(inspect.getsource(module)).body
    for node, below in zip(body, [*body[1:], ast.Pass()], strict=True):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            is_text = isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant)
            text = str(below.value.value) if is_text else ""  # type: ignore[attr-defined]
            yield node.targets[0].id, text


def _functions(module: ModuleType) -> Iterator[Callable[..., bytes]]:
    """Yield the functions of the module that return a key."""
    for function in vars(module).values():
        if inspect.isfunction(function) and function.__annotations__.get("return") is bytes:
            yield function


def _described(name: str, docstring: str) -> DocumentedKey:
    found = DESCRIPTION.match(docstring)
    if found is None:
        raise UndocumentedKeyError(f"{name}: {docstring!r}")
    kind = found["kind"] or found["prefixed"].capitalize()
    return DocumentedKey(name + (found["rest"] or ""), kind.lower(), " ".join(found["contents"].split()))
