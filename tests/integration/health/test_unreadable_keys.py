"""A key of the wrong type is counted and named, and hides nothing else."""

import time
from dataclasses import replace
from typing import Any

import pytest

from tests.support.fleet import record_processes
from tests.support.health_checks import OTHER, QUIET, check, reasons, sized
from tests.support.servers import TestServer
from tests.support.world import POOL, World, settings
from vmpooler_tasks.jobs.health.changes import SET_ASIDE_REPORTED_SECONDS
from vmpooler_tasks.model.health.explanation import explain
from vmpooler_tasks.model.health.status import Status
from vmpooler_tasks.model.names import Queue
from vmpooler_tasks.store import Database, fleet_keys, keys
from vmpooler_tasks.store.key_types import FIXED_KEYS, OWN_KEYS_PREFIX, own_key_type
from vmpooler_tasks.store.redis.scripts import SET_ASIDE_SECONDS
from vmpooler_tasks.store.redis.wrong_keys import find_own_wrong_keys, find_wrong_keys, read_set_aside, set_aside

WRONG_TYPES: dict[str, Any] = {
    f"vmpooler__pending__{POOL}": "string",
    f"vmpooler__ready__{POOL}": "string",
    f"vmpooler__completed__{POOL}": "string",
    f"vmpooler__running__{POOL}": "string",
    "vmpooler__running__not-configured": "string",
    "vmpooler__pools": "string",
    "vmpooler__dlq__clone": "string",
    "vmpooler__tasks__clone": "list",
    "vmpooler__tasks__ondemandclone": "list",
    "vmpooler__odcreate__task": "string",
    "vmpooler__config__poolsize": "string",
    "vmpooler.maintenance": "string",
    "_kombu.binding.vmpooler": "string",
    "unacked": "string",
}


@pytest.mark.parametrize("key", WRONG_TYPES)
def test_a_key_of_the_wrong_type_is_counted_and_logged(
    world: World, key: str, caplog: pytest.LogCaptureFixture
) -> None:
    world.vm(Queue.PENDING, "pooler-other", 60, pool=OTHER)
    world.client.set(key, "x") if WRONG_TYPES[key] == "string" else world.client.lpush(key, "x")
    report = check(world, settings(pools=(POOL, OTHER), **QUIET))
    assert report.metrics["queues"][OTHER]["pending"]["size"] == 1
    assert [(reason.code, reason.measured) for reason in report.assessment.reasons] == [("unreadable_keys", 1)]
    assert f"[!] [health] Error checking '{key}': it is of another type, or holds other data" in caplog.messages


def test_all_keys_of_the_wrong_type_at_once_give_a_status(world: World) -> None:
    for key, kind in WRONG_TYPES.items():
        world.client.set(key, "x") if kind == "string" else world.client.lpush(key, "x")
    report = check(world)
    assert [(reason.code, reason.measured) for reason in report.assessment.reasons] == [
        ("unreadable_keys", len(WRONG_TYPES))
    ]


def test_the_reason_names_the_first_keys_that_cannot_be_read(world: World) -> None:
    for key in ("vmpooler__pending__a", "vmpooler__ready__a", "vmpooler__lastboot", "vmpooler__active__a", "x"):
        world.client.set(key, "x")
    [reason] = check(world, sized(a=0)).assessment.reasons
    assert reason.key is not None
    assert set(reason.key.split(" and ")[0].split(", ")) < {
        "vmpooler__pending__a",
        "vmpooler__ready__a",
        "vmpooler__lastboot",
        "vmpooler__active__a",
    }
    assert explain(reason)[0].startswith(
        "4 keys of VMPooler or Celery have the wrong type, or hold data that cannot be read: vmp"
    )
    assert explain(reason)[0].endswith(" and 1 more")


OWN_KEYS = [
    *(key for key in FIXED_KEYS if key.startswith(OWN_KEYS_PREFIX)),
    *(
        keys.breaker("dummy"),
        keys.pool_breaker(POOL),
        keys.check_lock(POOL),
        keys.work(b"vm"),
        fleet_keys.session("digest"),
    ),
    *(keys.first_seen("pending", POOL), keys.recycled(POOL), keys.redrive("r"), keys.redrive_dead_letters("r")),
]


