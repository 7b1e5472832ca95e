"""Junk in the fields and members of our own keys: what must be done goes on, as if the junk were not there."""

from contextlib import suppress
from functools import partial

import pytest

from tests.integration.pools.test_overwritten_keys import OWN_KEYS, POOLS, fill, operations, use_all
from tests.support.pool_world import RESET, PoolWorld, pool
from vmpooler_tasks.errors import SuspendedError, TransientProviderError
from vmpooler_tasks.store import fleet_keys, keys
from vmpooler_tasks.store.fleet import schedule
from vmpooler_tasks.store.guards import brakes
from vmpooler_tasks.store.key_types import KeyType, own_key_type
from vmpooler_tasks.store.pools import other_manager
from vmpooler_tasks.store.pools.breakers import CallKind
from vmpooler_tasks.store.redrive import runs

JUNK = (b"x", b"", b"nan", b"1e400", b"1" * 18, b"9" * 30, b"-7", b"\xff\xfe", b"[1]", b"[" * 9999)
SCORES = ("inf", "-inf", "1e300", "-1")

BREAKER_FIELDS = (
    *("failures", "transient", "open_until", "trial_until", "pause", "inventory_until", "error", "error_at"),
    *CallKind,
)
FIELDS = {
    **dict.fromkeys((keys.breaker("scripted"), *map(keys.pool_breaker, POOLS)), BREAKER_FIELDS),
    keys.MANAGER_WATCH: ("state", "until", "valid_until", "seen_at", "sightings", "evidence", "known:x", "foreign:x"),
    fleet_keys.SCHEDULE: ("purge", "purge" + schedule.CLAIM_SUFFIX),
    keys.PROGRESS: ("clones", "since:clones", "error:clones", "inspection:amber", "since:inspection:amber"),
    keys.HEALTH_STATE: ("last_check", "purge_expected", "empty_since", "work_expected_since", "dlq_errors"),
    keys.NOTIFY_STATE: ("status", "since", "differs_since", "reminded", "last:x"),
    keys.PURGE_STATE: ("started", "finished", "failure", "skipped_queues"),
    keys.redrive("run"): ("state", "position", "total", "redriven"),
}
STOPPING = (keys.PAUSED, keys.BRAKES, keys.REMOVED_POOLS, keys.KEPT_POOLS)
"""Junk there counts as the safe side: it may stop the pool that it names, and no other."""


def put_junk(world: PoolWorld, key: bytes, number: int) -> None:
    """Write junk into each field and member that the key has or may have. What may stop a pool names the first."""
    junk, score = JUNK[number % len(JUNK)], SCORES[number % len(SCORES)]
    match own_key_type(key):
        case KeyType.HASH:
            known = set() if key in STOPPING else set(world.client.hkeys(key))
            fields = {*known, *(name.encode() for name in FIELDS.get(key, ())), POOLS[0].encode(), b"\xff"}
            world.client.hset(key, mapping=dict.fromkeys(fields, junk))
        case KeyType.SORTED_SET:
            world.client.zadd(key, dict.fromkeys([*world.client.zrange(key, 0, -1), junk], score))
        case KeyType.SET:
            world.client.sadd(key, junk)
        case KeyType.LIST:
            world.client.delete(key)
            world.client.rpush(key, junk)
        case KeyType.STREAM:
            world.client.xadd(key, {b"\xff": junk, b"count": junk, b"action": junk})
        case _ if b"__lock__" not in key:
            world.client.set(key, junk)


def put_junk_before_call(world: PoolWorld, key: bytes, number: int, name: str) -> None:
    del name
    put_junk(world, key, number)


def wait_for_watch(world: PoolWorld) -> None:
    """A watch for another pool manager that holds junk starts anew: let it end."""
    for _ in range(30):
        world.now += 10
        other_manager.observe(world.db, POOLS, now=world.now, interval_seconds=10)


@pytest.fixture
def world(world: PoolWorld) -> PoolWorld:
    world.pools = [pool(name, size=1) for name in POOLS]
    world.now = float(world.client.time()[0])
    return world


@pytest.mark.stage(name="chaos")
@pytest.mark.timeout(600)
@pytest.mark.parametrize("key", OWN_KEYS, ids=bytes.decode)
def test_junk_in_a_key_stops_nothing(world: PoolWorld, key: bytes) -> None:
    fill(world)
    failing = (("create",), ("find", "list", "destroy"), ())
    for number in range(len(JUNK)):
        for call in ("create", "ready", "find", "destroy", "list"):
            world.provider.before(call, partial(put_junk_before_call, world, key, number))
            world.provider.raises(call, *[RESET] * (call in failing[number % 3]))
        for operation in operations(world):
            put_junk(world, key, number)
            with suppress(TransientProviderError, SuspendedError):  # the provider's failures, not those of the junk
                operation()
        other_manager.observe(world.db, POOLS, now=world.now, interval_seconds=10)
        use_all(world)
        for call in ("create", "ready", "find", "destroy", "list"):
            world.provider.before(call, None)
        if key in STOPPING:
            world.client.delete(key)
        world.now += 700
    wait_for_watch(world)
    fill(world)


@pytest.mark.parametrize("junk", JUNK)
def test_junk_in_a_breaker_suspends_nobody_and_a_failure_is_counted_all_the_same(world: PoolWorld, junk: bytes) -> None:
    for key in (keys.breaker("scripted"), *map(keys.pool_breaker, POOLS)):
        world.client.hset(key, mapping=dict.fromkeys(BREAKER_FIELDS, junk))
    world.reap()  # which ends suspensions that last longer than they can
    first, second = (world.clones(name)[0] for name in POOLS)
    assert world.clone(first, pool=POOLS[0]) != "suspended"
    world.fail(second, RESET, pool=POOLS[1])
    assert world.client.hget(keys.pool_breaker(POOLS[1]), "transient") == b"1"


@pytest.mark.parametrize("junk", [*JUNK, b'{"confirmed": 1e400}', b'{"confirmed": "5"}', b'{"since": 1e400}'])
def test_junk_in_a_brake_or_a_pause_counts_as_the_safe_side(world: PoolWorld, junk: bytes) -> None:
    world.client.hset(keys.BRAKES, POOLS[0], junk)
    world.client.hset(keys.PAUSED, POOLS[0], junk)
    assert brakes.is_engaged(world.db, POOLS[0])
    assert world.clones(POOLS[0]) == []
    assert len(world.clones(POOLS[1])) == 1


@pytest.mark.parametrize("junk", JUNK)
def test_a_redrive_run_with_junk_is_read(world: PoolWorld, junk: bytes) -> None:
    key = keys.redrive("run")
    world.client.hset(key, mapping={"state": "running", **dict.fromkeys(("position", "total", *runs.COUNTS), junk)})
    run = runs.read(world.db, "run")
    assert run is not None
    assert run.position >= 0
    runs.count_failure(world.db, "run")
