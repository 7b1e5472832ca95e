"""A DNS server that fails again and again is a reason of health, with the last error, until a call succeeds."""

import pytest

from tests.support.dns_zone import Zone
from tests.support.pool_world import HOUR, PoolWorld, pool
from tests.support.world import POOL
from vmpooler_tasks.config.dns import DnsConfig
from vmpooler_tasks.errors import PermanentDnsError, RecordTakenError
from vmpooler_tasks.jobs.health import check
from vmpooler_tasks.jobs.health.changes import changed_facts, read_watched
from vmpooler_tasks.model.health.explanation import HealthReason, explain
from vmpooler_tasks.model.health.reasons import ReasonCode
from vmpooler_tasks.model.names import Queue
from vmpooler_tasks.store import keys
from vmpooler_tasks.store.dns.failures import parse_failures

REFUSED = PermanentDnsError("DNS server ns refused the update: REFUSED, password=hunter2")


@pytest.fixture
def zone(world: PoolWorld) -> Zone:
    world.dns = {"inside": DnsConfig(domain="pool.example.com", dns_class="rfc2136")}
    world.pools = [pool(dns_plugin="inside", size=8)]
    own = Zone()
    world.dns_plugins["inside"] = own
    return own


def reasons(world: PoolWorld) -> list[HealthReason]:
    report = check.run(world.db, world.settings, world.clock, forced=True)
    assert report is not None
    return [one for one in report.assessment.reasons if one.code == ReasonCode.DNS_FAILING]


def fail(world: PoolWorld, vm: str, error: type[Exception] = PermanentDnsError) -> None:
    with pytest.raises(error):
        world.clone(vm)


def test_calls_that_fail_in_a_row_are_a_reason_until_one_succeeds(world: PoolWorld, zone: Zone) -> None:
    first, second, third, fourth, *_ = world.clones()
    zone.error = REFUSED
    fail(world, first)
    fail(world, second)
    assert reasons(world) == [], "one VM's name may be at fault"
    fail(world, third)
    seen = read_watched(world.db, world.settings, world.now)
    assert "DNS" in changed_facts(world.db, world.settings, seen)
    [found] = reasons(world)
    assert (found.key, found.measured, found.threshold, found.severity.name) == ("inside", 3, 2, "DEGRADED")
    text, remedy = explain(found, world.now)
    assert text.startswith("3 calls in a row to the DNS server of inside failed, more than 2. Last error 0 s ago: DNS")
    assert "hunter2" not in text
    assert "`vmpooler-tasks config check --online`" in remedy
    zone.error = None
    world.clone(fourth)
    assert reasons(world) == []
    assert not world.client.exists(keys.DNS_FAILURES)


def test_deletions_count(world: PoolWorld, zone: Zone) -> None:
    vms = world.clones()[:3]
    for vm in vms:
        world.clone(vm)
        world.client.smove(keys.queue(Queue.READY, POOL), keys.queue(Queue.COMPLETED, POOL), vm)
    zone.error = REFUSED
    destroys = [work for work in world.inspect().work if work.vm in vms]
    for work in destroys:
        with pytest.raises(PermanentDnsError):
            world.deliver(work)
    [found] = reasons(world)
    assert found.measured == len(destroys) == 3


def test_a_taken_name_is_no_failure_of_the_server(world: PoolWorld, zone: Zone) -> None:
    for vm in world.clones()[:4]:
        zone.foreign.add(f"{vm}.pool.example.com")
        fail(world, vm, RecordTakenError)
    assert not world.client.exists(keys.DNS_FAILURES)


def test_an_entry_that_cannot_be_loaded_is_named(world: PoolWorld, zone: Zone) -> None:
    del world.dns_plugins["inside"]
    for vm in world.clones()[:3]:
        fail(world, vm, KeyError)
    assert [one.key for one in reasons(world)] == ["inside"]
    assert zone.calls == []


def test_failures_are_forgotten_after_a_day(world: PoolWorld, zone: Zone) -> None:
    zone.error = REFUSED
    fail(world, world.clones()[0])
    assert 23 * HOUR < world.client.ttl(keys.DNS_FAILURES) <= 24 * HOUR


def test_an_entry_that_writes_no_records_any_more_is_no_reason(world: PoolWorld, zone: Zone) -> None:
    zone.error = REFUSED
    for vm in world.clones()[:3]:
        fail(world, vm)
    assert reasons(world)
    world.config["manage_pools"] = False
    assert reasons(world) == []
    world.config["manage_pools"] = True
    world.dns = {}
    assert reasons(world) == []


@pytest.mark.parametrize("junk", ["", "x", "1e99", b"\xff"])
def test_a_count_that_cannot_be_read_starts_anew(world: PoolWorld, zone: Zone, junk: str) -> None:
    world.client.hset(keys.DNS_FAILURES, mapping={"failures:inside": junk, b"failures:\xff": "3", "other": "x"})
    assert reasons(world) == []
    zone.error = REFUSED
    fail(world, world.clones()[0])
    assert parse_failures(world.client.hgetall(keys.DNS_FAILURES))["inside"].last_error is not None


def test_a_key_of_the_wrong_type_stops_no_clone(world: PoolWorld, zone: Zone) -> None:
    first, second, *_ = world.clones()
    world.client.set(keys.DNS_FAILURES, "x")
    assert world.clone(first) == "ready"
    zone.error = REFUSED
    fail(world, second)
