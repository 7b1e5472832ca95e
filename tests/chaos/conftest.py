"""What all scenarios share: the source of what is random, and a server that loses no confirmed write."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.hypervisors import DURABLE, dummy
from tests.chaos.settings import FACTOR, SEED
from tests.chaos.site import Site
from tests.support import servers
from tests.support.servers import TestServer


@pytest.fixture
def chance(request: pytest.FixtureRequest) -> random.Random:
    """Return the source of everything random. Each test has its own: it does not depend on the tests before it."""
    print(f"\nCHAOS_SEED={SEED} CHAOS_FACTOR={FACTOR:g} {request.node.name}", flush=True)
    return random.Random(f"{SEED} {request.node.name}")


@pytest.fixture
def durable(tmp_path: Path) -> Iterator[TestServer]:
    """Return a server of this test alone, which can be killed and frozen."""
    with servers.running("valkey", tmp_path / "server", DURABLE) as server:
        yield server


@pytest.fixture
def valkey(durable: TestServer) -> TestServer:
    """Return the server of `installation` and `database`: the one that can be killed."""
    return durable


@pytest.fixture
def site(durable: TestServer, tmp_path: Path, chance: random.Random) -> Iterator[Site]:
    """Return two pools of the dummy with their workers, beat and users, all at work."""
    with dummy(tmp_path) as hypervisor, Site(durable, tmp_path, chance, hypervisor) as own:
        yield own
