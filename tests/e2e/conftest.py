"""Installations of real processes, and pytest-celery's clusters backed by such processes."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser
from pytest_celery import (
    CeleryBackendCluster,
    CeleryBrokerCluster,
    CeleryTestSetup,
    CeleryTestWorker,
    CeleryWorkerCluster,
    RedisTestBackend,
    RedisTestBroker,
)

from tests.support.browser import USERS, Dashboard, chromium
from tests.support.commands import CommandLine
from tests.support.processes import Installation
from tests.support.pytest_celery_processes import PING, LocalRedis, LocalWorker, Setup
from tests.support.servers import TestServer
from tests.support.world import World
from vmpooler_tasks.store import Database


@pytest.fixture
def run(valkey: TestServer, tmp_path: Path) -> CommandLine:
    """The command on an empty database, with every feature on and one pool."""
    return CommandLine(tmp_path, Installation(valkey.url, tmp_path).environment)


@pytest.fixture
def world(valkey: TestServer) -> Iterator[World]:
    """That database. Its clock is the real one, since the command's is."""
    db = Database(valkey.url)
    yield World(db, now=time.time())
    db.close()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with chromium() as own:
        yield own


@pytest.fixture
def dashboard(browser: Browser, installation: Installation) -> Iterator[Dashboard]:
    """On the database of `installation`; whoever comes has to log in."""
    own = Dashboard(browser, installation, USERS)
    own.start()
    yield own
    own.leave()


@pytest.fixture
def open_dashboard(browser: Browser, installation: Installation) -> Iterator[Dashboard]:
    """The same without a login."""
    own = Dashboard(browser, installation)
    own.start()
    yield own
    own.leave()


@pytest.fixture
def celery_broker_cluster(valkey: TestServer) -> CeleryBrokerCluster:
    return CeleryBrokerCluster(RedisTestBroker(LocalRedis(valkey)))


@pytest.fixture
def celery_backend_cluster(valkey: TestServer) -> CeleryBackendCluster:
    """The same server, as in an installation."""
    return CeleryBackendCluster(RedisTestBackend(LocalRedis(valkey)))


@pytest.fixture
def celery_worker_cluster(installation: Installation) -> CeleryWorkerCluster:
    """Two workers on one queue."""
    names = ("one", "two")
    processes = [installation.worker(name=name, tasks=PING) for name in names]
    nodes = [LocalWorker(process, name) for process, name in zip(processes, names, strict=True)]
    return CeleryWorkerCluster(*(CeleryTestWorker(node, app=None) for node in nodes))


@pytest.fixture
def celery_setup_cls() -> type[CeleryTestSetup]:
    return Setup
