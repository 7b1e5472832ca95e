"""A world with two pools for requests."""

import pytest

from tests.support.pool_world import PoolWorld, pool
from tests.support.request_world import OTHER
from vmpooler_tasks.store import Database


@pytest.fixture
def world(db: Database) -> PoolWorld:
    """Two pools that keep nothing ready."""
    return PoolWorld(db, pools=[pool(size=0), pool(OTHER, size=0)])
