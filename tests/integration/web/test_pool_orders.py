"""An operator orders pools over HTTP: pause, drain, resume, retry."""

from collections.abc import Iterator

import httpx
import pytest

from tests.support.fleet import record_processes
from tests.support.servers import TestServer
from tests.support.web import OPERATOR, READER, serving, web_settings
from tests.support.world import NOW, POOL, World
from vmpooler_tasks.model.names import Queue
from vmpooler_tasks.store import keys

POOL_PATH = f"/api/v1/queue/pools/{POOL}"


@pytest.fixture
def manager(valkey: TestServer, web_world: World) -> Iterator[httpx.Client]:
    """An operator of a web process whose workers are the pool manager."""
    record_processes(web_world.db)
    chosen = web_settings(valkey.url, manage_pools=True)
    with (
        serving(valkey.url, chosen, web_world.clock) as address,
        httpx.Client(base_url=address, auth=OPERATOR) as client,
    ):
        yield client


def test_a_pool_is_paused_drained_and_resumed_with_an_entry_each(manager: httpx.Client, web_world: World) -> None:
    web_world.vm(Queue.READY, "ready-1", 60)
    paused = manager.post(f"{POOL_PATH}/pause", json={"why": "new disks"})
    assert (paused.status_code, paused.json()["changed"], paused.json()["action"]) == (200, True, "pause")
    drained = manager.post(f"{POOL_PATH}/drain").json()
    assert (drained["moved"], drained["pool"], drained["hindered_by"]) == (1, POOL, [])
    assert manager.post(f"{POOL_PATH}/resume").json()["changed"]
    assert manager.post(f"{POOL_PATH}/resume").json()["text"] == "not paused"
    entries = manager.get("/api/v1/queue/audit").json()["entries"]
    assert [(one["action"], one["who"], one["pool"]) for one in entries] == [
        (action, "olga@web", POOL) for action in ("resume", "drain", "pause")
    ]


def test_a_suspended_pool_and_provider_are_tried_at_once(manager: httpx.Client, web_world: World) -> None:
    for breaker in (keys.pool_breaker(POOL), keys.breaker("dummy")):
        web_world.client.hset(breaker, mapping={"failures": 5, "open_until": NOW + 600})
    assert manager.post(f"{POOL_PATH}/retry").json()["changed"]
    assert float(web_world.client.hget(keys.pool_breaker(POOL), "open_until")) == NOW
    assert manager.post("/api/v1/queue/providers/dumm/retry").status_code == 404


def test_a_brake_is_released_with_an_entry(manager: httpx.Client, web_world: World) -> None:
    record = '{"since": 1705314600, "strays": 34, "missing": 0, "known": 36, "limit": 9, "confirmed": null}'
    web_world.client.hset(keys.BRAKES.decode(), POOL, record)
    [row] = [one for one in manager.get("/api/v1/queue/overview").json()["pools"] if one["pool"] == POOL]
    assert row["brake"] == "34 in no queue, 0 missing from the inventory, 36 known"
    assert manager.post(f"{POOL_PATH}/confirm", json={"why": "an old folder"}).json()["changed"]
    assert not manager.post(f"{POOL_PATH}/confirm").json()["changed"]
    [entry] = manager.get("/api/v1/queue/audit").json()["entries"]
    assert (entry["action"], entry["pool"], entry["count"], entry["why"]) == ("confirm", POOL, "34", "an old folder")


def test_unknown_names_and_fields_are_refused(manager: httpx.Client) -> None:
    unknown = manager.post("/api/v1/queue/pools/centos-7-x86_65/pause")
    assert (unknown.status_code, f"did you mean {POOL}" in unknown.json()["detail"]) == (404, True)
    assert manager.post(f"{POOL_PATH}/pause", json={"reason": "x"}).status_code == 422
    assert manager.get(f"{POOL_PATH}/pause").status_code == 405


@pytest.mark.parametrize("action", ["pause", "drain", "resume", "retry", "keep", "confirm"])
def test_readers_may_not_and_without_manage_pools_nobody_may(web: httpx.Client, action: str) -> None:
    assert httpx.post(f"{web.base_url}{POOL_PATH}/{action}", auth=READER).status_code == 403
    response = web.post(f"{POOL_PATH}/{action}")
    assert (response.status_code, "manage_pools is off" in response.json()["detail"]) == (409, True)
