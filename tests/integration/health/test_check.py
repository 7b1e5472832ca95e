"""What a health check measures in a real database, and how it assesses it."""

import json
from typing import Any

import pytest

from tests.support.cycles import cycle
from tests.support.fleet import record_processes
from tests.support.promises import fail
from tests.support.world import POOL, World, settings
from vmpooler_tasks.config import Options, Pool, RedisSection, Settings
from vmpooler_tasks.errors import StoreRefusedError
from vmpooler_tasks.jobs.health import check as health_check
from vmpooler_tasks.jobs.health.report import HealthReport
from vmpooler_tasks.model.health.reasons import explain
from vmpooler_tasks.model.health.status import Status
from vmpooler_tasks.model.names import DeadLetterQueue, Queue
from vmpooler_tasks.model.pools.pause import Pause, PauseState
from vmpooler_tasks.store import keys
from vmpooler_tasks.store.key_types import FIXED_KEYS, OWN_KEYS_PREFIX
from vmpooler_tasks.store.pools import pauses
from vmpooler_tasks.store.purge import state as purge_state
from vmpooler_tasks.store.purge.state import PurgeLock

HOUR, DAY = 3600, 86400
OTHER = "ubuntu-2004-x86_64"
# Two intervals overdue is no topic of these tests unless it is.
QUIET: dict[str, Any] = {"purge_interval": 1000 * DAY, "health_check_interval": 1000 * DAY}


def check(world: World, chosen: Settings | None = None) -> HealthReport:
    report = health_check.run(world.db, chosen or settings(**QUIET), world.clock)
    assert report is not None
    return report


def reasons(report: HealthReport) -> list[tuple[str, str | None]]:
    return [(reason.code, reason.pool) for reason in report.assessment.reasons]


def sized(**sizes: int) -> Settings:
    """Settings with pools of these sizes."""
    options = Options(health_check_enabled=True, dlq_enabled=True, health_check_interval=1000 * DAY)
    return Settings(config=options, pools=tuple(Pool(name=name, size=size) for name, size in sizes.items()))


def test_a_new_empty_database_is_healthy(world: World) -> None:
    report = check(world, settings())
    assert report.assessment.status is Status.HEALTHY
    assert report.assessment.reasons == ()
    assert report.last_check == "2024-01-15T10:30:00Z"


def test_sizes_and_ages_are_measured_for_each_pool(world: World) -> None:
    world.vm(Queue.PENDING, "pooler-p1", 100)
    world.vm(Queue.PENDING, "pooler-p2", 8000)
    world.vm(Queue.PENDING, "pooler-p3", None)
    world.vm(Queue.READY, "pooler-r1", 10, pool=OTHER)
    world.vm(Queue.READY, "pooler-r2", 30, pool=OTHER)
    world.vm(Queue.COMPLETED, "pooler-c1", 10)
    metrics = check(world, settings(pools=(POOL, OTHER), **QUIET)).metrics
    assert metrics["queues"][POOL] == {
        "pending": {"size": 3, "oldest_age": 8000, "avg_age": 4050, "stuck_count": 1},
        "ready": {"size": 0, "oldest_age": 0, "avg_age": 0},
        "completed": {"size": 1},
    }
    assert metrics["queues"][OTHER]["ready"] == {"size": 2, "oldest_age": 30, "avg_age": 20}
    assert metrics["errors"] == {"dlq_total_size": 0, "stuck_vm_count": 1, "orphaned_metadata_count": 0}


def test_a_large_queue_is_measured_whole_and_once(world: World) -> None:
    pipe = world.client.pipeline(transaction=False)
    for index in range(1700):
        pipe.sadd(keys.queue(Queue.READY, POOL), f"pooler-{index}")
        pipe.hset(f"vmpooler__vm__pooler-{index}", "ready", world.stamp(100 if index % 2 else 300))
    pipe.execute()
    ready = check(world).metrics["queues"][POOL]["ready"]
    assert ready == {"size": 1700, "oldest_age": 300, "avg_age": 200}


