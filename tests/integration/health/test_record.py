"""What a health check leaves in Redis, and how it is read back."""

import json

import pytest
from pydantic import SecretStr

from tests.support.cycles import cycle
from tests.support.fleet import beat, let_pass, record_processes, worker
from tests.support.promises import fail, run_health
from tests.support.world import POOL, World, settings
from vmpooler_tasks.jobs.health import check, read
from vmpooler_tasks.jobs.health.history import points
from vmpooler_tasks.jobs.health.report import HealthReport
from vmpooler_tasks.model.fleet import ALIVE_SECONDS
from vmpooler_tasks.model.health.assessment import Assessment
from vmpooler_tasks.model.health.history import KeptCheck
from vmpooler_tasks.model.health.status import Status
from vmpooler_tasks.model.names import MAINTENANCE_QUEUE, DeadLetterQueue, Queue
from vmpooler_tasks.store import Database, keys
from vmpooler_tasks.store.health import record as store
from vmpooler_tasks.store.redis.scripts import script_text
from vmpooler_tasks.store.vmpooler.config import publish_config

pytestmark = pytest.mark.both_servers

HOUR, DAY = 3600, 86400
FIELDS = {
    "status",
    "last_check",
    "last_scheduled_check",
    "metrics",
    "stuck_vm_count",
    "dlq_total_size",
    "orphaned_metadata_count",
    "reasons",
}


def recorded(world: World) -> dict[str, str]:
    return {k.decode(): v.decode() for k, v in world.client.hgetall("vmpooler__health").items()}


def test_the_fields_are_the_documented_ones_and_no_other(world: World) -> None:
    for index in range(11):
        world.vm(Queue.PENDING, f"pooler-{index}", 7201)
    world.vm(None, "pooler-orphan", 60)
    fail(world)
    run_health(world)
    found = recorded(world)
    assert set(found) == FIELDS
    assert found["status"] == "degraded"
    assert found["last_check"] == "2024-01-15T10:30:00Z"
    assert (found["stuck_vm_count"], found["dlq_total_size"], found["orphaned_metadata_count"]) == ("11", "1", "1")
    assert json.loads(found["reasons"]) == [
        {"code": "stuck_vms", "severity": "degraded", "measured": 11, "threshold": 10, "pool": None}
    ]
    metrics = json.loads(found["metrics"])
    assert set(metrics) == {"queues", "tasks", "errors"}
    assert metrics["queues"][POOL]["pending"]["size"] == 11
    assert metrics["errors"]["dlq_total_size"] == 1


def test_it_replaces_whatever_was_there(world: World) -> None:
    world.client.hset("vmpooler__health", mapping={"old": "field", "status": "unhealthy"})
    run_health(world)
    assert set(recorded(world)) == FIELDS
    world.client.set(
        "vmpooler__health",
        "no hash",
    )
    run_health(world)
    assert set(recorded(world)) == FIELDS


@pytest.mark.parametrize(("interval", "expiry"), [(60, HOUR), (300, HOUR), (1200, HOUR), (1201, 3603), (DAY, 3 * DAY)])
def test_it_expires_after_the_longer_of_an_hour_and_three_intervals(world: World, interval: int, expiry: int) -> None:
    run_health(world, settings(health_check_interval=interval))
    assert expiry - 10 < world.client.ttl("vmpooler__health") <= expiry


def test_status_history_and_state_are_written_in_one_script(world: World) -> None:
    """One atomic step: a reader never sees half of it."""
    world.client.config_resetstat()
    check_now(world)
    text = script_text("health/write")
    assert all(f"KEYS[{number}]" in text for number in (1, 2, 3, 4))
    stats = world.client.info("commandstats")
    assert "cmdstat_multi" not in stats
    assert stats["cmdstat_hset"]["calls"] == 3, "the status, the state and the facts, all from inside the script"


