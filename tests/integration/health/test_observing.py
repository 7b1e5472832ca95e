"""The health status with observe_only: a key of its own, and vmpooler__health only if nobody else writes it."""

import pytest

from tests.support.promises import run_health
from tests.support.world import World, settings
from vmpooler_tasks.jobs.health import read
from vmpooler_tasks.model.timestamps import iso_utc
from vmpooler_tasks.store import keys

pytestmark = pytest.mark.both_servers

OBSERVING = settings(observe_only=True)
HOUR = 3600


def last_check(world: World, key: bytes) -> str:
    return (world.client.hget(key, "last_check") or b"").decode()


def test_fresh_status_of_another_program_stays(world: World) -> None:
    theirs = {"status": "healthy", "last_check": iso_utc(world.now - HOUR + 1), "metrics": "{}"}
    world.client.hset(keys.HEALTH, mapping=theirs)
    world.client.expire(keys.HEALTH, 1234)
    run_health(world, OBSERVING)
    assert {name.decode(): value.decode() for name, value in world.client.hgetall(keys.HEALTH).items()} == theirs
    assert 1200 < world.client.ttl(keys.HEALTH) <= 1234
    assert last_check(world, keys.OBSERVED_HEALTH) == iso_utc(world.now)


def test_old_status_of_another_program_is_replaced(world: World) -> None:
    world.client.hset(keys.HEALTH, mapping={"status": "healthy", "last_check": iso_utc(world.now - HOUR - 1)})
    run_health(world, OBSERVING)
    assert last_check(world, keys.HEALTH) == iso_utc(world.now)


def test_missing_status_is_written_and_kept_up_to_date(world: World) -> None:
    for _ in range(3):
        run_health(world, OBSERVING)
        assert last_check(world, keys.HEALTH) == iso_utc(world.now)
        world.now += 60


def test_another_program_that_starts_to_write_takes_over(world: World) -> None:
    run_health(world, OBSERVING)
    world.now += 60
    theirs = iso_utc(world.now)
    world.client.hset(keys.HEALTH, "last_check", theirs)
    world.now += 60
    run_health(world, OBSERVING)
    assert last_check(world, keys.HEALTH) == theirs


def test_status_without_a_usable_time_stays(world: World) -> None:
    world.client.hset(keys.HEALTH, mapping={"status": "healthy", "last_check": "yesterday"})
    run_health(world, OBSERVING)
    assert last_check(world, keys.HEALTH) == "yesterday"


def test_key_of_another_type_stays(world: World) -> None:
    world.client.set(keys.HEALTH, "text")
    run_health(world, OBSERVING)
    assert world.client.get(keys.HEALTH) == b"text"


def test_readers_show_the_own_status(world: World) -> None:
    world.client.hset(keys.HEALTH, mapping={"status": "healthy", "last_check": iso_utc(world.now), "metrics": "{}"})
    run_health(world, OBSERVING)
    world.client.hset(keys.OBSERVED_HEALTH, "status", "degraded")
    assert read.read_report(world.db, OBSERVING, world.clock).as_json()["metrics"] != {}
