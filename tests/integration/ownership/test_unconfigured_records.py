"""The DNS records of VMs whose pool is in no configuration: deleted with their VMs."""

import json
import logging
from typing import NoReturn

import pytest

from tests.support.dns_zone import Zone
from tests.support.fleet import record_processes
from tests.support.marking_provider import MarkingScripted
from tests.support.pool_world import PoolWorld
from vmpooler_tasks.config.dns import DnsConfig
from vmpooler_tasks.errors import ConfigurationError, TransientDnsError
from vmpooler_tasks.jobs.ownership import unconfigured
from vmpooler_tasks.jobs.ownership.unconfigured import ROUND_SECONDS
from vmpooler_tasks.store import keys
from vmpooler_tasks.store.guards.unconfigured import confirm

GONE = "windows-2003"
SCRIPTED = "scripted"
LOST = TransientDnsError("DNS server ns did not reply within 10 seconds")


@pytest.fixture
def zone(world: PoolWorld, provider: MarkingScripted) -> Zone:
    """Two VMs with records; a note of the record is left of the first one alone. An operator has confirmed them."""
    world.config["purge_unconfigured_resources"] = True
    world.dns = {"inside": DnsConfig(domain="old.example.com", dns_class="rfc2136")}
    own = Zone(own={"old-a.old.example.com": "10.0.0.1", "old-b.old.example.com": "10.0.0.1", "old-c.x": "10.0.0.2"})
    world.dns_plugins["inside"] = own
    record_processes(world.db)
    provider.has_own("old-a", "old-b", pool=GONE)
    note(world, "old-a")
    confirm(world.db, SCRIPTED, 10)
    return own


def note(world: PoolWorld, vm: str, entry: str = "inside") -> None:
    record = {"plugin": entry, "name": f"{vm}.old.example.com", "address": "10.0.0.1"}
    world.client.hset(keys.dns_records(GONE), vm, json.dumps(record))


def two_rounds(world: PoolWorld) -> str:
    for _ in range(2):
        done = unconfigured.run(world.context, SCRIPTED)
        world.now += ROUND_SECONDS
    return done


def test_the_records_are_deleted_first_with_and_without_a_note(
    world: PoolWorld, provider: MarkingScripted, zone: Zone
) -> None:
    left: list[set[str]] = []
    zone.before = lambda _: left.append(set(provider.machines))
    assert two_rounds(world) == "2 VMs found, 2 destroyed"
    assert left == [{"old-a", "old-b"}, {"old-b"}]
    assert zone.own == {"old-c.x": "10.0.0.2"}
    assert world.client.exists(keys.dns_records(GONE)) == 0


def test_a_record_of_somebody_else_stays(world: PoolWorld, zone: Zone) -> None:
    zone.foreign |= {"old-a.old.example.com", "old-b.old.example.com"}
    assert two_rounds(world) == "2 VMs found, 2 destroyed"
    assert len(zone.own) == 3


def test_while_dns_fails_the_vms_stay_with_their_notes(
    world: PoolWorld, provider: MarkingScripted, zone: Zone, caplog: pytest.LogCaptureFixture
) -> None:
    zone.error = LOST
    assert two_rounds(world) == "2 VMs found, 0 destroyed"
    assert f"'old-a' of no configured pool was not destroyed: {LOST}" in caplog.text
    assert set(provider.machines) == {"old-a", "old-b"}
    assert world.client.hkeys(keys.dns_records(GONE)) == [b"old-a"]
    zone.error = None
    assert two_rounds(world) == "0 VMs found, 0 destroyed"
    assert zone.own == {"old-c.x": "10.0.0.2"}


def test_entries_that_are_gone_or_cannot_be_loaded_stop_nothing(
    world: PoolWorld, zone: Zone, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(name: str) -> NoReturn:
        raise ConfigurationError(f":dns_configs: {name}", ["server is missing"])

    caplog.set_level(logging.WARNING, "vmpooler_tasks.pools")
    note(world, "old-a", entry="gone")
    zone.before = refuse
    assert two_rounds(world) == "2 VMs found, 2 destroyed"
    assert "'old-a': the DNS record old-a.old.example.com stays: entry gone of :dns_configs: is gone" in caplog.text
    assert "'old-b': entry inside of :dns_configs: cannot be loaded" in caplog.text


def test_without_dns_nothing_is_asked(world: PoolWorld, zone: Zone) -> None:
    world.dns = {}
    assert two_rounds(world) == "2 VMs found, 2 destroyed"
    assert zone.calls == []
