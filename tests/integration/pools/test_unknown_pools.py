"""A task for a pool that this worker does not know goes to a worker that does."""

from typing import Any

import pytest

from tests.support.pool_world import PoolWorld
from tests.support.removed_pools import OTHER, lives
from vmpooler_tasks.errors import StoreUnavailableError
from vmpooler_tasks.store import Database
from vmpooler_tasks.tasks import pools
from vmpooler_tasks.tasks.guards import unknown_pools
from vmpooler_tasks.ttl_cache import ResultCache

NOWHERE = "redis://127.0.0.1:1/0"


@pytest.fixture
def sent_back(world: PoolWorld, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The arguments of the tasks whose messages went back."""
    found: list[Any] = []
    monkeypatch.setattr(unknown_pools, "settings", lambda: world.settings)
    monkeypatch.setattr(unknown_pools, "database", lambda: world.db)
    monkeypatch.setattr(unknown_pools, "_fleets", ResultCache(60))
    monkeypatch.setattr(unknown_pools, "_send_back", lambda _task, args, _kwargs: found.append(args))
    return found


def test_workers_that_could_not_be_read_are_read_again_for_the_next_task(
    world: PoolWorld, sent_back: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without that, the clones of a whole second became dead letters of a pool that nobody knows."""
    clone = ["a-1", OTHER]
    with monkeypatch.context() as outage:
        outage.setattr(unknown_pools, "database", lambda: Database(NOWHERE))
        with pytest.raises(StoreUnavailableError):
            unknown_pools.divert(pools.clone_vm, clone, {})
    lives(world, "w@there", "theirs", [OTHER], queues=["vmpooler.clone"])
    assert unknown_pools.divert(pools.clone_vm, clone, {}) == "returned: another worker has the pool"
    assert sent_back == [clone]
