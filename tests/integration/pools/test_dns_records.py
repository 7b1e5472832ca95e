"""The DNS record of a VM: made before the VM is handed out, deleted at its destruction, found whatever dies between."""

import pytest

from tests.support.brakes import confirm
from tests.support.dns_zone import Zone
from tests.support.pool_world import PoolWorld, pool
from tests.support.world import POOL
from vmpooler_tasks.config.dns import DnsConfig
from vmpooler_tasks.errors import PermanentDnsError, RecordTakenError, TransientDnsError
from vmpooler_tasks.model.names import Queue
from vmpooler_tasks.model.pools.lifecycle import Step
from vmpooler_tasks.store import keys

DOMAIN = "pool.example.com"

LOST = TransientDnsError("DNS server ns did not reply within 10 seconds")


@pytest.fixture
def zone(world: PoolWorld) -> Zone:
    world.dns = {"inside": DnsConfig(domain=DOMAIN, dns_class="rfc2136")}
    world.pools = [pool(dns_plugin="inside")]
    own = Zone()
    world.dns_plugins["inside"] = own
    return own


def noted(world: PoolWorld) -> set[str]:
    return {vm.decode() for vm in world.client.hkeys(keys.dns_records(POOL))}


def test_a_record_is_made_before_the_vm_is_handed_out(world: PoolWorld, zone: Zone) -> None:
    vm, *_ = world.clones()
    queues: list[set[str]] = []
    zone.before = lambda _: queues.append(world.names_in(Queue.READY))
    world.clone(vm)
    assert zone.calls == ["is_taken", "create"]
    assert queues == [set(), set()]
    assert zone.own == {f"{vm}.{DOMAIN}": "10.0.0.1"}
    assert (world.names_in(Queue.READY), noted(world)) == ({vm}, {vm})


def test_the_destruction_deletes_the_record_first(world: PoolWorld, zone: Zone) -> None:
    vm, *_ = world.clones()
    world.clone(vm)
    world.client.smove(keys.queue(Queue.READY, POOL), keys.queue(Queue.COMPLETED, POOL), vm)
    world.provider.before("destroy", lambda _: zone.calls.append("destroy"))
    world.round()
    assert [call for call in zone.calls if call in ("delete", "destroy")] == ["delete", "destroy"]
    assert (zone.own.get(f"{vm}.{DOMAIN}"), vm in world.provider.machines) == (None, False)
    assert vm not in noted(world) | world.names_in(Queue.COMPLETED)


def test_a_pool_without_a_class_or_with_dynamic_dns_writes_nothing(world: PoolWorld, zone: Zone) -> None:
    world.dns |= {"own": DnsConfig(domain=DOMAIN, dns_class="Dynamic-DNS"), "bare": DnsConfig(domain=DOMAIN)}
    world.pools = [pool(dns_plugin="own"), pool("b", dns_plugin="bare"), pool("c")]
    world.round()
    assert all(len(world.names_in(Queue.READY, one.name)) == one.size for one in world.pools)
    assert (zone.calls, world.client.keys("*dns_records*")) == ([], [])


@pytest.mark.parametrize("skips", [True, False])
def test_a_taken_name_is_not_used(world: PoolWorld, zone: Zone, monkeypatch: pytest.MonkeyPatch, skips: bool) -> None:
    monkeypatch.setattr(type(world.settings), "skips_name_check", lambda *_: skips)
    vm, *_ = world.clones()
    zone.foreign.add(f"{vm}.{DOMAIN}")
    with pytest.raises(RecordTakenError):
        world.clone(vm)
    assert world.provider.called("create") == ([vm] if skips else [])
    world.fail(vm, RecordTakenError("somebody else has a DNS record of this name"))
    [letter] = world.dead_letters("clone")
    assert letter["error_class"] == "RecordTakenError"
    for _ in range(5):
        world.now += 20
        world.round()
    assert vm not in world.provider.machines
    assert f"{vm}.{DOMAIN}" in zone.foreign
    assert world.names_in(Queue.READY), "the next VM has another name"
    assert vm not in noted(world)


