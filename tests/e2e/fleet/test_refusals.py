"""Worker and beat that start while Redis refuses something stay up, and work as soon as it refuses nothing."""

import random
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support import servers
from tests.support.failing_tasks import PREFIX
from tests.support.messages import message, send
from tests.support.processes import PATIENCE, ROOT, Installation, until
from vmpooler_tasks.errors import StoreUnavailableError
from vmpooler_tasks.store import Database, fleet_keys

pytestmark = [pytest.mark.stage(name="fleet"), pytest.mark.slow(seconds=60)]


def out_of_memory(database: Database) -> Callable[[], object]:
    database.client.config_set("maxmemory", "1mb")
    return lambda: database.client.config_set("maxmemory", "0")


def no_permission(database: Database) -> Callable[[], object]:
    database.client.acl_setuser("default", enabled=True, nopass=True, commands=["-@scripting"])
    return lambda: database.client.acl_setuser("default", enabled=True, nopass=True, commands=["+@all"])


def read_only(database: Database) -> Callable[[], object]:
    database.client.execute_command("REPLICAOF", "127.0.0.1", "1")
    return lambda: database.client.execute_command("REPLICAOF", "NO", "ONE")


def no_client_slot(database: Database) -> Callable[[], object]:
    database.client.config_set("maxclients", "1")
    return lambda: database.client.config_set("maxclients", "10000")


def loading(database: Database) -> Callable[[], object]:
    """Let the server read its dataset again, a tenth of a second for each key: as a large one after a restart."""
    loader = Database(database.address, reply_timeout=PATIENCE)
    database.client.mset({f"filler {number}": random.randbytes(2048) for number in range(9000)})
    for name, value in (("loading-process-events-interval-bytes", "1024"), ("key-load-delay", "100000")):
        database.client.config_set(name, value)

    def reload() -> None:
        with suppress(StoreUnavailableError):
            loader.call("DEBUG", "RELOAD")

    thread = threading.Thread(target=reload, daemon=True)
    thread.start()

    def is_loading() -> bool:
        with suppress(StoreUnavailableError):
            database.call("EXISTS", "any key")
            return False
        return True

    until(is_loading, "the server reads its dataset")

    def accept() -> None:
        database.client.config_set("key-load-delay", "0")
        thread.join(PATIENCE)
        loader.close()

    return accept


@pytest.mark.parametrize(
    ("refuse", "worker_says", "beat_says"),
    [
        (out_of_memory, "used memory > 'maxmemory'", "used memory > 'maxmemory'"),
        (no_permission, "no permissions to run the", "has no permissions to run the"),
        (read_only, "read only replica", "read only replica"),
        (no_client_slot, "max number of clients reached", "max number of clients reached"),
        (loading, "is loading the dataset in memory", "is loading the dataset in memory"),
    ],
)
def test_a_start_that_is_refused_is_repeated_until_redis_accepts_it(
    tmp_path: Path, refuse: Callable[[Database], Callable[[], object]], worker_says: str, beat_says: str
) -> None:
    with (
        servers.running("valkey", tmp_path / "server", ("--enable-debug-command", "yes")) as server,
        Installation(server.url, tmp_path) as installation,
    ):
        database = Database(server.url)
        accept = refuse(database)
        installation.environment["PYTHONPATH"] = str(ROOT)
        worker = installation.celery("worker", "--loglevel", "INFO", name="worker", include=[PREFIX]).start()
        beat = installation.celery("beat", "--loglevel", "INFO", name="beat").start()
        worker.says(worker_says)
        beat.says(beat_says)
        accept()
        worker.says(" ready.")
        sent = message(f"{PREFIX}.sleep", 0)
        send(database, sent)
        worker.says(f"[{sent['headers']['id']}] succeeded")
        until(lambda: database.call("HLEN", fleet_keys.SCHEDULE) > 0, "beat sends its ticks")
        for process in (worker, beat):
            assert process.running
            assert "Traceback" not in process.log
        database.close()