@pytest.mark.parametrize("fresh_server", [False, True])
def test_it_is_written_when_redis_is_out_of_memory(world: World, fresh_server: bool) -> None:
    world.vm(Queue.READY, "pooler-a", 60)
    if fresh_server:
        world.client.script_flush()
    world.client.config_set("maxmemory", "1")
    try:
        report = run_health(world)
    finally:
        world.client.config_set("maxmemory", "0")
    assert report.assessment.status is Status.HEALTHY
    assert recorded(world)["status"] == "healthy"


def test_a_redis_that_refuses_writes_is_unhealthy(world: World, caplog: pytest.LogCaptureFixture) -> None:
    check_now(world)
    world.client.config_set("replica-read-only", "yes")
    world.client.replicaof("127.0.0.1", "1")  # nobody listens there
    try:
        world.now += 60
        report = check_now(world)
    finally:
        world.client.replicaof("no", "one")
    assert report.assessment.status is Status.UNHEALTHY
    assert report.assessment.reasons[0].code == "not_recorded"
    assert any(line.startswith("[!] [health] Failed during health check: Redis refused") for line in caplog.messages)
    assert recorded(world)["last_check"] == "2024-01-15T10:30:00Z", "what was recorded before still stands"


def test_the_recorded_status_is_read_back(world: World) -> None:
    world.vm(Queue.PENDING, "pooler-a", 60)
    for index in range(101):
        fail(world, f"pooler-{index}", DeadLetterQueue.CLONE)
    made = run_health(world)
    world.now += 900
    found = read.read_report(world.db, settings(), world.clock)
    assert found.assessment == made.assessment
    assert found.metrics == made.metrics
    assert found.last_check == made.last_check


def test_dead_letters_are_counted_when_the_status_is_read(world: World) -> None:
    """The recorded number would be as old as the check, and another number than that of the queue itself."""
    chosen = settings(dlq_max_entries=200)
    run_health(world, chosen)
    for index in range(190):
        fail(world, f"pooler-{index}", DeadLetterQueue.CLONE)
    found = read.read_report(world.db, chosen, world.clock)
    assert [(one.code, one.measured, one.queue) for one in found.assessment.reasons if one.code.startswith("dlq")] == [
        ("dlq_near_cap", 190, "clone"),
        ("dlq_size", 190, None),
    ]
    assert found.as_json()["dlq_total_size"] == 190
    assert found.metrics["queues"]["dlq"] == {"clone": {"size": 190}}
    run_health(world, chosen)
    world.client.delete("vmpooler__dlq__clone")
    found = read.read_report(world.db, chosen, world.clock)
    assert not [one for one in found.assessment.reasons if one.code.startswith("dlq")]
    assert (found.as_json()["dlq_total_size"], found.metrics["queues"].get("dlq")) == (0, None)
    assert recorded(world)["dlq_total_size"] == "190", "as the check counted them"


def test_a_missing_or_old_check_is_unhealthy_whatever_its_status(world: World) -> None:
    report = read.read_report(world.db, settings(), world.clock)
    assert (report.assessment.status, report.assessment.reasons[0].code, report.last_check) == (
        Status.UNHEALTHY,
        "stale",
        None,
    )
    run_health(world)
    world.now += 901
    report = read.read_report(world.db, settings(), world.clock)
    assert recorded(world)["status"] == "healthy"
    assert report.assessment.status is Status.UNHEALTHY
    assert [(reason.code, reason.measured, reason.threshold) for reason in report.assessment.reasons] == [
        ("stale", 901, 900)
    ]
    assert report.last_check == "2024-01-15T10:30:00Z"


@pytest.mark.parametrize(
    "fields",
    [
        {"status": "healthy"},
        {"status": "healthy", "last_check": "soon"},
        {"status": "healthy", "last_check": ""},
        {"last_check": "2024-01-15T10:30:00Z"},
        {"status": "excellent", "last_check": "2024-01-15T10:30:00Z"},
    ],
)
def test_an_incomplete_status_is_unreadable(world: World, fields: dict[str, str]) -> None:
    world.client.hset("vmpooler__health", mapping=fields)
    assert read.read_report(world.db, settings(), world.clock).assessment.status is Status.UNHEALTHY


