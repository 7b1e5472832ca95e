"""What a real worker and a real beat do with VMs that are in a queue too many, and with VMs of requests that die."""

import json
from typing import Any

import pytest

from tests.support.api_client import ApiClient
from tests.support.api_server import ApiPool
from tests.support.inspections import wait_for_inspections
from tests.support.processes import Installation, configuration, until
from vmpooler_tasks.model.names import Queue
from vmpooler_tasks.store import Database, keys

pytestmark = pytest.mark.slow(seconds=30)

ONE, TWO = "one", "two"
SIZE = 4


def configure(installation: Installation) -> None:
    options = {"check_loop_delay_min": 1, "max_ondemand_instances_per_request": 2, "health_check_enabled": True}
    whole = json.loads(configuration(manage_pools=True, **options))
    whole[":providers"] = {"dummy": {}}
    whole[":pools"] = [{"name": pool, "size": SIZE, "template": f"templates/{pool}"} for pool in (ONE, TWO)]
    installation.environment["VMPOOLER_CONFIG"] = json.dumps(whole)


def members(database: Database, queue: Queue, pool: str) -> set[str]:
    return {vm.decode() for vm in database.call("SMEMBERS", keys.queue(queue, pool))}


def places(database: Database, vm: str) -> list[tuple[str, str]]:
    found = [(str(queue), pool) for pool in (ONE, TWO) for queue in Queue]
    return [(queue, pool) for queue, pool in found if vm in members(database, Queue(queue), pool)]


def command(installation: Installation, *words: str, status: int = 0) -> Any:
    return json.loads(installation.run("vmpooler-tasks", *words, "--json", status=status))


def test_each_vm_comes_to_be_in_one_queue_and_a_request_gets_living_vms(
    installation: Installation, database: Database
) -> None:
    configure(installation)
    installation.worker("-P", "threads", worker_concurrency=8)
    installation.beat()
    api = ApiClient(database.client, [ApiPool(ONE), ApiPool(TWO)], max_instances=3)
    until(lambda: all(len(members(database, Queue.READY, pool)) == SIZE for pool in (ONE, TWO)), "both pools are full")

    # A checkout leaves nothing in migrating.
    used, other, third = api.checkout({ONE: 3}).vms
    until(lambda: not members(database, Queue.MIGRATING, ONE), "migrating is emptied")
    assert places(database, used) == [("running", ONE)]

    # Machines in use: one could be given to a second user of either pool, the others would be destroyed.
    database.call("SADD", keys.queue(Queue.READY, ONE), used)
    database.call("SADD", keys.queue(Queue.READY, TWO), used)
    database.call("SADD", keys.queue(Queue.COMPLETED, ONE), other)
    database.call("SADD", keys.queue(Queue.COMPLETED, TWO), third)
    in_use = [(vm, [("running", ONE)]) for vm in (used, other, third)]
    until(lambda: [(vm, places(database, vm)) for vm, _ in in_use] == in_use, "each of them is only running")
    wait_for_inspections(database, ONE, TWO, times=3)  # a destruction would have been handed out
    for vm in (used, other, third):
        assert places(database, vm) == [("running", ONE)]
        assert database.call("HGET", keys.vm(vm.encode()), "destroy") is None
    assert "vm_in_two_queues" not in {one["code"] for one in command(installation, "health", status=0)["reasons"]}

    # More than the sum that our own option names, and nothing: what the API has accepted is filled.
    assert api.request_vms({ONE: 3, TWO: 3}, "many").status == 201
    assert api.request_vms({ONE: 0}, "nothing").status == 201
    until(lambda: api.show_request("nothing").body["ready"], "the request for nothing is ready")
    until(lambda: api.show_request("many").body["ready"], "the request for six is ready")
    assert len(api.show_request("many").vms) == 6

    check_that_a_deleted_vm_is_replaced(installation, database, api)


def check_that_a_deleted_vm_is_replaced(installation: Installation, database: Database, api: ApiClient) -> None:
    """Delete a VM of a request that still waits for a paused pool."""
    command(installation, "pools", "pause", TWO, "--why", "new disks")
    assert api.request_vms({ONE: 1, TWO: 1}, "late").status == 201
    delivered = keys.delivered(b"late", ONE, ONE)
    until(lambda: database.call("SCARD", delivered) == 1, "the first VM is delivered")
    [gone] = (vm.decode() for vm in database.call("SMEMBERS", delivered))
    assert api.delete_vm(gone).ok
    until(lambda: {gone.encode()} != set(database.call("SMEMBERS", delivered)), "the VM is taken out")
    command(installation, "pools", "resume", TWO)
    until(lambda: api.show_request("late").body["ready"], "the request is ready")
    vms = api.show_request("late").vms
    assert gone not in vms
    assert len(vms) == 2
    assert set(vms) <= members(database, Queue.RUNNING, ONE) | members(database, Queue.RUNNING, TWO)
    until(lambda: places(database, gone) == [], f"{gone} is destroyed")
