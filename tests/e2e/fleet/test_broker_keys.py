"""Worker and beat that start while keys of the broker have a wrong type: they name key and reason, and wait."""

from pathlib import Path

import pytest

from tests.support import servers
from tests.support.failing_tasks import PREFIX
from tests.support.messages import message, send
from tests.support.processes import ROOT, Installation, until
from vmpooler_tasks.store import Database, broker_keys, fleet_keys

pytestmark = [pytest.mark.stage(name="fleet"), pytest.mark.slow(seconds=60)]

MAINTENANCE = b"vmpooler.maintenance"


@pytest.mark.parametrize("key", [broker_keys.BINDINGS, MAINTENANCE, broker_keys.UNACKNOWLEDGED], ids=bytes.decode)
def test_a_key_of_the_wrong_type_is_named_and_what_waits_for_it_goes_on_without_a_restart(
    tmp_path: Path, key: bytes
) -> None:
    with servers.running("valkey", tmp_path / "server") as server, Installation(server.url, tmp_path) as installation:
        database = Database(server.url)
        database.call("SET", key, "a text")
        installation.environment["PYTHONPATH"] = str(ROOT)
        worker = installation.celery("worker", "--loglevel", "INFO", name="worker", include=[PREFIX]).start()
        beat = installation.celery("beat", "--loglevel", "INFO", name="beat").start()
        worker.says("[!] [broker] Redis refuses to ").says("WRONGTYPE")
        if key != broker_keys.UNACKNOWLEDGED:  # only a worker needs it
            beat.says("WRONGTYPE")
        assert key.decode() in installation.run("vmpooler-tasks", "health", status=2)  # beat has requested no check
        for process in (worker, beat):
            assert all(key.decode() in line for line in process.log.splitlines() if "WRONGTYPE" in line)
            assert "Connection to broker lost" not in process.log
            assert "Traceback" not in process.log
        database.call("DEL", key)
        worker.says(" ready.").says("[*] [broker] Redis does not refuse any more to ")
        sent = message(f"{PREFIX}.sleep", 0)
        send(database, sent)
        worker.says(f"[{sent['headers']['id']}] succeeded")
        until(lambda: database.call("HLEN", fleet_keys.SCHEDULE) > 0, "beat sends its ticks")
        database.close()
