"""Which workers and beats are alive, as they record it by the server's clock."""

import pytest

from tests.support.fleet import beat, let_pass, record_processes, worker
from vmpooler_tasks.model.fleet import ALIVE_SECONDS, RunningTask
from vmpooler_tasks.store import Database, fleet_keys
from vmpooler_tasks.store.fleet import heartbeats

pytestmark = pytest.mark.both_servers

ONE = worker("w@one", ("vmpooler.check", "vmpooler.clone"))
TWO = worker("w@two", ("vmpooler.maintenance",))
BEAT = beat("one:7")


def test_a_process_with_a_recent_heartbeat_is_alive(db: Database) -> None:
    record_processes(db, TWO, ONE, BEAT)
    let_pass(db, TWO, ALIVE_SECONDS - 1)
    assert heartbeats.read_fleet(db).workers == [ONE, TWO]
    assert heartbeats.read_fleet(db).beats == [BEAT]
    let_pass(db, TWO, 2)
    assert heartbeats.read_fleet(db).workers == [ONE]


def test_everything_that_a_process_reports_is_read_back(db: Database) -> None:
    task = RunningTask(name="vmpooler_tasks.clone_vm", id="1", subject={"vm": "a-1", "pool": "ü"}, since=1.5)
    whole = worker(manages_pools=True, sent=12.5, clock_offsets=(-3600.0, 0.0), tasks=(task,))
    record_processes(db, whole)
    assert heartbeats.read_fleet(db).workers == [whole]


def test_the_server_dates_a_heartbeat_whatever_the_clock_of_its_process(db: Database) -> None:
    seconds, micros = db.call("TIME")
    stamped = heartbeats.record(db, worker(sent=1.0))
    assert 0 <= stamped - (seconds + micros / 1e6) < 60
    assert heartbeats.read_fleet(db).workers == [worker(sent=1.0)]


def test_old_heartbeats_are_removed(db: Database) -> None:
    record_processes(db, TWO)
    let_pass(db, TWO, heartbeats.HEARTBEAT_KEPT_SECONDS + 1)
    record_processes(db, ONE)
    assert db.call("HLEN", fleet_keys.HEARTBEATS) == db.call("ZCARD", fleet_keys.HEARTBEAT_TIMES) == 1


def test_new_queues_replace_the_former_ones(db: Database) -> None:
    fewer = worker(ONE.name, ONE.queues[:1])
    record_processes(db, ONE, fewer)
    assert heartbeats.read_fleet(db).workers == [fewer]


def test_other_fields_are_left_out(db: Database) -> None:
    record_processes(db, ONE)
    for number, odd in enumerate(("no json", "5 {}", '5 {"kind": 1}', "5 []", b"\xff", "nan {}", f"5 {'[' * 100_000}")):
        db.client.hset(fleet_keys.HEARTBEATS, f"odd:{number}", odd)
    assert heartbeats.read_fleet(db).workers == [ONE]


def test_a_full_server_takes_heartbeats(db: Database) -> None:
    db.client.config_set("maxmemory", 1)
    try:
        record_processes(db, ONE)
    finally:
        db.client.config_set("maxmemory", 0)
    assert heartbeats.read_fleet(db).workers == [ONE]
