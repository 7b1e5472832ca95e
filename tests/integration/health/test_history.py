"""The checks that are kept, and how they are read back."""

import json

import pytest

from tests.support.promises import run_health
from tests.support.world import POOL, World
from vmpooler_tasks.jobs.health.history import points
from vmpooler_tasks.model.health.history import KeptCheck
from vmpooler_tasks.model.health.status import Status
from vmpooler_tasks.model.names import Queue
from vmpooler_tasks.store import keys
from vmpooler_tasks.store.health import record as store

pytestmark = pytest.mark.both_servers

DAY = 86400
OLD = '"dlq":0,"stuck":0,"orphaned":0,"reasons":[]'
UNREADABLE = [
    "nojson",
    "5",
    "[]",
    "{}",
    "[" * 100_000,
    '{"at":1}',
    '{"at":1,"status":"splendid"}',
    '{"at":1,"status":["healthy"]}',
    '{"at":"1","status":"healthy"}',
    '{"at":1e300,"status":"healthy"}',
    '{"at":NaN,"status":"healthy"}',
    f'{{"at":1,"status":"healthy",{OLD},"pools":{{"centos":[1,2,3,4,5,6]}}}}',
    f'{{"at":2,"status":"healthy",{OLD},"pools":[]}}',
    '{"at":3,"status":"healthy","dlq":1' + "0" * 400 + "}",
    '{"at":4,"status":"healthy","reasons":[5]}',
    '{"at":5,"status":"healthy","reasons":["\\ud800"]}',
]
"""Entries that are skipped. One of them is of an earlier form, with the numbers of a pool by their place."""


def test_an_unreadable_entry_of_the_history_is_skipped(world: World) -> None:
    world.client.zadd(keys.HEALTH_HISTORY.decode(), dict.fromkeys(UNREADABLE, world.now))
    run_health(world)
    (check,) = store.read_history(world.db, world.now)
    assert check.status is Status.HEALTHY
    assert len(points(world.db, world.now, 10)) == 1


@pytest.mark.parametrize("pools", ["", ',"pools":{}'])
def test_a_kept_check_without_numbers_counts_nothing(world: World, pools: str) -> None:
    text = f'{{"at":{world.now},"status":"degraded"{pools}}}'
    world.client.zadd(keys.HEALTH_HISTORY.decode(), {text: world.now})
    assert store.read_history(world.db, world.now) == [KeptCheck(at=world.now, status=Status.DEGRADED, reasons=[])]


def test_each_check_is_kept_and_read_back_oldest_first(world: World) -> None:
    start = world.now
    for _ in range(3):
        run_health(world)
        world.now += 300
    world.client.sadd(keys.queue(Queue.PENDING, POOL), *(str(index) for index in range(101)))
    run_health(world)
    history = store.read_history(world.db, start)
    assert [entry.at for entry in history] == [start, start + 300, start + 600, start + 900]
    assert [str(entry.status) for entry in history] == ["healthy"] * 3 + ["degraded"]
    assert history[-1].reasons == ["pending_queue"]
    assert history[-1].pools[POOL].pending == 101
    assert [entry.at for entry in store.read_history(world.db, start + 301)] == [start + 600, start + 900]


def test_history_is_bounded_to_seven_days(world: World) -> None:
    run_health(world)
    world.now += 7 * DAY
    run_health(world)
    assert world.client.zcard(keys.HEALTH_HISTORY.decode()) == 2
    world.now += 1
    run_health(world)
    assert world.client.zcard(keys.HEALTH_HISTORY.decode()) == 2


def test_history_is_bounded_in_number_as_well(world: World) -> None:
    old = {json.dumps({"at": world.now - index}): world.now - index for index in range(1, store.MAX_HISTORY + 1)}
    world.client.zadd(keys.HEALTH_HISTORY.decode(), old)
    run_health(world)
    assert world.client.zcard(keys.HEALTH_HISTORY.decode()) == store.MAX_HISTORY
    assert store.read_history(world.db, world.now)[0].status is Status.HEALTHY