def test_a_failure_is_tried_again_and_then_a_dead_letter(world: PoolWorld, zone: Zone) -> None:
    zone.error = LOST
    vm, *_ = world.clones()
    assert world.deliver_all(work for work in world.inspect().work if work.vm == vm) == []
    with pytest.raises(TransientDnsError):
        world.clone(vm)
    assert len(zone.calls) > 1, "it was tried again"
    world.fail(vm, LOST)
    [letter] = world.dead_letters("clone")
    assert (letter["error_class"], letter["error_message"]) == ("TransientDnsError", str(LOST))


def test_a_permanent_failure_is_tried_once(world: PoolWorld, zone: Zone) -> None:
    zone.error = PermanentDnsError("the key has no permission")
    vm, *_ = world.clones()
    with pytest.raises(PermanentDnsError):
        world.clone(vm)
    assert zone.calls == ["is_taken"]


def test_a_worker_dies_between_record_and_ready(world: PoolWorld, zone: Zone) -> None:
    """The clone is delivered again: it finds its VM and its own record."""
    vm, *_ = world.clones()
    zone.before = lambda what: _die() if what == "create" else None
    with pytest.raises(KeyboardInterrupt):
        world.clone(vm)
    assert noted(world) == {vm}, "the note comes before the record"
    zone.before = lambda _: None
    zone.own[f"{vm}.{DOMAIN}"] = "10.0.0.1"
    world.now += 3600
    assert world.clone(vm, "task-1/1") == "ready"
    assert len(world.provider.machines) == 1
    assert zone.own == {f"{vm}.{DOMAIN}": "10.0.0.1"}


def _die() -> None:
    raise KeyboardInterrupt


def test_dns_that_fails_does_not_keep_a_vm_alive(world: PoolWorld, zone: Zone) -> None:
    vm, *_ = world.clones()
    world.clone(vm)
    world.client.smove(keys.queue(Queue.READY, POOL), keys.queue(Queue.COMPLETED, POOL), vm)
    zone.error = LOST
    [work] = [work for work in world.inspect().work if work.step is Step.DESTROY]
    with pytest.raises(TransientDnsError):
        world.deliver(work)
    assert vm not in world.provider.machines
    assert (world.names_in(Queue.COMPLETED), noted(world)) == ({vm}, {vm}), "the record is still to be deleted"
    zone.error = None
    world.now += 3600
    world.round()
    assert f"{vm}.{DOMAIN}" not in zone.own
    assert vm not in world.names_in(Queue.COMPLETED) | noted(world)


@pytest.mark.parametrize("step", ["record", "vm"])
def test_a_worker_dies_in_the_destruction(world: PoolWorld, zone: Zone, step: str) -> None:
    vm, *_ = world.clones()
    world.clone(vm)
    world.client.smove(keys.queue(Queue.READY, POOL), keys.queue(Queue.COMPLETED, POOL), vm)
    [work] = [work for work in world.inspect().work if work.step is Step.DESTROY]
    if step == "record":
        zone.before = lambda _: _die()
    else:
        world.provider.before("destroy", lambda _: _die())
    with pytest.raises(KeyboardInterrupt):
        world.deliver(work)
    zone.before = lambda _: None
    world.provider.before("destroy", None)
    world.now += 3600
    world.round()
    assert vm not in world.provider.machines
    assert vm not in world.names_in(Queue.COMPLETED) | noted(world)
    assert f"{vm}.{DOMAIN}" not in zone.own


def vanished(world: PoolWorld, count: int = 1) -> list[str]:
    """VMs with records that left their queue and their provider behind the workers' back."""
    vms = world.clones()[:count]
    for vm in vms:
        world.clone(vm)
        world.client.srem(keys.queue(Queue.READY, POOL), vm)
        world.provider.machines.pop(vm)
        world.provider.pool_of.pop(vm)
    return vms