@pytest.mark.parametrize("queue", [Queue.PENDING, Queue.READY])
def test_a_time_more_than_a_day_ahead_gives_no_age(world: World, queue: Queue) -> None:
    world.vm(queue, "pooler-a", 100)
    world.vm(queue, "pooler-ahead", -DAY - 1)
    measured = check(world).metrics["queues"][POOL][str(queue)]
    assert (measured["size"], measured["oldest_age"], measured["avg_age"]) == (2, 100, 100)
    world.client.delete(keys.queue(queue, POOL))
    world.vm(queue, "pooler-far", -999 * 365 * DAY)
    measured = check(world).metrics["queues"][POOL][str(queue)]
    assert (measured["size"], measured["oldest_age"], measured["avg_age"]) == (1, 0, 0)


def test_a_time_that_is_a_little_ahead_counts_as_in_vmpooler(world: World) -> None:
    world.vm(Queue.PENDING, "pooler-a", 300)
    world.vm(Queue.PENDING, "pooler-b", -100)
    measured = check(world).metrics["queues"][POOL]["pending"]
    assert (measured["oldest_age"], measured["avg_age"]) == (300, 100)


def test_task_counters_and_waiting_clones_are_read(world: World) -> None:
    world.client.set("vmpooler__tasks__clone", "3")
    world.client.set("vmpooler__tasks__ondemandclone", "4 or so")
    world.client.zadd("vmpooler__odcreate__task", {"a:b:1:r": 1, "a:b:2:r": 2})
    tasks = check(world).metrics["tasks"]
    assert tasks == {"clone": {"active": 3}, "ondemand": {"active": 4, "pending": 2}}


def test_dead_letters_are_counted_by_queue_and_only_where_they_are_on(world: World) -> None:
    fail(world, "pooler-a", DeadLetterQueue.CLONE)
    fail(world, "pooler-b", DeadLetterQueue.CLONE)
    fail(world, "pooler-c", DeadLetterQueue.TASKS)
    metrics = check(world).metrics
    assert metrics["queues"]["dlq"] == {"clone": {"size": 2}, "tasks": {"size": 1}}
    assert metrics["errors"]["dlq_total_size"] == 3
    assert check(world, settings(dlq_enabled=False, **QUIET)).metrics["errors"]["dlq_total_size"] == 0


def test_orphans_are_counted_as_purge_sees_them_but_of_any_age(world: World) -> None:
    world.vm(None, "pooler-old", 2 * DAY)
    world.vm(None, "pooler-new", 60)
    world.client.set("vmpooler__vm__pooler-odd", "no hash")
    for index, queue in enumerate(Queue):
        world.vm(queue, f"pooler-q{index}", 60)
        world.vm(queue, f"pooler-u{index}", 60, pool="not-configured")
    expiring = world.vm(None, "pooler-expiring", 60)
    world.client.expire(keys.vm(expiring), 1000)
    assert check(world).metrics["errors"]["orphaned_metadata_count"] == 3


@pytest.mark.parametrize(
    ("count", "status", "code"),
    [(100, Status.HEALTHY, None), (101, Status.DEGRADED, "pending_queue"), (201, Status.UNHEALTHY, "pending_queue")],
)
def test_a_backlog_makes_it_degraded_and_then_unhealthy(
    world: World, count: int, status: Status, code: str | None
) -> None:
    world.client.sadd(keys.queue(Queue.PENDING, POOL), *(f"pooler-{index}" for index in range(count)))
    report = check(world)
    assert report.assessment.status is status
    assert reasons(report) == ([(code, POOL)] if code else [])


def test_an_empty_pool_degrades_after_the_grace_since_it_was_first_seen_empty(world: World) -> None:
    chosen = sized(full=1, empty=1, unused=0)
    world.vm(Queue.READY, "pooler-a", 60, pool="full")
    assert check(world, chosen).assessment.status is Status.HEALTHY
    world.now += 899
    assert check(world, chosen).assessment.status is Status.HEALTHY
    world.now += 1
    report = check(world, chosen)
    assert reasons(report) == [("empty_pool", "empty")]
    assert report.assessment.reasons[0].measured == 900
    world.vm(Queue.READY, "pooler-b", 0, pool="empty")
    assert check(world, chosen).assessment.status is Status.HEALTHY
    world.client.delete(keys.queue(Queue.READY, "empty"))
    world.now += 5000
    assert check(world, chosen).assessment.status is Status.HEALTHY, "the grace begins anew"


