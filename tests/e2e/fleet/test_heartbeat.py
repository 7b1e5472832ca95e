"""Workers say that they live, whatever their pool, and until they stop, die or lose their broker."""

from pathlib import Path

import pytest

from tests.support.processes import Installation, until
from tests.support.servers import TestServer
from vmpooler_tasks.model.fleet import ALIVE_SECONDS, Fleet, Heartbeat, SeenProcess
from vmpooler_tasks.store import Database
from vmpooler_tasks.store.fleet import heartbeats
from vmpooler_tasks.tasks.registry import QUEUES

pytestmark = pytest.mark.slow


def live(database: Database) -> list[Heartbeat]:
    return heartbeats.read_fleet(database).workers


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_a_worker_is_known_with_its_queues_until_it_stops(
    installation: Installation, database: Database, pool: str
) -> None:
    worker = installation.worker("-P", pool)
    (known,) = until(lambda: live(database), "it is known")
    assert known.name.startswith("worker@")
    assert known.queues == tuple(sorted(QUEUES))
    worker.stop()
    assert live(database) == []
    (goodbye,) = heartbeats.read_fleet(database).processes
    assert goodbye.last.stopped
    assert goodbye.last.queues == known.queues


def test_a_killed_worker_is_known_no_longer_than_its_last_sign(installation: Installation, database: Database) -> None:
    worker = installation.worker("-Q", "vmpooler.clone")
    (known,) = until(lambda: live(database), "it is known")
    assert known.queues == ("vmpooler.clone",)
    worker.kill()
    assert [one.name for one in live(database)] == [known.name]
    later = [
        SeenProcess(one.last, one.age_seconds + ALIVE_SECONDS) for one in heartbeats.read_fleet(database).processes
    ]
    assert Fleet(later).workers == []


def test_a_queue_that_is_taken_on_later_is_known(installation: Installation, database: Database) -> None:
    installation.configure(remote_control=["add_consumer"])
    installation.worker("-Q", "vmpooler.clone")
    until(lambda: live(database), "it is known")
    installation.run("celery", "-A", "vmpooler_tasks", "control", "add_consumer", "vmpooler.check")
    until(lambda: live(database)[0].queues == ("vmpooler.check", "vmpooler.clone"), "it says what it takes now")
    assert len(live(database)) == 1


def test_a_worker_whose_redis_was_away_is_known_again(tmp_path: Path) -> None:
    server = TestServer("valkey", tmp_path).start()
    database = Database(server.url)
    with Installation(server.url, tmp_path) as installation:
        worker = installation.worker()
        until(lambda: live(database), "it is known")
        server.kill()
        worker.says("Connection to broker lost")
        server.start()  # an empty one
        until(lambda: live(database), "it is known again")
        assert worker.running
    database.close()
    server.stop()


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_a_heartbeat_names_the_tasks_that_run(installation: Installation, database: Database, pool: str) -> None:
    installation.worker("-P", pool, tasks="tests.support.failing_tasks")
    installation.call("tests.support.failing_tasks.sleep", seconds=30)
    (task,) = until(lambda: [task for one in live(database) for task in one.tasks], "it runs")
    assert task.name == "tests.support.failing_tasks.sleep"
    assert 0 <= int(database.call("TIME")[0]) + 1 - task.since < 30