@pytest.mark.parametrize("key", OWN_KEYS, ids=bytes.decode)
def test_a_key_of_our_own_of_the_wrong_type_is_set_aside_and_named(world: World, key: bytes) -> None:
    world.now = time.time()
    expected = own_key_type(key)
    world.client.delete(key)
    world.client.geoadd(key, (1, 1, "x")) if expected == "list" else world.client.rpush(key, "x")
    managed = settings(manage_pools=True, **QUIET).model_copy(update={"providers": {"dummy": {}}})
    set_aside(world.db, find_own_wrong_keys(world.db))
    record_processes(world.db)
    [reason] = check(world, managed).assessment.reasons
    assert (reason.code, reason.severity, reason.key) == ("key_set_aside", Status.DEGRADED, key.decode())
    found, remedy = explain(reason)
    assert found.startswith(f"the key {key.decode()} was a ")
    assert "doctor" in remedy
    assert world.client.type(key).decode() in ("none", expected)
    [aside] = read_set_aside(world.db)
    assert world.client.exists(aside.copy)
    assert 0 < world.client.ttl(aside.copy) <= SET_ASIDE_SECONDS
    world.now += SET_ASIDE_REPORTED_SECONDS + 1
    record_processes(world.db)
    assert "key_set_aside" not in dict(reasons(check(world, managed)))


def test_a_key_that_nobody_may_rename_is_unhealthy_and_named(world: World, server: TestServer) -> None:
    key = keys.CLONES
    world.client.rpush(key, "x")
    world.db.call("ACL", "SETUSER", "limited", "on", ">secret", "~*", "&*", "+@all", "-rename")
    limited = Database(server.url.replace("redis://", "redis://limited:secret@"))
    report = check(replace(world, db=limited))
    assert [(one.code, one.severity, one.key) for one in report.assessment.reasons] == [
        ("wrong_type_key", Status.UNHEALTHY, key.decode())
    ]


def test_a_check_writes_the_status_anew_whatever_its_type(world: World) -> None:
    world.client.lpush(keys.HEALTH, "x")
    assert reasons(check(world)) == []
    assert world.client.type(keys.HEALTH) == b"hash"


def test_no_orphan_is_counted_while_a_queue_cannot_be_read(world: World) -> None:
    world.vm(None, "pooler-orphan", 60)
    world.vm(Queue.RUNNING, "pooler-a", 60)
    world.client.rename(keys.queue(Queue.RUNNING, POOL), "elsewhere")
    world.client.set(keys.queue(Queue.RUNNING, POOL), "no set")
    assert check(world).metrics["errors"]["orphaned_metadata_count"] == 0
    world.client.rename("elsewhere", keys.queue(Queue.RUNNING, POOL))
    assert check(world).metrics["errors"]["orphaned_metadata_count"] == 1


def test_an_odd_pool_name_stays_on_one_line_of_the_log(world: World, caplog: pytest.LogCaptureFixture) -> None:
    pool = "a\nb [!] forged"
    world.client.sadd("vmpooler__pools", pool)
    world.client.set(keys.queue(Queue.PENDING, pool), "x")
    world.client.sadd(keys.queue(Queue.READY, pool), *(str(index) for index in range(501)))
    report = check(world, settings(pools=(), **QUIET))
    assert {code for code, _ in reasons(report)} == {"ready_queue", "unreadable_keys"}
    assert all(line.isprintable() for line in caplog.messages)


def test_a_user_who_may_neither_search_nor_rename_finds_the_keys_with_known_names(
    world: World, server: TestServer
) -> None:
    world.client.rpush(keys.CLONES, "x")
    world.client.rpush(fleet_keys.session("digest"), "x")
    world.db.call(
        "ACL", "SETUSER", "reader", "on", ">secret", "%R~vmpooler_tasks__clones", "-@all", "+@connection", "+type"
    )
    reader = Database(server.url.replace("redis://", "redis://reader:secret@"))
    assert [wrong.key for wrong in find_wrong_keys(reader, FIXED_KEYS)] == [keys.CLONES]
    assert find_own_wrong_keys(reader) == []
    assert read_set_aside(reader) == []
    set_aside(reader, find_wrong_keys(reader, FIXED_KEYS))
    assert {wrong.key for wrong in find_own_wrong_keys(world.db)} == {keys.CLONES, fleet_keys.session("digest")}


def test_a_search_ends_after_its_time(world: World) -> None:
    pipe = world.client.pipeline(transaction=False)
    for number in range(5000):
        pipe.set(f"vmpooler_tasks__work__{number}", "x")
    pipe.execute()
    assert len(find_own_wrong_keys(world.db)) == 5000
    assert len(find_own_wrong_keys(world.db, seconds=0)) < 5000
