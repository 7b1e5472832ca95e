"""Pools are paused, drained, resumed and retried while a real worker and a real beat manage them."""

import json
import time
from typing import Any

import pytest

from tests.support.api_client import ApiClient
from tests.support.api_server import ApiPool
from tests.support.processes import Installation, Process, configuration, until
from vmpooler_tasks.model.names import Queue
from vmpooler_tasks.store import Database, keys

pytestmark = pytest.mark.slow(seconds=40)

SIZE = 3
GOOD, BROKEN = "good", "broken"


def configure(installation: Installation, *templates: str) -> None:
    """Two pools on a provider that has these templates. A suspension lasts far longer than this test."""
    options = {"check_loop_delay_min": 1, "breaker_failures": 2, "breaker_seconds": 3600, "vm_checktime": 1}
    whole = json.loads(configuration(manage_pools=True, **options))
    whole[":providers"] = {"dummy": {"templates": list(templates)}}
    whole[":pools"] = [{"name": pool, "size": SIZE, "template": f"templates/{pool}"} for pool in (GOOD, BROKEN)]
    installation.environment["VMPOOLER_CONFIG"] = json.dumps(whole)


def members(database: Database, queue: Queue, pool: str = GOOD) -> set[str]:
    return {vm.decode() for vm in database.call("SMEMBERS", keys.queue(queue, pool))}


def vms(database: Database, pool: str = GOOD) -> set[str]:
    """Return the pool's VMs that nobody uses."""
    return members(database, Queue.PENDING, pool) | members(database, Queue.READY, pool)


def check_out(database: Database, hours_ago: float) -> str:
    api = ApiClient(database.client, [ApiPool(GOOD)], clock=lambda: time.time() - 3600 * hours_ago)
    [vm] = api.checkout({GOOD: 1}).vms
    return vm


def worker(installation: Installation, name: str) -> Process:
    return installation.worker("-P", "threads", name=name, worker_concurrency=8)


def pools(installation: Installation, *arguments: str, status: int = 0) -> Any:
    return json.loads(installation.run("vmpooler-tasks", "pools", *arguments, "--json", status=status))


def state(installation: Installation, pool: str) -> str:
    return next(str(row["state"]) for row in pools(installation) if row["pool"] == pool)


def full(database: Database, pool: str = GOOD) -> None:
    until(lambda: len(members(database, Queue.READY, pool)) == SIZE, f"{pool} is full")


def test_an_operator_empties_fills_and_retries_pools(installation: Installation, database: Database) -> None:
    configure(installation, f"templates/{GOOD}")
    broken_worker = worker(installation, "first")
    installation.beat()
    full(database)
    until(lambda: state(installation, BROKEN) == "suspended", "the pool without its template is suspended")

    # Pause: a VM past its lifetime is still found and destroyed, and no other takes the place of those that left ready.
    pools(installation, "pause", GOOD, "--why", "new disks")
    old, young = check_out(database, hours_ago=25), check_out(database, hours_ago=0)
    until(lambda: not members(database, Queue.RUNNING) & {old}, "the old VM is checked")
    until(lambda: not members(database, Queue.COMPLETED), "it is destroyed")
    assert (len(vms(database)), members(database, Queue.RUNNING)) == (1, {young})
    assert state(installation, GOOD) == "paused"

    # Drain: what is ready goes, what is used stays.
    pools(installation, "drain", GOOD)
    until(lambda: not vms(database) and not members(database, Queue.COMPLETED), "its unused VMs are destroyed")
    assert members(database, Queue.RUNNING) == {young}

    pools(installation, "resume", GOOD)
    full(database)
    assert members(database, Queue.RUNNING) == {young}

    # The template is back. Without a retry the pool would wait for an hour.
    broken_worker.stop()
    configure(installation, f"templates/{GOOD}", f"templates/{BROKEN}")
    worker(installation, "second")
    assert not vms(database, BROKEN)
    [report] = pools(installation, "retry", BROKEN)
    assert (report["changed"], report["hindered_by"]) == (True, [])
    full(database, BROKEN)
    recorded = [entry["action"] for entry in json.loads(installation.run("vmpooler-tasks", "audit", "--json"))]
    assert [action for action in recorded if action != "purge"] == ["retry", "resume", "drain", "pause"]


def test_a_new_template_brings_a_suspended_pool_back_by_itself(installation: Installation, database: Database) -> None:
    configure(installation, f"templates/{GOOD}")
    # An earlier version left the templates in effect behind. Its VMs must stay.
    database.call("HSET", keys.FORMER_TEMPLATES, GOOD, f"templates/{GOOD}")
    worker(installation, "worker")
    installation.beat()
    until(lambda: database.call("HGET", keys.pool_breaker(BROKEN), "open_until"), "the pool is suspended")
    assert not database.call("EXISTS", keys.FORMER_TEMPLATES)
    api = ApiClient(database.client, [ApiPool(pool, SIZE, f"templates/{pool}") for pool in (GOOD, BROKEN)])
    full(database)
    kept = members(database, Queue.READY)
    api.set_templates({BROKEN: f"templates/{GOOD}"})
    full(database, BROKEN)
    assert [shown["template_ready"] for shown in api.config().values()] == [True, True]
    assert members(database, Queue.READY) == kept

    # An undone override and a new clone target drain the pool, which fills itself again.
    before = members(database, Queue.READY, BROKEN)
    api.set_clone_targets({BROKEN: "cluster-2"})
    until(lambda: not before & vms(database, BROKEN), "the VMs at the old place are gone")
    full(database, BROKEN)
    before = members(database, Queue.READY, BROKEN)
    api.undo_template(BROKEN)
    until(lambda: not before & vms(database, BROKEN), "the VMs of the template that was set are gone")
    until(lambda: api.config()[BROKEN]["template_ready"], "the configured template is the prepared one")
    assert members(database, Queue.READY) == kept
