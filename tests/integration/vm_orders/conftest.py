"""A world with one running VM, whose user may order disks, snapshots and reverts."""

import pytest

from tests.support.order_world import OrderWorld, running
from vmpooler_tasks.store import Database


@pytest.fixture
def world(db: Database) -> OrderWorld:
    own = OrderWorld(db)
    running(own)
    return own
