"""Each key of this project of a wrong type, deleted, or without its expiry: what must be done goes on."""

import time
from collections.abc import Callable, Iterator

import pytest

from tests.support.fleet import record_processes
from tests.support.pool_world import PoolWorld, pool
from tests.support.world import settings
from vmpooler_tasks.jobs.health import check
from vmpooler_tasks.jobs.health.changes import read_watched
from vmpooler_tasks.jobs.health.read import read_report
from vmpooler_tasks.jobs.inspection import roster
from vmpooler_tasks.jobs.orders import take
from vmpooler_tasks.jobs.pools.overview import overview
from vmpooler_tasks.jobs.purge import cycle
from vmpooler_tasks.jobs.purge.options import PurgeOptions
from vmpooler_tasks.model.names import WORK_QUEUES, Queue
from vmpooler_tasks.store import fleet_keys, keys
from vmpooler_tasks.store.fleet import audit, heartbeats, redeliveries, schedule
from vmpooler_tasks.store.key_types import FIXED_KEYS, OWN_FAMILIES, OWN_KEYS_PREFIX, KeyType, own_key_type
from vmpooler_tasks.store.redis.wrong_keys import SetAsideKey, find_own_wrong_keys, read_set_aside, set_aside

POOLS = ("amber", "birch")
ROUNDS = 4
VARIABLE_KEYS = [
    *(make(pool) for pool in POOLS for make in (keys.pool_breaker, keys.check_lock, keys.recycled, keys.dns_records)),
    *(keys.first_seen(queue, POOLS[0]) for queue in ("pending", "ready", "completed", "discovered")),
    *(keys.first_seen("orphaned"), keys.breaker("scripted"), fleet_keys.pool_list("x"), keys.redrive("run")),
    *(
        keys.FAILURES_PREFIX + b"1",
        keys.redrive_dead_letters("run"),
        fleet_keys.session("digest"),
        fleet_keys.login_failures("subject"),
        fleet_keys.known_login("login"),
        keys.notifications("target"),
    ),
    *(keys.work(b"vm"), keys.vm_order(b"vm")),
    *(b"vmpooler_tasks__dummy__amber", b"vmpooler_tasks__dummy__calls:create:amber:vm"),
    b"vmpooler_tasks__dummy__parts:amber:vm",
]
OWN_KEYS = [*(key for key in FIXED_KEYS if key.startswith(OWN_KEYS_PREFIX)), *VARIABLE_KEYS]


@pytest.fixture
def world(world: PoolWorld) -> PoolWorld:
    world.pools = [pool(name, size=1) for name in POOLS]
    world.now = time.time()
    return world


def overwrite(world: PoolWorld, key: bytes) -> None:
    """Put a value of another type there, as another program would."""
    world.client.delete(key)
    if own_key_type(key) is KeyType.LIST:
        world.client.zadd(key, {"x": 1})
    else:
        world.client.rpush(key, "x")


def operations(world: PoolWorld) -> Iterator[Callable[[], object]]:
    """Yield everything that the processes do again and again; each is called before the next is yielded."""
    health = world.settings.model_copy(
        update={"config": world.settings.config.model_copy(update={"health_check_enabled": True})}
    )
    yield lambda: roster.update(world.context)
    yield world.round
    yield world.reap
    yield lambda: take.run(world.context, may_send=True)
    yield lambda: cycle.run(world.db, settings(pools=POOLS), world.clock, PurgeOptions(who="test"))
    yield lambda: check.run(world.db, health, world.clock)
    yield lambda: read_watched(world.db, world.settings, world.now)
    yield lambda: read_report(world.db, world.settings, world.clock)
    yield lambda: overview(world.db, world.settings, world.now, queues=WORK_QUEUES, broker=world.db)
    yield lambda: schedule.claim_tick(world.db, "purge", schedule.read_last_ticks(world.db).get("purge", ""), world.now)
    yield lambda: record_processes(world.db)
    yield lambda: heartbeats.read_fleet(world.db)
    yield lambda: audit.record(world.db, {"action": "test"})
    yield lambda: audit.search(world.db, audit.AuditFilter(), 5)
    yield lambda: redeliveries.count_delivery(world.db, "task")


def use_all(world: PoolWorld) -> None:
    for name in POOLS:
        for vm in world.names_in(Queue.READY, name):
            world.client.smove(keys.queue(Queue.READY, name), keys.queue(Queue.COMPLETED, name), vm)


