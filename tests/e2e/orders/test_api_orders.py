"""Users of VMPooler's API order everything at once while a real worker and a real beat manage the pools."""

import json
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.api_client import ApiClient
from tests.support.api_server import ApiPool
from tests.support.leftovers import leftovers
from tests.support.processes import PATIENCE, Installation, configuration, until
from vmpooler_tasks.model.names import Queue
from vmpooler_tasks.store import Database, keys

pytestmark = [pytest.mark.stage(name="lifecycle"), pytest.mark.timeout(600)]

ONE, TWO, ALIAS, SIZE = "one", "two", "linux", 3
DATA_TTL_SECONDS = 18


@pytest.fixture
def api(installation: Installation, database: Database) -> ApiClient:
    """The API server of two pools, which a worker and a beat fill."""
    whole = json.loads(configuration(manage_pools=True, check_loop_delay_min=1, vm_checktime=1))
    whole[":pools"] = [
        {"name": pool, "size": SIZE, "template": f"templates/{pool}", "alias": [ALIAS]} for pool in (ONE, TWO)
    ]
    whole[":providers"] = {"dummy": {}}
    whole[":redis"] = {"data_ttl": DATA_TTL_SECONDS / 3600}
    installation.environment["VMPOOLER_CONFIG"] = json.dumps(whole)
    installation.worker("-P", "threads", worker_concurrency=8)
    installation.beat()
    return server(database)


def server(database: Database, hours_ago: float = 0) -> ApiClient:
    pools = [ApiPool(name, SIZE, f"templates/{name}", aliases=(ALIAS,)) for name in (ONE, TWO)]
    return ApiClient(database.client, pools, clock=lambda: time.time() - 3600 * hours_ago)


class Story:
    """What is in Redis while the orders are carried out. `vms`: every VM that was ever seen."""

    def __init__(self, api: ApiClient, database: Database) -> None:
        self.api, self.database = api, database
        self.vms: set[str] = set()

    def members(self, queue: Queue, *pools: str) -> set[str]:
        found = [self.database.call("SMEMBERS", keys.queue(queue, pool)) for pool in pools or (ONE, TWO)]
        vms = {vm.decode() for names in found for vm in names}
        self.vms |= vms
        return vms

    def until_full(self, one: int = SIZE, two: int = SIZE) -> None:
        sizes = {ONE: one, TWO: two}
        until(lambda: {pool: len(self.members(Queue.READY, pool)) for pool in sizes} == sizes, f"ready: {sizes}")

    def until_gone(self, vms: set[str]) -> None:
        """Wait until these VMs are in no queue."""
        places = list(Queue)
        until(lambda: not any(self.members(queue) & vms for queue in places), f"in no queue: {vms}")

    def until_shown(self, vm: str, name: str, value: object) -> None:
        until(lambda: self.api.show_vm(vm).body[vm].get(name) == value, f"{name} of {vm} is {value}")


def test_every_order_is_carried_out_and_leaves_nothing(api: ApiClient, database: Database) -> None:
    story = Story(api, database)
    story.until_full()

    # Users take VMs by pool and alias, too many, and at once. One of them took his two hours ago.
    wanted = [{ONE: 1}, {ALIAS: 1}, {TWO: 1}, {ONE: SIZE + 1}]
    with ThreadPoolExecutor() as users:
        replies = list(users.map(lambda one: server(database).checkout(one), wanted))
        users.submit(api.request_vms, {ALIAS: 3}, "req-1").result()
    taken = [vm for reply in replies for vm in reply.vms]
    [old] = server(database, hours_ago=2).checkout({TWO: 1}).vms
    assert replies[-1].status == 503
    assert len(set(taken)) == len(taken) >= 3
    first, second, third = taken[:3]

    order_for_vms(story, old, first, second, third)

    # The on-demand request.
    until(lambda: api.show_request("req-1").status == 200, "the request is ready")
    delivered = set(api.show_request("req-1").vms)
    assert len(delivered) == 3
    assert delivered <= story.members(Queue.RUNNING)
    assert api.delete_request("req-1").ok  # at once: it expires after data_ttl

    order_for_pools(story)

    # All is returned, and the pools get the size 0: after data_ttl nothing mentions a VM.
    assert api.set_pool_sizes({ONE: 0, TWO: 0}).ok
    assert all(api.delete_vm(vm).ok for vm in (first, second))
    story.until_gone(set(story.vms))
    kept = [f"vmpooler__vm__{vm}" for vm in story.vms]
    until(lambda: not database.call("EXISTS", *kept), "the metadata expires", DATA_TTL_SECONDS + PATIENCE)
    assert leftovers(database.client, story.vms) == []
    assert not database.call("EXISTS", "vmpooler__poolreset", "vmpooler__tasks__disk", "vmpooler__tasks__snapshot")
    assert api.status()["queue"] == {"pending": 0, "ready": 0, "running": 0, "completed": 0, "cloning": 0}


def order_for_vms(story: Story, old: str, first: str, second: str, third: str) -> None:
    """Order everything for VMs in use at once, and wait until it is carried out."""
    api, database = story.api, story.database
    assert api.modify(old, lifetime=1).ok
    assert api.modify(first, lifetime=48, tags={"job": "nightly"}).ok
    assert api.add_disk(first, 8).status == 202
    name = api.snapshot(second).body[second]["snapshot"]
    assert api.delete_vm(third).ok
    story.until_shown(first, "disk", ["+8gb"])
    story.until_shown(second, "snapshots", [name])
    assert api.revert(second, name).status == 202
    until(lambda: not database.call("EXISTS", "vmpooler__tasks__snapshot-revert"), "the revert was taken")
    story.until_gone({old, third})
    story.until_full()
    assert {first, second} <= story.members(Queue.RUNNING)


def order_for_pools(story: Story) -> None:
    """Order other templates and sizes, and undo them."""
    api = story.api
    before = story.members(Queue.READY)
    assert api.set_templates({ONE: "templates/new"}).status == 201
    assert api.set_pool_sizes({ONE: 1}).status == 201
    assert api.reset_pools(TWO).status == 201
    story.until_gone(before)
    story.until_full(one=1)
    assert api.config()[ONE]["template_ready"]
    before = story.members(Queue.READY, ONE)
    assert [api.undo_template(ONE).status, api.undo_pool_size(ONE).status] == [201, 201]
    story.until_gone(before)
    story.until_full()
    assert api.config()[ONE] == {"size": SIZE, "template": "templates/one", "template_ready": True}
