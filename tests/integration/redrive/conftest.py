"""A world with dead letters to run again."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support import servers
from tests.support.redriver import Redriver
from tests.support.servers import TestServer
from vmpooler_tasks.store import Database


@pytest.fixture
def world(db: Database, server: TestServer) -> Iterator[Redriver]:
    """A pool of two VMs, of which it has none."""
    with ExitStack() as stack:
        yield Redriver(db, url=server.url, stack=stack)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[TestServer]:
    with servers.running("valkey", tmp_path / "broker", ("--appendonly", "yes", "--appendfsync", "always")) as own:
        yield own


@pytest.fixture
def elsewhere(world: Redriver, broker: TestServer) -> Iterator[Redriver]:
    """Messages go to another server, whose client is `elsewhere.client`."""
    world.broker_url = broker.url
    database = Database(broker.url)
    yield replace(world, db=database)
    database.close()