def test_a_paused_pool_counts_in_no_reason_about_empty_pools_and_a_resumed_one_counts_anew(world: World) -> None:
    chosen, trail = sized(paused=1, full=1), {"who": "olga", "action": "pause"}
    world.vm(Queue.READY, "pooler-a", 60, pool="full")
    check(world, chosen)
    pauses.pause(world.db, "paused", Pause(state=PauseState.PAUSED, since=world.now, who="olga", why=""), trail)
    world.now += 1000
    assert check(world, chosen).assessment.status is Status.HEALTHY
    world.client.delete(keys.queue(Queue.READY, "full"))
    check(world, chosen)
    world.now += 60
    assert reasons(check(world, chosen)) == [("all_pools_empty", None)], "of the pools that are not paused"
    world.vm(Queue.READY, "pooler-b", 0, pool="full")
    pauses.resume(world.db, "paused", trail)
    assert check(world, chosen).assessment.status is Status.HEALTHY
    world.now += 900
    assert reasons(check(world, chosen)) == [("empty_pool", "paused")]


def test_a_pool_whose_ready_queue_cannot_be_read_is_not_taken_for_an_empty_one(world: World) -> None:
    world.client.set(keys.queue(Queue.READY, POOL), "no set")
    check(world, sized(**{POOL: 5}))
    world.now += 1000
    assert reasons(check(world, sized(**{POOL: 5}))) == [("unreadable_keys", None)]


def test_the_size_that_was_set_through_the_api_counts(world: World) -> None:
    world.client.hset("vmpooler__config__poolsize", mapping={"on": "5", "off": "0"})
    chosen = sized(on=0, off=5)
    check(world, chosen)
    world.now += 1000
    assert reasons(check(world, chosen)) == [("all_pools_empty", None), ("empty_pool", "on")]


def test_without_configured_pools_the_registered_sizes_count(world: World) -> None:
    chosen = settings(pools=(), **QUIET)
    world.client.sadd("vmpooler__pools", "asked-for", "unused", "odd", "raised", "lowered", "unset")
    sizes = {"asked-for": "5", "unused": "0", "odd": "some", "raised": "0", "lowered": "5"}
    for pool, size in sizes.items():
        world.client.hset(f"vmpooler__pool__{pool}", "size", size)
    world.client.hset("vmpooler__config__poolsize", mapping={"raised": "2", "lowered": "0"})
    check(world, chosen)
    world.now += 1000
    assert reasons(check(world, chosen)) == [
        ("all_pools_empty", None),
        ("empty_pool", "asked-for"),
        ("empty_pool", "raised"),
    ]


def test_a_registered_size_of_the_wrong_type_is_named(world: World, caplog: pytest.LogCaptureFixture) -> None:
    chosen = settings(pools=(), **QUIET)
    for index in range(20):
        world.client.sadd("vmpooler__pools", f"pool-{index}")
        world.client.hset(f"vmpooler__pool__pool-{index}", "size", "5")
    world.client.set("vmpooler__pool__pool-7", "no hash")
    check(world, chosen)
    assert (
        "[!] [health] Error checking 'vmpooler__pool__pool-7': it is of another type, or holds other data"
        in caplog.messages
    )
    world.now += 1000
    empty = {pool for code, pool in reasons(check(world, chosen)) if code == "empty_pool"}
    assert empty == {f"pool-{index}" for index in range(20)} - {"pool-7"}


@pytest.mark.parametrize("text", ["abc", "", "nan", "inf", b"\xff", "1e999"])
def test_times_that_cannot_be_read_count_as_never(world: World, text: Any) -> None:
    world.client.hset(keys.PURGE_STATE, mapping={"started": text, "finished": text, "skipped_queues": text})
    world.client.hset(
        keys.HEALTH_STATE, mapping={"last_check": text, "purge_expected": text, "empty_since": text, b"\xff": "1"}
    )
    report = check(world, settings())
    assert report.assessment.reasons == ()
    world.now += 60
    assert check(world, settings()).assessment.status is Status.HEALTHY
    assert world.client.hget(keys.HEALTH_STATE, "last_check") == str(world.now).encode()


