"""A real worker and beat fill pools from two vCenters: one by `provider_class`, one by the old section `:vsphere:`."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support import vcenter_simulator
from tests.support.commands import CommandLine
from tests.support.processes import Installation, configuration, until
from tests.support.vcenter_simulator import CLUSTER, FOLDER, PASSWORD, TEMPLATE, Vcenter
from vmpooler_tasks.model.names import Queue
from vmpooler_tasks.store import Database, keys

pytestmark = [pytest.mark.stage(name="providers"), pytest.mark.timeout(1200)]

EAST, WEST, SIZE = "debian-east", "debian-west", 3


@pytest.fixture
def vcenters(tmp_path: Path) -> Iterator[dict[str, Vcenter]]:
    with ExitStack() as stack:
        found = {}
        for name in (EAST, WEST):
            folder = tmp_path / name
            folder.mkdir()
            found[name] = stack.enter_context(vcenter_simulator.running(folder))
        yield found


def configured(vcenters: dict[str, Vcenter]) -> str:
    whole = json.loads(configuration(manage_pools=True, installation="prod", check_loop_delay_min=1))
    whole[":providers"] = {"vcenter-east": {**vcenters[EAST].options, "provider_class": "vsphere"}}
    whole[":vsphere"] = vcenters[WEST].options
    pool = {"template": TEMPLATE, "folder": FOLDER, "clone_target": CLUSTER, "size": SIZE}
    whole[":pools"] = [
        {"name": EAST, "provider": "vcenter-east", **pool},
        {"name": WEST, "provider": "vsphere", **pool},
    ]
    return json.dumps(whole)


def members(database: Database, queue: Queue, pool: str) -> set[str]:
    return {vm.decode() for vm in database.call("SMEMBERS", keys.queue(queue, pool))}


def wait_until_full(database: Database, pool: str) -> None:
    until(lambda: len(members(database, Queue.READY, pool)) == SIZE, f"{pool} is full")


def test_pools_of_two_vcenters_fill_and_a_destroyed_vm_is_replaced(
    installation: Installation, database: Database, vcenters: dict[str, Vcenter]
) -> None:
    installation.environment["VMPOOLER_CONFIG"] = configured(vcenters)
    vcenters[WEST].add(["a-persons-vm"])
    worker = installation.worker("-P", "threads", worker_concurrency=8)
    installation.beat()
    for pool in (EAST, WEST):
        wait_until_full(database, pool)
        made = {vm["name"]: json.loads(vm["annotation"]) for vm in vcenters[pool].vms() if vm["annotation"]}
        assert set(made) == members(database, Queue.READY, pool)
        assert {(notes["pool"], notes["installation"]) for notes in made.values()} == {(pool, "prod")}
    used = min(members(database, Queue.READY, WEST))
    database.call("SMOVE", keys.queue(Queue.READY, WEST), keys.queue(Queue.COMPLETED, WEST), used)
    until(lambda: used not in {vm["name"] for vm in vcenters[WEST].vms()}, "it is destroyed")
    wait_until_full(database, WEST)
    assert "a-persons-vm" in {vm["name"] for vm in vcenters[WEST].vms()}
    assert PASSWORD not in worker.log


def test_config_check_names_a_missing_privilege(run: CommandLine, vcenters: dict[str, Vcenter]) -> None:
    vcenters[EAST].configure(revoked_privileges=["VirtualMachine.Inventory.Delete"])
    done = run("config", "check", "--online", VMPOOLER_CONFIG=configured(vcenters))
    assert done.status != 0
    assert f"the login lacks privileges on folder {FOLDER}: VirtualMachine.Inventory.Delete" in done.out + done.err
    vcenters[EAST].configure()
    assert run("config", "check", "--online", VMPOOLER_CONFIG=configured(vcenters)).status == 0
