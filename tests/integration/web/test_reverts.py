"""A revert that failed runs again over HTTP only by its id and confirmed."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.support.fleet import record_processes
from tests.support.servers import TestServer
from tests.support.web import OPERATOR, serving, web_settings
from tests.support.world import NOW, POOL, World
from vmpooler_tasks.model.names import DeadLetterQueue, Queue
from vmpooler_tasks.store import keys

DLQ = "/api/v1/queue/dlq"
ID = "a" * 16
CHECKOUT = "2024-01-15 10:00:00 +0000"


@pytest.fixture
def manager(valkey: TestServer, web_world: World) -> Iterator[httpx.Client]:
    """An operator of a web process whose workers are the pool manager; a revert of a running VM has failed."""
    record_processes(web_world.db)
    web_world.vm(Queue.RUNNING, "vm-1", 60, checkout=CHECKOUT)
    entry = {
        "vm": "vm-1",
        "pool": POOL,
        "queue_from": "tasks",
        "error_class": "InterruptedOrderError",
        "error_message": "its worker was lost",
        "failed_at": "2024-01-15T10:30:00Z",
        "id": ID,
        "task": "vmpooler_tasks.revert_snapshot",
        "args": [],
        "kwargs": {"vm": "vm-1", "pool": POOL, "snapshot": "before"},
        "checkout": CHECKOUT,
        "order": "0123456789ab",
    }
    web_world.client.zadd(keys.dead_letters(DeadLetterQueue.TASKS), {json.dumps(entry): NOW})
    with (
        serving(valkey.url, web_settings(valkey.url, manage_pools=True), web_world.clock) as address,
        httpx.Client(base_url=address, auth=OPERATOR) as client,
    ):
        yield client


def preview(client: httpx.Client, **body: Any) -> dict[str, Any]:
    response = client.post(f"{DLQ}/redrive", json={"dry_run": True, **body})
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


def test_a_preview_says_what_has_to_be_confirmed(manager: httpx.Client) -> None:
    for body in ({"every": True}, {"vm": "vm-1"}, {"ids": [ID]}):
        found = preview(manager, **body)
        assert (found["to_confirm"], found["expected"]["kept"], found["expected"]["redriven"]) == (1, 1, 0)
    confirmed = preview(manager, ids=[ID], confirm=True)
    assert (confirmed["to_confirm"], confirmed["expected"]["redriven"]) == (0, 1)


def test_a_confirmation_needs_ids(manager: httpx.Client) -> None:
    for body in ({"every": True}, {"vm": "vm-1"}):
        refused = manager.post(f"{DLQ}/redrive", json={"confirm": True, **body})
        assert refused.status_code == 422
        assert "only dead letters that are named by their ids can be confirmed" in refused.text


def test_the_run_remembers_the_confirmation(manager: httpx.Client, web_world: World) -> None:
    for confirm in (False, True):
        started = manager.post(f"{DLQ}/redrive", json={"ids": [ID], "confirm": confirm})
        assert started.status_code == 202
        recorded = web_world.client.hget(keys.redrive(started.json()["run"]), "confirmed")
        assert recorded == (b"1" if confirm else b"0")


def test_it_cannot_be_edited(manager: httpx.Client) -> None:
    assert manager.get(f"{DLQ}/{ID}/edit").json()["editable"] is False
    body = {"kwargs": {"vm": "vm-1", "pool": POOL, "snapshot": "other"}}
    assert manager.post(f"{DLQ}/{ID}/edit", json=body).status_code == 422