CHECKED = {
    "status": "healthy",
    "last_check": "2024-01-15T10:30:00Z",
    "last_scheduled_check": "2024-01-15T10:30:00Z",
}
TIMES = ("last_check", "last_scheduled_check")
NO_REASON = '[{"code":"x","severity":"bad"}]'
ALL_WRONG = {"status": "fine", "metrics": "nojson", "reasons": NO_REASON}


@pytest.mark.parametrize(
    ("fields", "unreadable"),
    [
        ({"metrics": "nojson"}, 1),
        ({"metrics": "[]"}, 1),
        ({"metrics": '{"queues":{"p":5}}'}, 1),
        ({"reasons": "nojson"}, 1),
        ({"reasons": NO_REASON}, 1),
        ({"status": "fine"}, 1),
        (ALL_WRONG, 3),
    ],
)
def test_an_unreadable_status_is_unhealthy(world: World, fields: dict[str, str], unreadable: int) -> None:
    world.client.hset("vmpooler__health", mapping={**CHECKED, **fields})
    report = read.read_report(world.db, settings(), world.clock)
    assert report.assessment.status is Status.UNHEALTHY
    assert [(reason.code, reason.measured) for reason in report.assessment.reasons] == [("unreadable", unreadable)]
    shown = json.loads(json.dumps(report.as_json()))
    assert (shown["status"], shown["dlq_total_size"]) == ("unhealthy", 0)


def test_a_key_of_another_type_is_unhealthy(world: World) -> None:
    world.client.set("vmpooler__health", "no hash")
    report = read.read_report(world.db, settings(), world.clock)
    assert report.assessment.status is Status.UNHEALTHY
    assert [reason.code for reason in report.assessment.reasons] == ["unreadable"]
    assert report.last_check is None


def test_reasons_of_another_version_are_read(world: World) -> None:
    reason = {"code": "gremlins", "severity": "degraded", "measured": 3, "threshold": 1, "pool": None}
    world.client.hset("vmpooler__health", mapping={**CHECKED, "status": "degraded", "reasons": json.dumps([reason])})
    report = read.read_report(world.db, settings(), world.clock)
    assert report.assessment.status is Status.DEGRADED
    assert report.as_json()["reasons"] == [reason]


def test_a_check_from_the_future_is_stale(world: World) -> None:
    world.client.hset("vmpooler__health", mapping={**CHECKED, **dict.fromkeys(TIMES, "2999-01-01T00:00:00Z")})
    report = read.read_report(world.db, settings(), world.clock)
    assert [reason.code for reason in report.assessment.reasons] == ["stale"]
    assert report.assessment.status is Status.UNHEALTHY
    assert report.assessment.reasons[0].measured < 0


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


def test_the_status_that_vmpooler_wrote_is_read_and_stale(world: World) -> None:
    ruby = {"status": "degraded", "last_check": "2024-01-15 10:29:00 +0000", "metrics": '{"queues":{},"errors":{}}'}
    world.client.hset("vmpooler__health", mapping=ruby)
    report = read.read_report(world.db, settings(), world.clock)
    assert [(reason.code, reason.measured) for reason in report.assessment.reasons] == [("stale", 0)]
    assert report.as_json()["dlq_total_size"] == 0
    off = read.read_report(world.db, settings(health_check_enabled=False), world.clock)
    assert off.assessment == Assessment(Status.DEGRADED, ())


def check_now(world: World) -> HealthReport:
    """Check without the heartbeats that `run_health` records."""
    report = check.run(world.db, settings(), world.clock)
    assert report is not None
    return report


def by_hand(world: World) -> HealthReport:
    report = check.run(world.db, settings(), world.clock, forced=True, is_scheduled=False)
    assert report is not None
    return report


