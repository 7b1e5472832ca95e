"""A world of pools whose orders come from VMPooler's API server."""

import pytest

from tests.support.pool_world import PoolWorld
from vmpooler_tasks.store import Database


@pytest.fixture
def world(db: Database) -> PoolWorld:
    return PoolWorld(db)