@pytest.mark.parametrize("empty_since", [f'{{"{POOL}": "soon"}}', f'{{"{POOL}": null}}', "[]", "5", "[" * 100_000])
def test_when_a_pool_became_empty_counts_from_now_if_it_cannot_be_read(world: World, empty_since: str) -> None:
    world.client.hset(keys.HEALTH_STATE, "empty_since", empty_since)
    chosen = sized(**{POOL: 5})
    assert check(world, chosen).assessment.status is Status.HEALTHY
    world.now += 900
    assert reasons(check(world, chosen)) == [("all_pools_empty", None), ("empty_pool", POOL)]


@pytest.mark.parametrize("skipped", ["[5]", '[["p", "ready"]]', '[["p", "ready", "much"]]', '{"a": 1}', "5"])
def test_skipped_queues_that_cannot_be_read_count_as_none(world: World, skipped: str) -> None:
    world.client.hset(keys.PURGE_STATE, "skipped_queues", skipped)
    assert reasons(check(world)) == []


def test_a_purge_that_never_ran_is_overdue_since_it_was_expected(world: World) -> None:
    world.now -= 100 * DAY
    check(world, settings(purge_enabled=False, **QUIET))
    world.now += 100 * DAY
    chosen = settings(purge_interval=HOUR, health_check_interval=1000 * DAY)
    assert reasons(check(world, chosen)) == []
    world.now += 2 * HOUR
    assert reasons(check(world, chosen)) == []
    world.now += 1
    report = check(world, chosen)
    assert reasons(report) == [("purge_overdue", None)]
    assert report.assessment.reasons[0].measured == 2 * HOUR + 1
    cycle(world, chosen)
    assert reasons(check(world, chosen)) == []


def test_a_purge_that_stopped_is_overdue_and_logged_as_died(world: World, caplog: pytest.LogCaptureFixture) -> None:
    chosen = settings(purge_interval=HOUR, health_check_interval=1000 * DAY)
    check(world, chosen)
    cycle(world, chosen)
    world.now += 3 * HOUR + 2
    assert reasons(check(world, chosen)) == [("purge_overdue", None)]
    assert any(line.startswith("[!] [queue_purge] worker thread died") for line in caplog.messages)


def test_a_purge_that_is_switched_off_is_never_overdue(world: World) -> None:
    chosen = settings(purge_enabled=False, purge_interval=1, health_check_interval=1000 * DAY)
    check(world, chosen)
    world.now += DAY
    assert reasons(check(world, chosen)) == []


def test_a_late_health_check_reports_it(world: World, caplog: pytest.LogCaptureFixture) -> None:
    chosen = settings(purge_interval=1000 * DAY, health_check_interval=300)
    check(world, chosen)
    world.now += 900
    assert reasons(check(world, chosen)) == []
    world.now += 901
    assert reasons(check(world, chosen)) == [("health_overdue", None)]
    assert any(line.startswith("[!] [health_check] worker thread died") for line in caplog.messages)


def test_a_purge_that_failed_shows_until_one_works(world: World) -> None:
    check(world)
    world.client.config_set("maxmemory", "1")
    try:
        with pytest.raises(StoreRefusedError):
            cycle(world)
        assert reasons(check(world)) == [("purge_failed", None)]
    finally:
        world.client.config_set("maxmemory", "0")
    assert reasons(check(world)) == [("purge_failed", None)]
    cycle(world)
    assert reasons(check(world)) == []


def test_a_purge_whose_worker_was_killed_shows_once_its_lock_is_free(world: World) -> None:
    lock = PurgeLock(world.db)
    assert lock.acquire()
    purge_state.record_start(world.db, world.now)
    world.now += 30
    assert reasons(check(world)) == [], "it is running"
    lock.release()
    report = check(world)
    assert reasons(report) == [("purge_unfinished", None)]
    assert report.assessment.reasons[0].measured == 30
    cycle(world)
    assert reasons(check(world)) == []


def test_a_purge_that_skipped_a_queue_shows(world: World) -> None:
    world.vm(Queue.READY, "pooler-a", 2 * DAY)
    cycle(world, settings(purge_max_percent=50))
    report = check(world, settings(purge_max_percent=50, **QUIET))
    [reason] = report.assessment.reasons
    assert (reason.code, reason.pool, reason.queue, reason.measured, reason.threshold) == (
        "purge_aborted",
        POOL,
        "ready",
        100,
        50,
    )


