"""A lab on an empty database."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.support.dummy_lab import Lab
from tests.support.servers import TestServer
from vmpooler_tasks.store import Database


@pytest.fixture
def lab(valkey: TestServer) -> Iterator[Lab]:
    with ExitStack() as stack:
        db = Database(valkey.url)
        stack.callback(db.close)
        yield Lab(valkey.url, db, stack)
