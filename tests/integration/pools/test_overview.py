"""The state of each pool: sizes, clones in flight, recent failures, suspensions."""

from typing import Any

import pytest

from tests.support import counting_proxy
from tests.support.commands import dead_letter
from tests.support.pool_world import PoolWorld, pool
from tests.support.servers import TestServer
from tests.support.world import NOW, POOL
from vmpooler_tasks.jobs.pools.overview import PoolRow, overview
from vmpooler_tasks.model.names import DeadLetterQueue, Queue
from vmpooler_tasks.model.pools.pause import Pause, PauseState
from vmpooler_tasks.model.pools.state import PoolStateName
from vmpooler_tasks.store import Database, keys
from vmpooler_tasks.store.pools import pauses, views

pytestmark = pytest.mark.both_servers

OTHER = "debian-12"


@pytest.fixture
def world(db: Database) -> PoolWorld:
    return PoolWorld(db, pools=[pool(size=5), pool(OTHER, size=2)])


def rows(world: PoolWorld) -> dict[str, PoolRow]:
    return {row.pool: row for row in overview(world.db, world.settings, world.now)[1]}


def failed(world: PoolWorld, age: float, message: str, queue: str = "clone", **fields: Any) -> None:
    given = {"vm": "v", "pool": POOL, "error_class": "E", "error_message": message, **fields}
    dead_letter(world, queue, age, **given)


def test_an_empty_pool_is_a_row_of_zeros(world: PoolWorld) -> None:
    assert rows(world)[POOL] == PoolRow(
        pool=POOL,
        state=PoolStateName.STALLED,
        since=None,
        until=None,
        why="no beat is alive; no worker takes vmpooler.check and vmpooler.clone",
        size=5,
        ready=0,
        pending=0,
        cloning=0,
        running=0,
        completed=0,
        failures=0,
        failures_seconds=3600,
        last_failure="",
        last_error="",
        last_error_at=None,
        provider="scripted",
        provider_closed_until=None,
        pool_closed_until=None,
    )
    assert list(rows(world)) == [POOL, OTHER], "in the order in which they are configured"


def test_vms_are_counted_by_queue_and_pool(world: PoolWorld) -> None:
    for count, queue in enumerate((Queue.READY, Queue.PENDING, Queue.RUNNING, Queue.COMPLETED), start=1):
        for number in range(count):
            world.vm(queue, f"{queue}-{number}", 0)
    world.vm(Queue.READY, "elsewhere", 0, OTHER)
    found, other = rows(world)[POOL], rows(world)[OTHER]
    assert (found.ready, found.pending, found.running, found.completed) == (1, 2, 3, 4)
    assert (other.ready, other.pending, other.running, other.completed) == (1, 0, 0, 0)


def test_the_size_in_effect_is_shown(world: PoolWorld) -> None:
    world.client.hset(keys.POOL_SIZES, mapping={POOL: "9", OTHER: "many"})
    assert (rows(world)[POOL].size, rows(world)[OTHER].size) == (9, 2)


def test_clones_in_flight_are_counted_apart_from_booting_vms(world: PoolWorld) -> None:
    started = world.clones()
    world.vm(Queue.PENDING, "booting", 0)
    assert len(started) == 5
    found = rows(world)[POOL]
    assert (found.pending, found.cloning) == (6, 5)
    assert rows(world)[OTHER].cloning == 0


def test_the_failures_of_the_last_hour_are_counted_and_the_last_is_shown(world: PoolWorld) -> None:
    failed(world, 3601, "long ago")
    failed(world, 3500, "first")
    failed(world, 60, "last", "pending", old_form=True)
    failed(world, 90, "a task", "tasks", task="t")
    failed(world, 10, "elsewhere", pool=OTHER)
    found, other = rows(world)[POOL], rows(world)[OTHER]
    assert (found.failures, found.last_failure) == (3, "last")
    assert (other.failures, other.last_failure) == (1, "elsewhere")


def test_a_dead_letter_queue_of_the_wrong_type_hides_no_other(world: PoolWorld) -> None:
    world.client.set("vmpooler__dlq__ready", "x")
    failed(world, 60, "shown")
    assert rows(world)[POOL].last_failure == "shown"


def test_a_queue_of_the_wrong_type_counts_nothing(world: PoolWorld) -> None:
    world.client.set(keys.queue(Queue.PENDING, POOL), "x")
    world.vm(Queue.READY, "v", 0)
    assert (rows(world)[POOL].pending, rows(world)[POOL].cloning, rows(world)[POOL].ready) == (0, 0, 1)


def test_a_suspended_provider_is_shown_with_each_of_its_pools(world: PoolWorld) -> None:
    world.client.hset(keys.breaker("scripted"), mapping={"failures": 5, "open_until": NOW + 30})
    assert {row.provider_closed_until for row in rows(world).values()} == {NOW + 30}
    world.client.delete(keys.breaker("scripted"))
    assert {row.provider_closed_until for row in rows(world).values()} == {None}


