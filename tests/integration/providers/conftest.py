"""A lab on an empty database, and a vCenter."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.support import vcenter_simulator
from tests.support.dummy_lab import Lab
from tests.support.servers import TestServer
from tests.support.vcenter_simulator import Vcenter
from vmpooler_tasks.store import Database


@pytest.fixture
def lab(valkey: TestServer) -> Iterator[Lab]:
    with ExitStack() as stack:
        db = Database(valkey.url)
        stack.callback(db.close)
        yield Lab(valkey.url, db, stack)


@pytest.fixture(scope="session")
def shared_vcenter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vcenter]:
    with vcenter_simulator.running(tmp_path_factory.mktemp("vcenter")) as own:
        yield own


@pytest.fixture
def vcenter(shared_vcenter: Vcenter) -> Iterator[Vcenter]:
    """Return a vCenter whose calls go as usual, and are counted from here."""
    shared_vcenter.configure()
    shared_vcenter.forget_calls()
    yield shared_vcenter
    shared_vcenter.configure()
