"""Each metric for Prometheus shows its state."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from tests.support import counting_proxy, servers
from tests.support.cycles import cycle
from tests.support.exposition import parse, scrape
from tests.support.fleet import beat, let_pass, record_processes, worker
from tests.support.servers import TestServer, required
from tests.support.world import POOL, World, settings
from vmpooler_tasks.config import Pool, Settings
from vmpooler_tasks.jobs.health import check as health_check
from vmpooler_tasks.metrics.prometheus import exposition
from vmpooler_tasks.model.deadletters.entry import DeadLetter
from vmpooler_tasks.model.fleet import ALIVE_SECONDS
from vmpooler_tasks.model.health.status import Status
from vmpooler_tasks.model.names import WORK_QUEUES, DeadLetterQueue, Queue
from vmpooler_tasks.model.timestamps import iso_utc
from vmpooler_tasks.store import Database, broker_keys, keys
from vmpooler_tasks.store.deadletters.delete import delete
from vmpooler_tasks.store.deadletters.push import push as push_dead_letter
from vmpooler_tasks.store.deadletters.trim import DeadLetterLimits
from vmpooler_tasks.store.fleet import schedule
from vmpooler_tasks.store.pools import breakers
from vmpooler_tasks.store.pools.breakers import BreakerLimits, CallKind
from vmpooler_tasks.tasks.celery.app import app

pytestmark = pytest.mark.both_servers

DAY = 86400.0
OTHER_POOL = "windows 2019"


def check(world: World, chosen: Settings | None = None) -> None:
    record_processes(world.db)
    assert health_check.run(world.db, chosen or settings(), world.clock)


def push(world: World, queue: DeadLetterQueue, name: str, error_class: str = "Timeout", most: int = 1000) -> None:
    entry = DeadLetter(
        vm=name, queue_from=queue, error_class=error_class, error_message="no", failed_at=iso_utc(world.now), id=name
    )
    push_dead_letter(world.db, queue, entry, now=world.now, limits=DeadLetterLimits(DAY, most))


def test_an_empty_redis_is_up_and_its_health_is_unknown(world: World) -> None:
    found = scrape(world)
    assert found("vmpooler_redis_up") == 1
    assert found("vmpooler_health_status") == 2
    assert found("vmpooler_health_reason", reason="stale", severity="unhealthy", pool="", queue="") == 1
    assert found("vmpooler_health_last_check_timestamp_seconds") is None
    assert found("vmpooler_health_dlq_total_size") is None


def test_what_is_configured(world: World) -> None:
    found = scrape(
        world, settings(purge_interval=60, health_check_interval=30, dlq_max_entries=7, dlq_max_bytes=70_000)
    )
    assert found("vmpooler_purge_interval_seconds") == 60
    assert found("vmpooler_health_check_interval_seconds") == 30
    assert found("vmpooler_dlq_max_entries") == 7
    assert found("vmpooler_dlq_max_bytes") == 70_000
    [build] = found.labels("vmpooler_build_info")
    assert build.keys() == {"version"}


def test_the_last_check(world: World) -> None:
    world.vm(Queue.PENDING, "a", 3 * 3600)
    world.vm(Queue.PENDING, "b", 60)
    world.vm(Queue.READY, "c", 120)
    world.vm(Queue.COMPLETED, "d", 1)
    world.vm(None, "e", 60)
    push(world, DeadLetterQueue.CLONE, "f")
    push(world, DeadLetterQueue.CLONE, "g", "Other")
    world.client.set(keys.ACTIVE_CLONES, 3)
    world.client.set(keys.ACTIVE_ONDEMAND_CLONES, 2)
    world.client.zadd(keys.PENDING_ONDEMAND_CLONES, {"x": 1, "y": 1})
    check(world)
    found = scrape(world)
    assert found("vmpooler_health_status") == 0
    assert found("vmpooler_health_last_check_timestamp_seconds") == int(world.now)
    assert found("vmpooler_health_dlq_total_size") == 2
    assert found("vmpooler_health_dlq_size", queue="clone") == 2
    assert found("vmpooler_health_dlq_size", queue="tasks") == 0
    assert found("vmpooler_health_dlq_errors", queue="clone", error_class="Timeout") == 1
    assert found("vmpooler_health_dlq_errors", queue="clone", error_class="Other") == 1
    assert found("vmpooler_health_stuck_vms_count") == 1
    assert found("vmpooler_health_orphaned_metadata_count") == 1
    for queue, size in (("pending", 2), ("ready", 1), ("completed", 1)):
        assert found("vmpooler_health_queue_size", pool=POOL, queue=queue) == size
    assert found("vmpooler_health_queue_oldest_age_seconds", pool=POOL, queue="pending") == 3 * 3600
    assert found("vmpooler_health_queue_oldest_age_seconds", pool=POOL, queue="ready") == 120
    assert found("vmpooler_health_queue_stuck_count", pool=POOL, queue="pending") == 1
    assert found("vmpooler_health_tasks_clone_active") == 3
    assert found("vmpooler_health_tasks_ondemand_active") == 2
    assert found("vmpooler_health_tasks_ondemand_pending") == 2
    world.vm(Queue.PENDING, "later", 1)
    assert scrape(world)("vmpooler_health_queue_size", pool=POOL, queue="pending") == 2, "as of the check"


@pytest.mark.parametrize(("dead_letters", "status"), [(101, 1), (1001, 2)])
def test_the_status_and_its_reasons(world: World, dead_letters: int, status: int) -> None:
    world.client.zadd(
        keys.dead_letters(DeadLetterQueue.TASKS), {f'{{"id":"{n}"}}': world.now for n in range(dead_letters)}
    )
    chosen = settings(dlq_max_entries=100)
    check(world, chosen)
    found = scrape(world, chosen)
    assert found("vmpooler_health_status") == status
    severity = str(Status(status))
    assert found("vmpooler_health_reason", reason="dlq_size", severity=severity, pool="", queue="") == 1
    assert found("vmpooler_health_reason", reason="dlq_near_cap", severity="degraded", pool="", queue="tasks") == 1


def test_a_status_that_is_not_renewed_is_stale(world: World) -> None:
    check(world)
    world.now += 901
    found = scrape(world)
    assert found("vmpooler_health_status") == 2
    assert found("vmpooler_health_reason", reason="stale", severity="unhealthy", pool="", queue="") == 1
    assert found("vmpooler_health_last_check_timestamp_seconds") == int(world.now) - 901


def test_dead_letters_as_they_are_and_as_they_were_counted(world: World) -> None:
    for name in ("a", "b", "c"):
        push(world, DeadLetterQueue.CLONE, name, most=2)
    push(world, DeadLetterQueue.TASKS, "d", "Other")
    world.now += DAY + 1
    push(world, DeadLetterQueue.TASKS, "e", "Other")
    trail = {"action": "delete", "who": "me"}
    raws = world.client.zrange(keys.dead_letters(DeadLetterQueue.TASKS), 0, -1)
    assert delete(world.db, DeadLetterQueue.TASKS, raws, trail) == 1
    world.client.hset(keys.COUNTERS, mapping={"dead_letters_redriven:pending": 4, "dead_letters_obsolete:ready": 5})
    found = scrape(world)
    assert found("vmpooler_dlq_size", queue="clone") == 2
    assert found("vmpooler_dlq_size", queue="tasks") == 0
    assert found("vmpooler_dlq_bytes", queue="clone") == sum(
        map(len, world.client.zrange(keys.dead_letters(DeadLetterQueue.CLONE), 0, -1))
    )
    assert found("vmpooler_dlq_bytes", queue="tasks") == found("vmpooler_dlq_bytes", queue="ready") == 0
    assert found("vmpooler_dlq_letters_total", queue="clone", error_class="Timeout") == 3
    assert found("vmpooler_dlq_letters_total", queue="tasks", error_class="Other") == 2
    assert found("vmpooler_dlq_dropped_total", queue="clone") == 1
    assert found("vmpooler_dlq_expired_total", queue="tasks") == 1
    assert found("vmpooler_dlq_deleted_total", queue="tasks") == 1
    assert found("vmpooler_dlq_redriven_total", queue="pending") == 4
    assert found("vmpooler_dlq_obsolete_total", queue="ready") == 5
    assert found("vmpooler_dlq_dropped_total", queue="ready") == 0, "it is there before it is raised"


def test_purges(world: World) -> None:
    for index in range(3):
        world.vm(Queue.PENDING, f"p{index}", 7201)
    world.vm(Queue.READY, "r", DAY + 1)
    world.vm(None, "o", DAY + 1)
    cycle(world)
    found = scrape(world)
    assert found("vmpooler_purged_total", queue="pending", pool=POOL) == 3
    assert found("vmpooler_purged_total", queue="ready", pool=POOL) == 1
    assert found("vmpooler_purged_total", queue="completed", pool=POOL) == 0
    assert found("vmpooler_purged_total", queue="orphaned", pool="") == 1
    assert found("vmpooler_purge_cycles_total", result="done") == 1
    assert found("vmpooler_purge_cycles_total", result="failed") == 0
    assert found("vmpooler_purge_last_start_timestamp_seconds") == world.now
    assert (found("vmpooler_purge_last_end_timestamp_seconds") or 0) > world.now
    assert found("vmpooler_purge_duration_seconds_count") == 1
    assert (found("vmpooler_purge_duration_seconds_sum") or 0) > 0


def test_the_buckets_of_durations_add_up(world: World) -> None:
    counted = {"0.1": 1, "2.5": 2, "1800": 4, "inf": 8}
    world.client.hset(keys.COUNTERS, mapping={f"purge_cycles_within:{bound}": n for bound, n in counted.items()})
    found = scrape(world)
    shown = {
        bound: found("vmpooler_purge_duration_seconds_bucket", le=bound) for bound in ("0.1", "1.0", "2.5", "600.0")
    }
    assert shown == {"0.1": 1, "1.0": 1, "2.5": 3, "600.0": 3}
    assert found("vmpooler_purge_duration_seconds_bucket", le="1800.0") == 7
    assert found("vmpooler_purge_duration_seconds_bucket", le="+Inf") == 15
    assert found("vmpooler_purge_duration_seconds_count") == 15


def test_pools_as_they_are(world: World) -> None:
    for queue, count in ((Queue.PENDING, 1), (Queue.READY, 2), (Queue.RUNNING, 3), (Queue.COMPLETED, 4)):
        for index in range(count):
            world.vm(queue, f"{queue}{index}", 10)
    chosen = settings().model_copy(update={"pools": (Pool(name=POOL, size=5), Pool(name=OTHER_POOL, size=6))})
    world.client.hset(keys.POOL_SIZES, OTHER_POOL, 9)
    found = scrape(world, chosen)
    for name, count in (("pending", 1), ("ready", 2), ("running", 3), ("completed", 4)):
        assert found("vmpooler_pool_vms", pool=POOL, queue=name) == count
        assert found("vmpooler_pool_vms", pool=OTHER_POOL, queue=name) == 0
    assert found("vmpooler_pool_size", pool=POOL) == 5
    assert found("vmpooler_pool_size", pool=OTHER_POOL) == 9, "as it was set through the API"


def test_registered_pools_where_none_is_configured(world: World) -> None:
    world.client.sadd(keys.POOLS, POOL, OTHER_POOL, b"\xff")
    world.client.hset(keys.pool(POOL), "size", 7)
    found = scrape(world, settings(pools=()))
    assert found("vmpooler_pool_size", pool=POOL) == 7
    assert found("vmpooler_pool_size", pool=OTHER_POOL) == 0
    assert len(found.labels("vmpooler_pool_size")) == 2


def test_breakers(world: World) -> None:
    chosen = settings().model_copy(update={"providers": {"dummy": {}, "vsphere": {}}})
    for _ in range(2):
        breakers.count_failure(world.db, "dummy", CallKind.CHECK, BreakerLimits(2, 30), now=world.now)
    world.client.hset(keys.pool_breaker(POOL), "open_until", world.now + 1)
    found = scrape(world, chosen)
    assert found("vmpooler_provider_breaker_open", provider="dummy") == 1
    assert found("vmpooler_provider_breaker_open", provider="vsphere") == 0
    assert found("vmpooler_pool_breaker_open", pool=POOL) == 1
    world.now += 3600
    found = scrape(world, chosen)
    assert found("vmpooler_provider_breaker_open", provider="dummy") == 1, "nobody has tried it since"
    breakers.end_untried(world.db, "dummy", POOL, now=world.now, trial_seconds=30)
    found = scrape(world, chosen)
    assert found("vmpooler_provider_breaker_open", provider="dummy") == 0
    assert found("vmpooler_pool_breaker_open", pool=POOL) == 0


def test_foreign_vms_of_each_pool(world: World) -> None:
    assert scrape(world)("vmpooler_pool_foreign_vms", pool=POOL) == 0
    world.client.hset(keys.FOREIGN_VMS, POOL, json.dumps({"count": 12, "names": ["db-1"], "since": world.now}))
    assert scrape(world)("vmpooler_pool_foreign_vms", pool=POOL) == 12


def test_workers_beats_and_the_schedule(world: World) -> None:
    gone = worker("w@three", ("vmpooler.clone",))
    alive = [worker("w@one"), worker("w@two", ("vmpooler.clone", "mine")), beat("one:1"), beat("two:1")]
    record_processes(world.db, gone, *alive)
    let_pass(world.db, gone, ALIVE_SECONDS + 1)
    claimed = schedule.claim_tick(world.db, "purge", "", world.now)
    assert claimed
    assert scrape(world).labels("vmpooler_schedule_last_tick_timestamp_seconds") == []
    schedule.confirm_tick(world.db, "purge", claimed, world.now)
    found = scrape(world)
    assert {labels["queue"] for labels in found.labels("vmpooler_workers")} == set(WORK_QUEUES)
    assert found("vmpooler_workers", queue="vmpooler.clone") == 2
    assert found("vmpooler_workers", queue="vmpooler.check") == 1
    assert found("vmpooler_beats") == 2
    assert found("vmpooler_schedule_last_tick_timestamp_seconds", entry="purge") == world.now
    for process in alive:
        let_pass(world.db, process, ALIVE_SECONDS + 1)
    found = scrape(world)
    assert (found("vmpooler_workers", queue="vmpooler.clone"), found("vmpooler_beats")) == (0, 0)


def test_other_counters(world: World) -> None:
    counted = {"vms_destroyed": 3, "clones_failed": 4, "vms_failed:pending": 5, "requests_failed": 6}
    world.client.hset(keys.COUNTERS, mapping=counted)
    found = scrape(world)
    assert found("vmpooler_vms_destroyed_total") == 3
    assert found("vmpooler_clones_failed_total") == 4
    assert found("vmpooler_vms_failed_total", queue="pending") == 5
    assert found("vmpooler_requests_failed_total") == 6


@pytest.fixture
def kombu(server: TestServer) -> Iterator[Any]:
    with app.connection_for_write(server.url) as connection:
        yield connection


def test_messages_of_every_priority_and_those_that_workers_hold(world: World, kombu: Any) -> None:
    with kombu.channel() as channel:
        steps = channel.priority_steps
        expected = [channel._q_for_pri("vmpooler.clone", step).encode() for step in steps]
        assert broker_keys.messages("vmpooler.clone") == expected, "kombu's lists are those that are counted"
        assert broker_keys.UNACKNOWLEDGED.decode() == channel.unacked_key
        with kombu.Producer(channel) as producer:
            for priority in range(10):
                producer.publish({}, routing_key="vmpooler.clone", priority=priority)
            producer.publish({}, routing_key="vmpooler.check")
        assert {key for key in expected if world.client.llen(key)} == set(expected)
        assert channel.basic_get("vmpooler.check") is not None
        found = scrape(world)
        assert found("vmpooler_celery_queue_messages", queue="vmpooler.clone") == 10
        assert found("vmpooler_celery_queue_messages", queue="vmpooler.check") == 0
        assert found("vmpooler_celery_queue_messages", queue="vmpooler.destroy") == 0
        assert found("vmpooler_celery_unacknowledged_messages") == 1


def test_a_broker_elsewhere_is_read_there(world: World, tmp_path: Path) -> None:
    chosen = settings().model_copy(update={"broker_url": SecretStr("redis://elsewhere")})
    world.client.lpush("vmpooler.clone", "not counted")
    with servers.running("valkey", tmp_path) as elsewhere:
        broker = Database(elsewhere.url)
        broker.call("LPUSH", "vmpooler.clone", "a", "b")
        assert scrape(world, chosen, broker)("vmpooler_celery_queue_messages", queue="vmpooler.clone") == 2
    found = scrape(world, chosen, broker)
    broker.close()
    assert found("vmpooler_redis_up") == 1
    assert found.labels("vmpooler_celery_queue_messages") == []
    assert scrape(world, chosen).labels("vmpooler_celery_queue_messages") == [], "a broker that is no Redis"


def test_no_vm_is_named(world: World) -> None:
    for queue in Queue:
        world.vm(queue, f"elephant-{queue}", 10 * DAY)
    push(world, DeadLetterQueue.CLONE, "elephant-failure")
    cycle(world)
    check(world)
    assert "elephant" not in scrape(world).text


@pytest.mark.parametrize(("pools", "most"), [((POOL, OTHER_POOL), 1), ((), 2)])
def test_a_scrape_is_a_round_trip_or_two(world: World, server: TestServer, pools: tuple[str, ...], most: int) -> None:
    world.client.sadd(keys.POOLS, POOL)
    with counting_proxy.counting(server.port) as proxy:
        db = Database(f"redis://127.0.0.1:{proxy.port}/0")
        db.call("PING")  # the connection says hello first
        before = proxy.round_trips
        assert parse(exposition(db, settings(pools=pools), world.clock))("vmpooler_redis_up") == 1
        assert proxy.round_trips - before == most
        db.close()


GUIDES = {"vmpooler_health_orphaned_metadata_count", "vmpooler_health_stuck_vms_count"}
"""The guide's own names, whose end Prometheus keeps for histograms; one of ours is named after them."""


def test_promtool_complains_only_of_given_names(world: World) -> None:
    check(world)
    cycle(world)
    said = subprocess.run(
        [required("promtool"), "check", "metrics"],
        input=scrape(world).text,
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [line for line in (said.stdout + said.stderr).splitlines() if line]
    assert {line.split(" ", 1)[0] for line in lines} == GUIDES | {"vmpooler_health_queue_stuck_count"}
    assert all('should not have "_count" suffix' in line for line in lines)