def test_a_suspended_pool_is_shown_by_itself(world: PoolWorld) -> None:
    world.client.hset(keys.pool_breaker(OTHER), mapping={"failures": 5, "open_until": NOW + 30})
    assert [row.pool_closed_until for row in rows(world).values()] == [None, NOW + 30]
    assert {row.provider_closed_until for row in rows(world).values()} == {None}


def test_a_suspended_pool_shows_its_last_error_and_when_it_was(world: PoolWorld) -> None:
    error = {"failures": 5, "open_until": NOW + 30, "error": "template not found", "error_at": NOW - 12}
    world.client.hset(keys.pool_breaker(POOL), mapping=error)
    found = rows(world)[POOL]
    why = "its clones or checks failed repeatedly. Last error: template not found"
    assert (found.state, found.until, found.why) == (PoolStateName.SUSPENDED, NOW + 30, why)
    assert (found.last_error, found.last_error_at) == ("template not found", NOW - 12)
    world.now += 30 + 31
    assert rows(world)[POOL].state is PoolStateName.SUSPENDED, "nobody has tried it since"


def test_a_paused_pool_shows_who_paused_it_and_why(world: PoolWorld) -> None:
    given = Pause(state=PauseState.DRAINING, since=NOW - 5, who="olga@host", why="new disks")
    pauses.pause(world.db, POOL, given, {"action": "drain"})
    found = rows(world)[POOL]
    assert (found.state, found.since, found.why) == (PoolStateName.DRAINING, NOW - 5, "by olga@host: new disks")
    world.config = {"manage_pools": False}
    assert rows(world)[POOL].state is PoolStateName.EMPTY, "VMPooler's manager knows no pause"


def test_a_pool_moves_while_it_is_full_or_starts_clones(world: PoolWorld) -> None:
    def moved() -> dict[str, float]:
        return dict(views.read_progress(world.db).moved)

    world.config = {"task_limit": 1}
    assert moved() == {}
    [vm] = world.clones()
    assert moved() == {POOL: NOW}
    world.now += 60
    world.inspect()
    assert moved() == {POOL: NOW}, "its slot is used, so it starts nothing"
    world.clone(vm)
    assert moved() == {POOL: NOW + 60}, "a VM became ready"
    for number in range(4):
        world.ready_vm(f"pooler-{number}")
    world.now += 60
    world.inspect()
    assert moved() == {POOL: NOW + 120}, "it is full"


def test_without_configured_pools_the_registered_pools_are_shown(world: PoolWorld) -> None:
    world.pools = []
    world.client.sadd(keys.POOLS, "b", "a")
    world.client.hset(keys.pool("a"), "size", "7")
    world.vm(Queue.READY, "v", 0, "b")
    found = rows(world)
    assert [(row.pool, row.size, row.ready, row.provider) for row in found.values()] == [
        ("a", 7, 0, ""),
        ("b", 0, 1, ""),
    ]


POOLS = [f"pool-{number}" for number in range(200)]


def round_trips(world: PoolWorld, server: TestServer) -> int:
    return counting_proxy.round_trips(server.port, lambda db: overview(db, world.settings, world.now))


def test_the_round_trips_do_not_depend_on_pools_and_dead_letters(world: PoolWorld, server: TestServer) -> None:
    world.pools = [pool(name, size=5) for name in POOLS[:10]]
    few = round_trips(world, server)
    world.pools = [pool(name, size=5) for name in POOLS]
    assert round_trips(world, server) == few
    members = [f'{{"vm":"vm-{n}","pool":"pool-{n % 200}","error_message":"full"}}' for n in range(10_000)]
    world.client.zadd(keys.dead_letters(DeadLetterQueue.CLONE), dict.fromkeys(members, NOW - 60))
    assert round_trips(world, server) == few
    assert few <= 4


def test_without_any_pool_there_is_no_row(world: PoolWorld) -> None:
    world.pools = []
    assert rows(world) == {}


def test_the_overview_changes_nothing(world: PoolWorld) -> None:
    world.pools = [pool(size=1)]  # of a set of several the server itself may change the order
    world.clones()
    failed(world, 60, "x")
    before = world.snapshot()
    rows(world)
    assert world.snapshot() == before


def test_the_json_of_a_row_is_what_it_shows(world: PoolWorld) -> None:
    assert rows(world)[OTHER].as_json() == {
        "pool": OTHER,
        "state": "stalled",
        "since": None,
        "until": None,
        "why": "no beat is alive; no worker takes vmpooler.check and vmpooler.clone",
        "size": 2,
        "ready": 0,
        "pending": 0,
        "cloning": 0,
        "running": 0,
        "completed": 0,
        "failures": 0,
        "failures_seconds": 3600.0,
        "last_failure": "",
        "last_error": "",
        "last_error_at": None,
        "provider": "scripted",
        "provider_closed_until": None,
        "pool_closed_until": None,
        "brake": "",
    }