def test_a_check_by_hand_neither_renews_the_status_nor_prolongs_it(world: World) -> None:
    assert [reason.code for reason in by_hand(world).assessment.reasons] == ["stale"]
    run_health(world)
    assert by_hand(world).assessment.status is Status.HEALTHY
    world.client.expire("vmpooler__health", 100)
    world.now += 901
    for _ in range(2):
        report = by_hand(world)
        assert (report.last_check, report.last_scheduled_check) == ("2024-01-15T10:45:01Z", "2024-01-15T10:30:00Z")
        assert report.assessment.reasons[0].code == "stale"
        assert (recorded(world)["status"], world.client.ttl("vmpooler__health") <= 100) == ("unhealthy", True)
        assert read.read_report(world.db, settings(), world.clock).assessment == report.assessment
    run_health(world)
    assert read.read_report(world.db, settings(), world.clock).assessment.status is Status.DEGRADED  # health_overdue
    assert world.client.ttl("vmpooler__health") > 3000


def test_readers_see_missing_processes_before_the_next_check(world: World) -> None:
    run_health(world)
    let_pass(world.db, worker(), ALIVE_SECONDS + 1)
    found = read.read_report(world.db, settings(), world.clock).assessment
    assert (found.status, [reason.code for reason in found.reasons]) == (Status.UNHEALTHY, ["no_worker"])
    let_pass(world.db, beat(), ALIVE_SECONDS + 1)
    assert {reason.code for reason in by_hand(world).assessment.reasons} == {"no_worker", "no_beat"}
    record_processes(world.db)
    assert recorded(world)["status"] == "unhealthy"
    assert read.read_report(world.db, settings(), world.clock).assessment == Assessment(Status.HEALTHY, ())


def test_a_database_without_any_pool_is_unhealthy(world: World) -> None:
    report = check.run(world.db, settings(pools=()), world.clock)
    assert report is not None
    assert [reason.code for reason in report.assessment.reasons] == ["nothing_checked"]
    world.client.sadd(keys.POOLS, "registered")
    assert read.read_report(world.db, settings(pools=()), world.clock).assessment.status is Status.HEALTHY


def test_messages_of_another_broker_are_read_there(world: World) -> None:
    apart = settings().model_copy(update={"broker_url": SecretStr("redis://127.0.0.1:1/0")})
    only = worker(queues=[MAINTENANCE_QUEUE])
    run_health(world)
    record_processes(world.db, only)
    world.client.lpush("vmpooler.clone", "message")

    def codes(broker: Database | None) -> list[tuple[str, str | None]]:
        found = read.read_report(world.db, apart, world.clock, broker).assessment
        return [(reason.code, reason.queue) for reason in found.reasons]

    assert codes(world.db) == [("no_worker", "vmpooler.clone")]
    assert codes(None) == []
    assert codes(Database("redis://127.0.0.1:1/0")) == [], "a broker that does not reply"


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


def test_a_check_changes_nothing_but_its_own_keys(world: World) -> None:
    world.vm(Queue.PENDING, "pooler-a", 8000)
    world.vm(None, "pooler-o", 2 * DAY)
    fail(world)
    cycle(world, queues=("ready",))
    before = world.snapshot()
    check_now(world)
    own = {keys.HEALTH, keys.HEALTH_HISTORY, keys.HEALTH_STATE, keys.HEALTH_FACTS}
    assert {key: value for key, value in world.snapshot().items() if key not in own} == before


def test_the_effective_configuration_is_published_whole(world: World) -> None:
    world.client.hset("vmpooler__config", "gone", "x")
    publish_config(world.db, settings(dlq_ttl=5).published())
    found = {k.decode(): v.decode() for k, v in world.client.hgetall("vmpooler__config").items()}
    assert found["dlq_enabled"] == "true"
    assert found["purge_dry_run"] == "false"
    assert found["dlq_ttl"] == "5"
    assert "gone" not in found
