"""A world whose installation has a name."""

import pytest

from tests.support.marking_provider import MarkingScripted, marking_world
from tests.support.pool_world import PoolWorld, pool
from vmpooler_tasks.store import Database


@pytest.fixture
def world(db: Database) -> PoolWorld:
    """A pool that starts no clones."""
    return marking_world(db, pools=[pool(size=40)])


@pytest.fixture
def provider(world: PoolWorld) -> MarkingScripted:
    assert isinstance(world.provider, MarkingScripted)
    return world.provider
