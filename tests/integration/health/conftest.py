"""Every test here has an installation whose processes are running, as their heartbeats say."""

import pytest

from tests.support.fleet import record_processes
from tests.support.world import World


@pytest.fixture(autouse=True)
def _running_processes(world: World) -> None:
    record_processes(world.db)