def test_dead_letters_near_their_cap_degrade_before_one_is_dropped(world: World) -> None:
    chosen = settings(dlq_max_entries=10, **QUIET)
    for index in range(8):
        fail(world, f"pooler-{index}", DeadLetterQueue.CLONE)
    assert reasons(check(world, chosen)) == []
    fail(world, "pooler-8", DeadLetterQueue.CLONE)
    report = check(world, chosen)
    assert report.assessment.status is Status.DEGRADED
    assert [(reason.code, reason.queue) for reason in report.assessment.reasons] == [("dlq_near_cap", "clone")]


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
        "4 keys of VMPooler have the wrong type, or hold data that cannot be read: vmp"
    )
    assert explain(reason)[0].endswith(" and 1 more")


OWN_KEYS = {
    **{key: kind for key, kind in FIXED_KEYS.items() if key.startswith(OWN_KEYS_PREFIX) and key != keys.HEALTH_STATE},
    keys.breaker("dummy"): "hash",
    keys.pool_breaker(POOL): "hash",
    keys.check_lock(POOL): "string",
}


@pytest.mark.parametrize("key", OWN_KEYS, ids=bytes.decode)
def test_a_key_of_our_own_of_the_wrong_type_is_unhealthy_and_named(world: World, key: bytes) -> None:
    world.client.delete(key)
    world.client.lpush(key, "x")
    managed = settings(manage_pools=True, **QUIET).model_copy(update={"providers": {"dummy": {}}})
    report = check(world, managed)
    assert [(one.code, one.severity, one.key) for one in report.assessment.reasons] == [
        ("wrong_type_key", Status.UNHEALTHY, key.decode())
    ]
    found, remedy = explain(report.assessment.reasons[0])
    assert found.startswith(f"the key {key.decode()} is a list, not a ")
    assert f'`redis-cli -u "$REDIS_URL" RENAME {key.decode()} ' in remedy
    assert world.client.hget("vmpooler__health", "status") == b"unhealthy"
    world.client.rename(key, "elsewhere")
    record_processes(world.db)
    assert reasons(check(world, managed)) == []


@pytest.mark.parametrize("key", [keys.HEALTH, keys.HEALTH_STATE])
def test_a_check_writes_its_own_keys_anew_whatever_their_type(world: World, key: bytes) -> None:
    world.client.lpush(key, "x")
    assert reasons(check(world)) == []
    assert world.client.type(key) == b"hash"


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


def test_without_configured_pools_the_registered_pools_are_measured(world: World) -> None:
    world.client.sadd("vmpooler__pools", "one", "two")
    world.vm(Queue.READY, "pooler-a", 60, pool="two")
    metrics = check(world, settings(pools=(), **QUIET)).metrics
    assert set(metrics["queues"]) == {"one", "two"}
    assert metrics["queues"]["two"]["ready"]["size"] == 1


def test_switched_off_only_a_forced_check_runs(world: World, caplog: pytest.LogCaptureFixture) -> None:
    off = settings(health_check_enabled=False)
    assert health_check.run(world.db, off, world.clock) is None
    assert not world.client.exists("vmpooler__health")
    assert "[*] [health] Skipped health check: it is switched off (health_check_enabled: false)" in caplog.messages
    assert health_check.run(world.db, off, world.clock, forced=True) is not None
    assert world.client.hget("vmpooler__health", "status") == b"healthy"


def test_the_report_is_json_with_its_duration(world: World) -> None:
    shown = json.loads(json.dumps(check(world).as_json()))
    assert list(shown) == [
        "status",
        "last_check",
        "last_scheduled_check",
        "stuck_vm_count",
        "dlq_total_size",
        "orphaned_metadata_count",
        "reasons",
        "metrics",
        "duration_seconds",
    ]
    assert shown["duration_seconds"] > 0


def test_settings_without_a_redis_section_are_enough(world: World) -> None:
    chosen = Settings(config=Options(health_check_enabled=True), redis=RedisSection())
    world.client.sadd(keys.POOLS, POOL)
    assert check(world, chosen).assessment.status is Status.HEALTHY