def test_a_stale_record_is_deleted_after_a_while(world: PoolWorld, zone: Zone) -> None:
    [vm] = vanished(world)
    world.round()
    world.round()
    assert f"{vm}.{DOMAIN}" in zone.own, "a VM may be in no queue for some seconds"
    for _ in range(4):
        world.now += 20
        world.round()
    assert f"{vm}.{DOMAIN}" not in zone.own
    assert vm not in noted(world) | world.names_in(Queue.COMPLETED)
    assert set(zone.own) == {f"{one}.{DOMAIN}" for one in world.names_in(Queue.READY)} != set()


def test_many_stale_records_engage_the_brake(world: PoolWorld, zone: Zone) -> None:
    world.pools = [pool(size=10, dns_plugin="inside")]
    vms = vanished(world, 10)
    world.provider.has(*(f"other-{number}" for number in range(3)), pool="elsewhere")
    for _ in range(5):
        world.now += 20
        world.inspect()
    assert world.client.hexists(keys.BRAKES, POOL)
    assert set(zone.own) == {f"{vm}.{DOMAIN}" for vm in vms}
    assert "delete" not in zone.calls


def test_the_entry_that_made_the_record_deletes_it(world: PoolWorld, zone: Zone) -> None:
    vm, *_ = world.clones()
    world.clone(vm)
    world.dns["new"] = DnsConfig(domain="new.example.com", dns_class="rfc2136")
    world.dns_plugins["new"] = Zone()
    world.pools = [pool(dns_plugin="new")]
    world.client.smove(keys.queue(Queue.READY, POOL), keys.queue(Queue.COMPLETED, POOL), vm)
    world.round()
    assert f"{vm}.{DOMAIN}" not in zone.own


def test_an_entry_that_is_gone_is_named_and_stops_nothing(
    world: PoolWorld, zone: Zone, caplog: pytest.LogCaptureFixture
) -> None:
    vm, *_ = world.clones()
    world.clone(vm)
    world.dns = {"new": DnsConfig(domain="new.example.com", dns_class="rfc2136")}
    world.pools = [pool()]
    world.client.smove(keys.queue(Queue.READY, POOL), keys.queue(Queue.COMPLETED, POOL), vm)
    world.round()
    assert vm not in world.provider.machines
    assert f"the DNS record {vm}.{DOMAIN} stays: entry inside of :dns_configs: is gone" in caplog.text
    assert f"{vm}.{DOMAIN}" in zone.own


def test_redis_is_emptied_and_the_orphan_takes_its_record_with_it(world: PoolWorld, zone: Zone) -> None:
    vm, *_ = world.clones()
    world.clone(vm)
    world.client.delete(keys.dns_records(POOL), keys.queue(Queue.READY, POOL), keys.vm(vm.encode()))
    for _ in range(5):
        world.now += 20
        world.round()
    assert vm in world.provider.machines, "a VM without metadata waits for an operator"
    assert f"{vm}.{DOMAIN}" in zone.own
    confirm(world)
    for _ in range(5):
        world.now += 20
        world.round()
    assert vm not in world.provider.machines
    assert f"{vm}.{DOMAIN}" not in zone.own


def test_a_note_that_cannot_be_read_is_as_none(world: PoolWorld, zone: Zone) -> None:
    vm, *_ = world.clones()
    world.clone(vm)
    for odd in ("", "[]", "{", '{"plugin": 1, "name": "x", "address": "y"}', "[" * 5000):
        world.client.hset(keys.dns_records(POOL), vm, odd)
        world.completed_vm(vm)
        zone.own[f"{vm}.{DOMAIN}"] = "10.0.0.1"
        world.now += 3600
        world.round()
        assert f"{vm}.{DOMAIN}" not in zone.own


def test_a_worker_that_lost_its_lease_makes_no_record(world: PoolWorld, zone: Zone) -> None:
    vm, *_ = world.clones()
    world.provider.before("create", lambda _: world.client.hset(keys.work(vm.encode()), "fence", 10**12))
    assert world.clone(vm) == "lost"
    assert zone.calls == ["is_taken"]
    assert noted(world) == set()
