"""The tasks wait for the watch at the start, and do nothing while another pool manager is at work."""

import time
from collections.abc import Iterator

import pytest
from celery import Celery

from tests.support.manager_watch import COUNTER, INTERVAL, WatchedWorld, counts
from tests.support.pool_world import PoolWorld
from tests.support.servers import TestServer
from tests.support.world import POOL
from vmpooler_tasks.store import Database, keys
from vmpooler_tasks.tasks import other_manager as tasks_other_manager
from vmpooler_tasks.tasks import pools
from vmpooler_tasks.tasks import registry as names
from vmpooler_tasks.tasks.celery.configuration import install_transports
from vmpooler_tasks.tasks.guards import published_config, unknown_pools
from vmpooler_tasks.tasks.other_manager import OtherManagerGuard

pytestmark = pytest.mark.both_servers

OTHER, WATCHING = "another pool manager is at work", "the workers watch for another pool manager first"


@pytest.fixture
def world(db: Database) -> WatchedWorld:
    return WatchedWorld(db, now=time.time())


@pytest.fixture
def tasks(world: WatchedWorld, server: TestServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[WatchedWorld]:
    """The tasks themselves run here, on this world, and send their messages to its server."""
    install_transports()
    world.config["check_loop_delay_min"] = INTERVAL
    with Celery("tests", broker=server.url) as app:
        for module in (pools, published_config, unknown_pools):
            monkeypatch.setattr(module, "settings", lambda: world.settings)
        monkeypatch.setattr(pools, "pool_context", lambda: world.context)
        for module in (pools, tasks_other_manager, published_config, unknown_pools):
            monkeypatch.setattr(module, "database", lambda: world.db)
        monkeypatch.setattr(world.db, "clock", world.clock)
        monkeypatch.setattr(tasks_other_manager, "QUERY_INTERVAL", 0)
        monkeypatch.setattr(pools, "guard", OtherManagerGuard())
        app.set_current()
        yield world


def sent(world: PoolWorld) -> int:
    return int(world.client.llen(names.CHECK_QUEUE))


def tick(world: WatchedWorld, seconds: float = INTERVAL) -> str:
    world.now += seconds
    return str(pools.check_pools.run())


def test_the_configuration_is_published_at_once_in_a_redis_without_any_manager(tasks: WatchedWorld) -> None:
    published_config.publish()
    assert tasks.client.hget("vmpooler__config", "manage_pools") == b"true"


def test_the_tasks_wait_for_the_watch_and_log_it(tasks: WatchedWorld, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    tasks.client.set(COUNTER, 7)
    before = tasks.snapshot()
    assert (tick(tasks), tick(tasks)) == (WATCHING, WATCHING)
    assert pools.check_pool(pool=POOL) == WATCHING
    published_config.publish()
    assert tasks.snapshot() == before
    assert tick(tasks) == "1 pools"
    assert sent(tasks) == 1
    assert tasks.client.hget("vmpooler__config", "manage_pools") == b"true"
    assert caplog.messages == [
        "[*] [pools] Watching for another pool manager for 10 seconds before the next clone",
        "[*] [pools] No other pool manager is at work: these workers manage the pools",
        "[!] [pools] vmpooler__tasks__clone was 7, left behind by another pool manager: corrected to 0",
    ]


def test_no_key_of_vmpooler_changes_while_another_manager_is_at_work(
    tasks: WatchedWorld, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        tick(tasks)
    for number in range(2):
        counts(tasks, number)
        tick(tasks)
    tasks.others_vm("pooler-a")
    before, messages = tasks.snapshot(), sent(tasks)
    published_config.publish()
    assert tick(tasks) == OTHER
    for task, kwargs in (
        (pools.check_pool, {"pool": POOL}),
        (pools.process_ondemand_requests, {}),
        (pools.clone_vm, {"vm": "pooler-a", "pool": POOL}),
        (pools.purge_unconfigured, {"provider": "dummy"}),
        (pools.mark_vm, {"vm": "pooler-a", "pool": POOL}),
        (pools.destroy_vm, {"vm": "pooler-a", "pool": POOL}),
        (pools.create_disk, {"vm": "pooler-a", "pool": POOL, "size": "8"}),
        (pools.create_snapshot, {"vm": "pooler-a", "pool": POOL, "snapshot": "before"}),
        (pools.revert_snapshot, {"vm": "pooler-a", "pool": POOL, "snapshot": "before"}),
    ):
        assert task(**kwargs) == OTHER
    assert tasks.clones() == []
    assert {key: value for key, value in tasks.snapshot().items() if key in before} == before
    assert sent(tasks) == messages
    [line] = [line for line in caplog.messages if "is at work" in line]  # logged once
    assert line.startswith("[!] [pools] Another pool manager is at work on this Redis")
    assert line.endswith("these workers do nothing until it has been quiet for 120 seconds")
    assert (tick(tasks, 60), tick(tasks, 60)) == (OTHER, "1 pools")


def test_a_clone_that_was_started_before_ends_also_beside_another_manager(tasks: WatchedWorld) -> None:
    for _ in range(3):
        tick(tasks)
    vm, other = tasks.clones()
    for number in range(2):
        counts(tasks, number)
        tick(tasks)
    assert pools.clone_vm(vm=vm, pool=POOL) == "ready"
    assert tasks.client.get(COUNTER) == b"4", "two of ours, and what the other manager added"
    tasks.client.zadd(keys.POOL_SLOTS.key, {other: 1})  # its worker died
    assert tick(tasks) == OTHER
    assert tasks.client.llen(names.CLONE_QUEUE) == 1, "and is sent again"
    assert tasks.client.zcard(keys.POOL_SLOTS.key) == 1
