"""Servers, databases and settings for all tests."""

import logging
import signal
from collections import defaultdict
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support import fuzzing, servers
from tests.support.processes import Installation
from tests.support.servers import TestServer
from tests.support.world import World
from vmpooler_tasks import logs
from vmpooler_tasks.store import Database
from vmpooler_tasks.tasks.celery.configuration import install_transports

collect_ignore = ["data"]  # the example of a provider there has tests of its own

fuzzing.register_profiles()

install_transports()  # kombu remembers the first transport that `redis://` was: it shall be the one that is tested

# A suite that was started in the background ignores Ctrl-C, and so would every process that a test starts.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files that take the longest first: a long one that starts last keeps the others waiting."""
    seconds: defaultdict[Path, int] = defaultdict(int)
    for item in items:
        if slow := item.get_closest_marker("slow"):
            seconds[item.path] = max(seconds[item.path], slow.kwargs.get("seconds", 1))
    items.sort(key=lambda item: -seconds[item.path])  # the order within a file stays


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Keep the status for .ci/run: it repeats failed tests only if all tests have run."""
    if not hasattr(session.config, "workerinput"):  # not in a worker of pytest-xdist
        session.config.cache.set("ci/status", int(exitstatus))


@pytest.hookimpl(wrapper=True)
def pytest_report_to_serializable() -> Generator[None, dict[str, Any] | None, dict[str, Any] | None]:
    """Escape what is not UTF-8 in a report.

    pytest-xdist sends reports as UTF-8, and the log of a test may hold bytes of Redis that are not.
    """
    report: dict[str, Any] | None = _escaped((yield))
    return report


def _escaped(value: Any) -> Any:
    match value:
        case str():
            return value.encode("utf-8", "backslashreplace").decode("utf-8")
        case dict():
            return {_escaped(name): _escaped(part) for name, part in value.items()}
        case list() | tuple():
            return type(value)(map(_escaped, value))
    return value


@pytest.fixture(scope="session")
def server_of(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], TestServer]]:
    """One shared server of each kind, started when first asked for; whoever uses it empties it."""
    started: dict[str, TestServer] = {}
    with ExitStack() as stack:

        def get(kind: str) -> TestServer:
            if kind not in started:
                folder = tmp_path_factory.mktemp(kind)
                started[kind] = stack.enter_context(servers.running(kind, folder))
            return started[kind]

        yield get


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that uses `server` on Valkey, and where it is marked `both_servers` on Redis too."""
    if "server_kind" in metafunc.fixturenames:
        kinds = servers.KINDS if metafunc.definition.get_closest_marker("both_servers") else servers.KINDS[:1]
        metafunc.parametrize("server_kind", kinds)


@pytest.fixture
def server(server_kind: str, server_of: Callable[[str], TestServer]) -> TestServer:
    return server_of(server_kind)


@pytest.fixture
def db(server: TestServer) -> Iterator[Database]:
    """Return an empty database, on the kinds of server that the test runs on."""
    database = Database(server.url)
    database.call("FLUSHALL")
    yield database
    database.close()


@pytest.fixture
def valkey(server_of: Callable[[str], TestServer]) -> TestServer:
    """For what does not depend on the kind of server."""
    own = server_of("valkey")
    database = Database(own.url)
    database.call("FLUSHALL")
    database.close()
    return own


@pytest.fixture
def installation(valkey: TestServer, tmp_path: Path) -> Iterator[Installation]:
    """Return an installation on an empty database. What it starts ends with the test."""
    with Installation(valkey.url, tmp_path) as own:
        yield own


@pytest.fixture
def database(valkey: TestServer) -> Iterator[Database]:
    """Return the database that the processes of `installation` work on."""
    opened = Database(valkey.url)
    yield opened
    opened.close()


@pytest.fixture
def world(db: Database) -> World:
    return World(db)


@pytest.fixture(autouse=True)
def log_as_it_was(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A command that runs in the tests' own process sets up its log there, as it would in its own."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    monkeypatch.setenv(logs.VARIABLE, "text")
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
