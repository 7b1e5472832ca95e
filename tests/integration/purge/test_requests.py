"""On-demand requests that nobody fills any more fail with a reason."""

import pytest

from tests.support.cycles import counters, cycle
from tests.support.world import World, settings
from vmpooler_tasks.model.purge import PurgeTarget

pytestmark = pytest.mark.both_servers

HOUR, DAY = 3600, 86400
WAITING, PROCESSING = "vmpooler__provisioning__request", "vmpooler__provisioning__processing"


def request(world: World, name: str, age: float, key: str = WAITING, **fields: str) -> None:
    world.client.zadd(key, {name: world.now - age})
    world.client.hset(f"vmpooler__odrequest__{name}", mapping={"requested": "centos-7:centos-7-x86_64:1", **fields})


def fields(world: World, name: str) -> dict[str, str]:
    return {k.decode(): v.decode() for k, v in world.client.hgetall(f"vmpooler__odrequest__{name}").items()}


@pytest.mark.parametrize("key", [WAITING, PROCESSING])
def test_a_request_older_than_max_request_age_fails_with_a_reason(
    world: World, key: str, caplog: pytest.LogCaptureFixture
) -> None:
    request(world, "req-old", DAY + 1, key)
    request(world, "req-at-the-limit", DAY, key)
    assert cycle(world).purged == {"requests": 1}
    assert fields(world, "req-old") == {
        "requested": "centos-7:centos-7-x86_64:1",
        "status": "failed",
        "failure_reason": "not filled within 86400 seconds (max_request_age)",
    }
    assert 0 < world.client.ttl("vmpooler__odrequest__req-old") <= 168 * HOUR
    assert world.client.zrange(key, 0, -1) == [b"req-at-the-limit"]
    assert "status" not in fields(world, "req-at-the-limit")
    assert counters(world)["requests_failed"] == 1
    assert "[!] [purge] Failed stuck on-demand request 'req-old' (age: 86401s)" in caplog.messages


def test_what_was_delivered_to_it_is_let_go_with_it(world: World) -> None:
    request(world, "req-old", DAY + 1, PROCESSING, requested="a:b:one:2,c:two:1,c:three:1")
    request(world, "req-odd", DAY + 1, PROCESSING, requested="what?")
    delivered = ["vmpooler__req-old__a:b__one", "vmpooler__req-old__c__two"]
    for name in delivered:
        world.client.sadd(name, "vm")
    assert cycle(world).purged == {"requests": 2}
    assert [0 < world.client.ttl(name) <= 168 * HOUR for name in delivered] == [True, True]
    assert world.client.exists("vmpooler__req-old__c__three") == 0
    assert {fields(world, name)["status"] for name in ("req-old", "req-odd")} == {"failed"}


@pytest.mark.parametrize("status", ["ready", "failed", "deleted"])
@pytest.mark.parametrize("dry_run", [False, True])
def test_a_request_with_a_result_is_not_found(world: World, status: str, dry_run: bool) -> None:
    request(world, "req-old", 2 * DAY, PROCESSING, status=status)
    before = fields(world, "req-old")
    report = cycle(world, dry_run=dry_run)
    assert report.found[PurgeTarget.REQUESTS] == 0
    assert report.total == 0
    assert fields(world, "req-old") == before
    assert world.client.zcard(PROCESSING) == 1


def test_a_request_in_both_lists_fails_once(world: World) -> None:
    request(world, "req-old", 2 * DAY, WAITING)
    request(world, "req-old", 2 * DAY, PROCESSING)
    assert cycle(world).purged == {"requests": 1}
    assert not world.client.exists(WAITING, PROCESSING)


def test_the_age_is_the_configured_one(world: World) -> None:
    request(world, "req-old", 61)
    assert cycle(world, settings(max_request_age=60)).purged == {"requests": 1}
    assert fields(world, "req-old")["failure_reason"] == "not filled within 60 seconds (max_request_age)"


@pytest.mark.parametrize(("wrong", "right"), [(WAITING, PROCESSING), (PROCESSING, WAITING)])
def test_one_list_of_the_wrong_type_does_not_stop_the_other(world: World, wrong: str, right: str) -> None:
    world.client.set(wrong, "no sorted set")
    request(world, "req-old", 2 * DAY, right)
    report = cycle(world)
    assert len(report.errors) == 1
    assert wrong in report.errors[0]
    assert report.purged == {"requests": 1}
    assert fields(world, "req-old")["status"] == "failed"


def test_one_request_of_the_wrong_type_does_not_stop_the_others(world: World) -> None:
    world.client.zadd(WAITING, {"req-bad": 1, "req\nodd": 2})
    world.client.set("vmpooler__odrequest__req-bad", "no hash")
    request(world, "req-old", 2 * DAY)
    report = cycle(world)
    assert report.purged == {"requests": 2}
    assert len(report.errors) == 1
    assert "req-bad" in report.errors[0]
    assert world.client.zrange(WAITING, 0, -1) == [b"req-bad"]


def test_requests_are_skipped_if_pools_or_other_queues_are_named(world: World) -> None:
    request(world, "req-old", 2 * DAY)
    assert cycle(world, pools=("centos-7-x86_64",)).total == 0
    assert cycle(world, queues=("pending",)).total == 0
    assert cycle(world, queues=("requests",)).purged == {"requests": 1}


@pytest.mark.parametrize("dry_run", [False, True])
def test_any_number_of_older_ones_that_were_answered_hides_no_stuck_one(world: World, dry_run: bool) -> None:
    for number in range(2500):
        world.client.zadd(WAITING, {f"req-{number}": world.now - 9 * DAY})
        world.client.hset(f"vmpooler__odrequest__req-{number}", "status", "ready")
    request(world, "req-stuck", 2 * DAY)
    request(world, "req-new", 60)
    report = cycle(world, dry_run=dry_run)
    assert report.found[PurgeTarget.REQUESTS] == 1
    assert [entry.vm for entry in report.entries] == ["req-stuck"]
    assert fields(world, "req-stuck").get("status") == (None if dry_run else "failed")


def test_all_that_are_stuck_fail_in_one_cycle_oldest_first(world: World) -> None:
    for number in range(1200):
        request(world, f"req-{number}", 2 * DAY - number)
    report = cycle(world)
    assert report.purged == {"requests": 1200}
    assert [entry.vm for entry in report.entries[:3]] == ["req-0", "req-1", "req-2"]
    assert not world.client.exists(WAITING)
