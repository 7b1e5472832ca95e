"""One `sentinel://` address for the whole product, with real Sentinels and a real failover."""

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from tests.support import days_work
from tests.support.commands import CommandLine
from tests.support.days_work import SIZE, ready
from tests.support.failing_tasks import PREFIX
from tests.support.messages import QUEUE, message, send
from tests.support.ports import free_port
from tests.support.processes import Installation, until
from tests.support.sentinels import Watched, watched
from tests.support.world import POOL
from vmpooler_tasks.errors import VmpoolerTasksError
from vmpooler_tasks.model.names import DeadLetterQueue, Queue
from vmpooler_tasks.store import Database, keys
from vmpooler_tasks.store.health import record as health_record

pytestmark = pytest.mark.stage(name="deployment")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Watched]:
    with watched(tmp_path) as own:
        yield own


def test_the_whole_product_works(site: Watched, tmp_path: Path) -> None:
    database = Database(site.url)
    with Installation(site.url, tmp_path) as installation:
        days_work.work(installation, database)
        assert site.password not in "".join(path.read_text() for path in tmp_path.glob("*.log"))
    database.close()


def test_after_a_failover_the_work_goes_on_and_nothing_is_lost(site: Watched, tmp_path: Path) -> None:
    database = Database(site.url)
    with Installation(site.url, tmp_path) as installation:
        days_work.start(installation)
        until(lambda: ready(database) == SIZE, "the pool is full")
        before = set(database.call("SMEMBERS", keys.queue(Queue.READY, POOL)))
        send(database, message("no.such.task"))  # for the guard and the hooks, before
        dead_letters = keys.dead_letters(DeadLetterQueue.TASKS)
        until(lambda: database.call("ZCARD", dead_letters) == 1, "a dead letter")
        assert database.call("WAIT", 1, 5000) == 1

        was = site.current
        site.master.kill()
        until(lambda: site.current != was, "the Sentinels name another master")

        until(lambda: _can_be_read(database), "the store finds it")
        assert before <= set(database.call("SMEMBERS", keys.queue(Queue.READY, POOL)))
        assert database.call("ZCARD", dead_letters) == 1
        checked = health_record.read_status(database)["last_check"]
        until(lambda: health_record.read_status(database)["last_check"] > checked, "checks go on, and ticks")
        database.call("LPUSH", QUEUE, b"no message at all")
        until(lambda: database.call("ZCARD", dead_letters) == 2, "the guard keeps what is no message")
        run = CommandLine(installation.folder, installation.environment)
        asked = run("request", "centos-7=1", "--wait")
        assert asked.status == 0, asked
        found = json.loads(run("doctor", "--json").out)
        assert not [one for one in found if one["state"] == "fail" and one["what"] != "health"]
    database.close()


def test_neither_a_worker_nor_flower_shows_a_password(tmp_path: Path) -> None:
    with watched(tmp_path, "sentinels-own-word") as site, Installation(site.url, tmp_path) as installation:
        installation.worker()
        shown = [
            installation.run("celery", "-A", "vmpooler_tasks", "inspect", command, "--json")
            for command in ("stats", "conf", "report")
        ]
        assert all("mymaster" in text for text in shown[:2])
        login, port = ("operator", "a long password"), free_port()
        installation.environment["FLOWER_BASIC_AUTH"] = ":".join(login)
        installation.celery("flower", "--address=127.0.0.1", f"--port={port}", name="flower").start()
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", auth=login, timeout=30) as flower:
            until(lambda: _has_worker(flower), "Flower sees the worker")
            [name] = flower.get("/api/workers").json()
            pages = [flower.get(path) for path in (f"/worker/{name}", "/broker", "/api/workers", "/workers")]
        assert [page.status_code for page in pages] == [200] * 4
        assert QUEUE in pages[1].text, "Flower reads the lengths of the queues"
        shown += [page.text for page in pages]
        shown += [path.read_text() for path in tmp_path.glob("*.log") if not path.name.startswith("sentinel-")]
        assert not [text for text in shown if site.password in text or site.sentinel_password in text]


def _has_worker(flower: httpx.Client) -> bool:
    with suppress(httpx.TransportError):
        return bool(flower.get("/api/workers?refresh=1").json())
    return False


def _can_be_read(database: Database) -> bool:
    try:
        return bool(database.call("PING"))
    except VmpoolerTasksError:
        return False


def test_a_task_that_runs_through_a_failover_is_acknowledged_at_the_new_master(site: Watched, tmp_path: Path) -> None:
    database = Database(site.url)
    with Installation(site.url, tmp_path) as installation:
        worker = installation.worker("-P", "threads", tasks=PREFIX)
        send(database, message(f"{PREFIX}.sleep", 8))
        worker.says(f"{PREFIX}.sleep").says("] received")
        assert database.call("WAIT", 1, 5000) == 1
        site.master.kill()
        until(lambda: site.current == site.replica.port, "the replica is the master")
        worker.says(f"{PREFIX}.sleep[", times=2).says("succeeded in")
        send(database, message(f"{PREFIX}.succeed"))
        worker.says("succeeded in", times=2)
        assert worker.running
    database.close()


@pytest.mark.parametrize("program", ["worker", "beat"])
def test_a_worker_and_a_beat_wait_for_the_sentinels(program: str, tmp_path: Path) -> None:
    own = Watched(tmp_path, "s3cr3t-word")
    with Installation(own.url, tmp_path) as installation:
        process = installation.celery(program, "--loglevel", "INFO", name=program).start()
        try:
            process.says("No master found for 'mymaster'")
            assert "Traceback" not in process.log
            assert own.password not in process.log
            own.start()
            process.says(" ready." if program == "worker" else "[*] [beat] Sent")
        finally:
            own.stop()
