"""A world with dead letters to run again."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.support.redriver import Redriver
from tests.support.servers import TestServer
from vmpooler_tasks.store import Database


@pytest.fixture
def world(db: Database, server: TestServer) -> Iterator[Redriver]:
    """A pool of two VMs, of which it has none."""
    with ExitStack() as stack:
        yield Redriver(db, url=server.url, stack=stack)
