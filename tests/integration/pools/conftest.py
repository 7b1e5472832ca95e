"""A world of pools, and a VM that is to be cloned."""

import pytest

from tests.support.pool_world import PoolWorld, pool
from vmpooler_tasks.store import Database


@pytest.fixture
def world(db: Database) -> PoolWorld:
    return PoolWorld(db)


@pytest.fixture
def vm(world: PoolWorld) -> str:
    """One that is to be cloned."""
    world.pools = [pool(size=1)]
    return world.clones()[0]
