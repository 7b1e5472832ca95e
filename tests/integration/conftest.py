"""The web application on an empty database."""

from collections.abc import Iterator

import httpx
import pytest

from tests.support.servers import TestServer
from tests.support.web import OPERATOR, serving, web_settings
from tests.support.world import World
from vmpooler_tasks.store import Database


@pytest.fixture
def web_world(valkey: TestServer) -> Iterator[World]:
    """What the pages show. Its clock is theirs."""
    db = Database(valkey.url)
    yield World(db)
    db.close()


@pytest.fixture
def web(valkey: TestServer, web_world: World) -> Iterator[httpx.Client]:
    """Asks as somebody who may operate."""
    with (
        serving(valkey.url, web_settings(valkey.url), web_world.clock) as address,
        httpx.Client(base_url=address, auth=OPERATOR) as client,
    ):
        yield client
