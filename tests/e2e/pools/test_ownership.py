"""A real worker and a real beat with VMs that somebody else made, and VMs whose pool nobody configures."""

import json
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from tests.support.processes import Installation, configuration, until
from tests.support.servers import TestServer
from vmpooler_tasks.model.names import Queue
from vmpooler_tasks.providers import PoolSpec, ProviderContext
from vmpooler_tasks.providers.dummy.inventory import MARKS_PREFIX, NO_MARK
from vmpooler_tasks.providers.dummy.provider import Dummy
from vmpooler_tasks.store import Database, keys

pytestmark = [pytest.mark.stage(name="lifecycle"), pytest.mark.timeout(600)]

POOL, GONE = PoolSpec(name="centos", template="t"), PoolSpec(name="gone", template="t")
OWN = "prague"


@pytest.fixture
def site(installation: Installation, database: Database) -> Installation:
    """A full pool of two VMs, with the purge of VMs of no pool."""
    options = {"installation": OWN, "purge_unconfigured_resources": True}
    given = configuration(manage_pools=True, health_check_enabled=True, check_loop_delay_min=1, **options)
    whole = {**json.loads(given), ":providers": {"dummy": {}}, ":pools": [{"name": POOL.name, "size": 2}]}
    installation.environment["VMPOOLER_CONFIG"] = json.dumps(whole)
    installation.worker("-P", "threads", worker_concurrency=8)
    installation.beat()
    until(lambda: len(ready(database)) == 2, "the pool is full")
    return installation


@pytest.fixture
def hypervisor(valkey: TestServer) -> Iterator[Dummy]:
    """The hypervisor, as another program of this installation sees it."""
    context = ProviderContext(name="dummy", options={}, redis_url=valkey.url, installation=OWN)
    with closing(Dummy(context)) as own:
        yield own


def ready(database: Database) -> set[bytes]:
    return set(database.call("SMEMBERS", keys.queue(Queue.READY, POOL.name)))


def command(site: Installation, *words: str) -> Any:
    return json.loads(site.run("vmpooler-tasks", "pools", *words, "--json"))


def codes(database: Database) -> set[str]:
    return {one["code"] for one in json.loads(database.call("HGET", keys.HEALTH, "reasons") or b"[]")}


def test_only_vms_with_the_mark_are_destroyed(site: Installation, database: Database, hypervisor: Dummy) -> None:
    made_by_vmpooler = min(ready(database)).decode()
    database.call("HSET", MARKS_PREFIX + POOL.name, made_by_vmpooler, NO_MARK)
    for name in ("person", "left-over"):
        hypervisor.add_foreign_vm(POOL, name)
    hypervisor.create_vm(POOL, "stray")
    database.call("HSET", keys.vm(b"stray"), "clone", "2024-01-15 10:00:00 +0000")
    hypervisor.create_vm(GONE, "old")

    until(lambda: hypervisor.list_vms(POOL)[made_by_vmpooler] == OWN, "a queued VM gets the mark")
    until(lambda: hypervisor.find_vm(POOL, "stray") is None, "a stray with the mark is destroyed")
    until(lambda: "foreign_vm" in codes(database), "health names the foreign VMs")
    assert command(site, "adopt", POOL.name) == [{"vm": "left-over", "mark": None}, {"vm": "person", "mark": None}]
    adopted = command(site, "adopt", POOL.name, "left-over", "--yes")
    assert adopted == [{"vm": "left-over", "result": "marked", "error": ""}]
    until(lambda: hypervisor.find_vm(POOL, "left-over") is None, "an adopted VM is destroyed")

    database.call("DEL", keys.turn("unconfigured", "dummy"))  # the round at the start came before this VM
    until(lambda: database.call("HEXISTS", keys.UNCONFIGURED_VMS, "found dummy"), "the VM of no pool is named")
    assert hypervisor.find_vm(GONE, "old")
    [confirmed] = command(site, "confirm", "--provider", "dummy")
    assert confirmed["changed"]
    database.call("ZADD", keys.first_seen("unconfigured", "dummy"), 1, "old")  # an hour passes
    database.call("DEL", keys.turn("unconfigured", "dummy"))
    until(lambda: hypervisor.find_vm(GONE, "old") is None, "the VM of no pool is destroyed")
    assert hypervisor.find_vm(POOL, "person")
    assert len(ready(database)) == 2
