"""One `make run` for all commands of a module: those of the documents, and those of the original guide."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import yaml

from tests.support import servers
from tests.support.first_minutes import FirstMinutes, newcomers_folder
from tests.support.guide_site import Site, guides_configuration
from tests.support.processes import Installation
from tests.support.servers import required
from tests.support.shell import Shell
from tests.support.world import World
from vmpooler_tasks.store import Database


@pytest.fixture(scope="module")
def first_minutes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FirstMinutes]:
    with newcomers_folder(tmp_path_factory.mktemp("clone")) as first:
        first.start()
        yield first


@pytest.fixture(scope="module", params=servers.KINDS)
def open_site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Site]]:
    """Each on a server of its own: a state is made once for all commands, while other tests empty the shared server."""
    required("jq")
    with ExitStack() as stack:

        def begin(**changed: Any) -> Site:
            folder = tmp_path_factory.mktemp("site")
            server = stack.enter_context(servers.running(request.param, folder / "server"))
            configuration = yaml.safe_dump(guides_configuration(**changed))
            installation = stack.enter_context(Installation(server.url, folder, configuration, start_in=folder))
            database = Database(server.url)
            stack.callback(database.close)
            return Site(installation, Shell(installation, server.port), World(database, float(int(time.time()))))

        yield begin
