"""Everything about one pool: its VMs with their ages, its settings, and what overrides them."""

from typing import Any

import pytest

from tests.support.pool_world import HOUR, PoolWorld, pool
from tests.support.world import NOW, POOL
from vmpooler_tasks.errors import InvalidInputError
from vmpooler_tasks.jobs.pools import overview as job
from vmpooler_tasks.model.names import Queue
from vmpooler_tasks.store import Database


@pytest.fixture
def world(db: Database) -> PoolWorld:
    return PoolWorld(db, pools=[pool(alias=("centos",), size=3, folder="vms", password="a-secret")])


def details(world: PoolWorld, name: str = POOL) -> dict[str, Any]:
    return job.read_details(world.db, world.settings, name, world.now).as_json()


def queue_of(found: dict[str, Any], queue: str) -> dict[str, Any]:
    [one] = [one for one in found["queues"] if one["queue"] == queue]
    return dict(one)


def test_vms_are_listed_by_queue_oldest_first(world: PoolWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job, "MAX_SHOWN_VMS", 2)
    for name, age in (("young", 60), ("old", 3 * HOUR), ("middle", HOUR)):
        world.vm(Queue.READY, name, age)
    world.client.sadd("vmpooler__ready__" + POOL, b"odd-\xff")
    checkout = {"checkout": world.stamp(120), "token:user": "rita", "token:token": "a-token", "request_id": "req-1"}
    world.vm(Queue.RUNNING, "mine", 500, **checkout)
    found = details(world)
    ready = queue_of(found, "ready")
    assert (ready["total"], ready["left_out"], [vm["vm"] for vm in ready["vms"]]) == (4, 2, ["old", "middle"])
    assert ready["vms"][0]["since"] == NOW - 3 * HOUR
    [running] = queue_of(found, "running")["vms"]
    assert (running["since"], running["user"], running["request"]) == (NOW - 120, "rita", "req-1")
    assert [one["queue"] for one in found["queues"]] == ["pending", "ready", "running", "completed"]
    assert "a-token" not in str(found)


def test_settings_show_what_the_api_has_set_and_no_secret(world: PoolWorld) -> None:
    world.client.hset("vmpooler__config__poolsize", POOL, "5")
    world.client.hset("vmpooler__config__template", POOL, "templates/two")
    world.client.hset("vmpooler__template__prepared", POOL, "templates/one")
    found = details(world)
    settings = {one["name"]: (one["configured"], one["override"], one["effective"]) for one in found["settings"]}
    assert settings["size"] == (3, "5", 5)
    assert settings["template"] == ("templates/one", "templates/two", "templates/two")
    assert settings["folder"] == ("vms", None, "vms")
    assert settings["password"][0] == "[redacted]"
    assert (found["aliases"], found["known_template"], found["reset"]) == (["centos"], "templates/one", False)


def test_a_queue_of_another_type_hides_nothing_else(world: PoolWorld) -> None:
    world.client.set("vmpooler__pending__" + POOL, "no set")
    world.vm(Queue.READY, "one", 60)
    found = details(world)
    assert queue_of(found, "pending") | {"vms": []} == {
        "queue": "pending",
        "total": 0,
        "readable": False,
        "vms": [],
        "left_out": 0,
    }
    assert queue_of(found, "ready")["total"] == 1
    with pytest.raises(InvalidInputError, match="there is no pool 'centos'"):
        details(world, "centos")