def fill(world: PoolWorld) -> None:
    for _ in range(ROUNDS):
        world.now += 5
        world.round()
        if is_full(world):
            return
    assert is_full(world)


def is_full(world: PoolWorld) -> bool:
    return all(len(world.names_in(Queue.READY, name)) == 1 for name in POOLS)


def test_the_scripts_know_the_same_types_as_the_table(world: PoolWorld) -> None:
    for key in OWN_KEYS:
        world.client.delete(key)
        expected = own_key_type(key)
        for other in KeyType:
            {
                KeyType.STRING: lambda key: world.client.set(key, "x"),
                KeyType.HASH: lambda key: world.client.hset(key, "x", "x"),
                KeyType.SET: lambda key: world.client.sadd(key, "x"),
                KeyType.SORTED_SET: lambda key: world.client.zadd(key, {"x": 1}),
                KeyType.STREAM: lambda key: world.client.xadd(key, {"x": "x"}),
                KeyType.LIST: lambda key: world.client.rpush(key, "x"),
            }[other](key)
            count = world.db.run("redis/set_aside", [key], [])
            assert count == (other is not expected), (key, other)
            world.client.delete(key)


def test_the_table_has_a_key_of_every_family() -> None:
    families = {key.removeprefix(OWN_KEYS_PREFIX).decode().partition("__")[0] for key in VARIABLE_KEYS}
    assert families == set(OWN_FAMILIES)


@pytest.mark.parametrize("key", OWN_KEYS, ids=bytes.decode)
def test_a_key_that_another_program_overwrites_again_and_again_stops_nothing(world: PoolWorld, key: bytes) -> None:
    for operation in operations(world):
        overwrite(world, key)
        operation()
    use_all(world)
    fill(world)
    set_aside(world.db, find_own_wrong_keys(world.db))
    named = {one.key for one in read_set_aside(world.db)}
    assert key in named
    assert find_own_wrong_keys(world.db) == []


@pytest.mark.stage(name="chaos")
@pytest.mark.timeout(600)
def test_keys_that_are_deleted_while_everything_runs_stop_nothing(world: PoolWorld) -> None:
    fill(world)
    for key in OWN_KEYS:
        for operation in operations(world):
            world.client.delete(key)
            operation()
        use_all(world)
        fill(world)


def test_keys_without_their_expiry_stop_nothing(world: PoolWorld) -> None:
    for operation in operations(world):
        for key in OWN_KEYS:
            world.client.persist(key)
        operation()
    for name in POOLS:  # nobody holds these: a holder writes them with an expiry
        world.client.set(keys.check_lock(name), "host:1:0")
    for lock in (keys.PURGE_LOCK, keys.HEALTH_CHECK_LOCK, keys.HEALTH_WATCH, keys.NOTIFY_WATCH, keys.WRONG_KEY_LOG):
        world.client.set(lock, "host:1:0")
    use_all(world)
    fill(world)
    assert not cycle.run(world.db, settings(pools=POOLS), world.clock, PurgeOptions(who="test")).skipped


def test_the_copy_of_a_key_that_was_set_aside_holds_what_was_in_it(world: PoolWorld) -> None:
    world.client.set(keys.CLONES, "a text")
    world.round()
    [aside] = read_set_aside(world.db)
    assert (aside.key, aside.found, aside.expected) == (keys.CLONES, "string", KeyType.SORTED_SET)
    assert abs(aside.at - time.time()) < 60
    assert isinstance(aside, SetAsideKey)
    assert world.client.get(aside.copy) == b"a text"


def test_a_fence_is_never_given_twice_when_the_counter_is_lost_or_holds_no_number(world: PoolWorld) -> None:
    fences = set[int]()
    for value in (None, "7", "no number", "", "1e3"):
        world.client.set(keys.FENCES, value) if value is not None else world.client.delete(keys.FENCES)
        if value is None or value == "7":
            world.client.delete(keys.FENCES)
        [*started] = [*world.clones(POOLS[0]), *world.clones(POOLS[1])]
        for vm in started:
            home = POOLS[0] if vm in world.names_in(Queue.PENDING, POOLS[0]) else POOLS[1]
            world.clone(vm, pool=home)
            fence = int(world.client.get(keys.FENCES))
            assert fence not in fences
            fences.add(fence)
        use_all(world)
    assert len(fences) == 10
    assert min(fences) > 1_000_000_000_000_000
