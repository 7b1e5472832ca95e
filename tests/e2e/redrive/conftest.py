"""A worker that runs what a redrive sends, for all tests of a module."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import servers
from tests.support.failing_tasks import PREFIX
from tests.support.processes import Installation
from tests.support.redrive_bench import Bench


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    folder: Path = tmp_path_factory.mktemp("redrive")
    with servers.running("valkey", folder / "server") as server, Installation(server.url, folder) as installation:
        own = Bench(installation, installation.worker("-P", "threads", tasks=PREFIX, worker_concurrency=4))
        yield own
        own.world.db.close()


@pytest.fixture
def bench(shared: Bench) -> Bench:
    shared.empty()
    return shared
