"""A broken key in Redis, an odd name or an odd value hides no other metric."""

import json
from typing import Any

import pytest

from tests.support.exposition import parse, scrape
from tests.support.fleet import record_processes
from tests.support.world import POOL, World, settings
from vmpooler_tasks.jobs.health import check as health_check
from vmpooler_tasks.metrics.prometheus import exposition
from vmpooler_tasks.model.health.explanation import HealthReason
from vmpooler_tasks.model.health.status import Status
from vmpooler_tasks.model.names import DeadLetterQueue, Queue
from vmpooler_tasks.model.timestamps import iso_utc
from vmpooler_tasks.store import Database, broker_keys, fleet_keys, keys

pytestmark = pytest.mark.both_servers


def test_without_redis_there_is_an_exposition(world: World) -> None:
    gone = Database("redis://127.0.0.1:1/0")
    found = parse(exposition(gone, settings(), world.clock))
    assert found("vmpooler_redis_up") == 0
    assert found("vmpooler_health_status") == 2
    assert found("vmpooler_health_check_interval_seconds") == 300


@pytest.mark.parametrize("kind", ["string", "list", "stream"])
def test_a_key_of_another_type_hides_no_other(world: World, kind: str) -> None:
    ours = [
        keys.HEALTH,
        keys.HEALTH_STATE,
        keys.COUNTERS,
        keys.PURGE_STATE,
        fleet_keys.SCHEDULE,
        fleet_keys.HEARTBEATS,
        keys.POOL_SIZES,
        keys.pool(POOL),
        keys.pool_breaker(POOL),
        keys.breaker("dummy"),
        broker_keys.UNACKNOWLEDGED,
        *map(keys.dead_letters, DeadLetterQueue),
        *keys.queues(POOL),
        *broker_keys.messages("vmpooler.check"),
    ]
    for key in ours:
        if kind == "string":
            world.client.set(key, "x")
        elif kind == "list" and key not in broker_keys.messages("vmpooler.check"):
            world.client.rpush(key, "x")
        else:
            world.client.xadd(key, {"x": "y"})
    chosen = settings().model_copy(update={"providers": {"dummy": {}}})
    found = scrape(world, chosen)
    assert found("vmpooler_redis_up") == 1
    assert found("vmpooler_health_status") == 2
    assert found("vmpooler_health_reason", reason="unreadable", severity="unhealthy", pool="", queue="") == 1
    for name in ("vmpooler_dlq_size", "vmpooler_dlq_bytes", "vmpooler_pool_vms"):
        assert found.labels(name) == []
    world.client.set(keys.POOLS, "x")
    assert scrape(world, settings(pools=()))("vmpooler_redis_up") == 1


@pytest.mark.parametrize(
    "name", ['quo"te', "back\\slash", "line\nbreak", "ünïcödé 漢字", "{x}", 'a="b",c', "tab\t", "null\x00"]
)
def test_any_name_is_a_label(world: World, name: str) -> None:
    chosen = settings(pools=(name,))
    world.vm(Queue.READY, "a", 10, pool=name)
    assert health_check.run(world.db, chosen, world.clock)
    found = scrape(world, chosen)
    assert found("vmpooler_pool_vms", pool=name, queue="ready") == 1
    assert found("vmpooler_health_queue_size", pool=name, queue="ready") == 1


def write_record(world: World, **fields: Any) -> None:
    record_processes(world.db)
    times = dict.fromkeys(("last_check", "last_scheduled_check"), iso_utc(world.now))
    shown = {"status": "healthy", **times, "reasons": [], "metrics": {}, **fields}
    world.client.hset(keys.HEALTH, mapping={k: v if isinstance(v, str) else json.dumps(v) for k, v in shown.items()})


@pytest.mark.parametrize(
    "metrics",
    [
        {"queues": {"a": {"completed": 1, "pending": {"size": "x"}}}},
        {"queues": {"\ud800": {"completed": {"size": 1}}}},
        {"queues": {"a": {"completed": {"size": 10**400}}}, "errors": {"dlq_total_size": 10**400}},
        {"queues": {"dlq": {"clone": 5}}, "tasks": {"clone": [], "ondemand": None}},
        {"errors": {"dlq_total_size": True}},
    ],
)
def test_a_record_of_another_program_is_shown_as_far_as_it_is_readable(world: World, metrics: dict[str, Any]) -> None:
    write_record(world, metrics=metrics)
    assert scrape(world)("vmpooler_health_status") == 0


def test_counters_that_are_not_numbers_are_left_out(world: World) -> None:
    texts = ("x", "", "nan", "inf", "9" * 400, b"\xff")
    world.client.hset(keys.COUNTERS, mapping={f"dead_letters_of:clone:E{n}": text for n, text in enumerate(texts)})
    world.client.hset(keys.COUNTERS, "vms_destroyed", "x")
    found = scrape(world)
    assert found.labels("vmpooler_dlq_letters_total") == []
    assert found("vmpooler_vms_destroyed_total") == 0


def test_reasons_are_bounded_and_unique(world: World) -> None:
    same = [HealthReason("breaker_open", Status.DEGRADED, 5, 5, provider=name).as_json() for name in ("a", "b")]
    write_record(world, reasons=[*same, *(HealthReason(f"r{n}", Status.DEGRADED, 1, 0).as_json() for n in range(2000))])
    assert 900 < len(scrape(world).labels("vmpooler_health_reason")) <= 1000


def test_labels_that_redis_holds_are_bounded(world: World) -> None:
    """Anyone who writes to Redis can add names; each would be a series of its own in Prometheus."""
    names = [f"E{number}" for number in range(5000)]
    world.client.hset(keys.COUNTERS, mapping={f"dead_letters_of:clone:{name}": 2 for name in names})
    world.client.hset(keys.HEALTH_STATE, "dlq_errors", json.dumps({"clone": dict.fromkeys(names, 3)}))
    world.client.hset(fleet_keys.SCHEDULE, mapping={f"junk-{name}": "9e9" for name in names} | {"purge": "1.5"})
    pools = {name: {"completed": {"size": 1}} for name in ("x" * 5000, *map(str, range(30_000)))}
    write_record(world, metrics={"queues": pools})
    found = scrape(world)
    for metric, total in (("vmpooler_dlq_letters_total", 10_000), ("vmpooler_health_dlq_errors", 15_000)):
        labels = found.labels(metric)
        assert len(labels) <= 101
        assert sum(found(metric, **one) or 0 for one in labels) == total, "what is left out is counted as other"
    entries = [one["entry"] for one in found.labels("vmpooler_schedule_last_tick_timestamp_seconds")]
    assert (len(entries) <= 50, "purge" in entries) == (True, True)
    sizes = found.labels("vmpooler_health_queue_size")
    assert (len(sizes) <= 20_000, max(len(one["pool"]) for one in sizes)) == (True, 500)
