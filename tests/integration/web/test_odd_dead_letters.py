"""One odd dead letter breaks no list, export, detail or statistics of the API, and hides no other."""

import csv
import io
import json
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from tests.support.odd_dead_letters import ODD_IDS, USUAL, odd_members
from tests.support.world import NOW, World
from vmpooler_tasks.web.api.deadletters import ENCODED

pytestmark = pytest.mark.slow(seconds=10)

DLQ = "/api/v1/queue/dlq"
KEY = "vmpooler__dlq__clone"


def listed(web: httpx.Client, **query: Any) -> list[dict[str, Any]]:
    """Return all dead letters, page by page."""
    found: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    while True:
        response = web.get(DLQ, params={"limit": 100, **query, **cursor})
        assert response.status_code == 200, response.text
        found += response.json()["letters"]
        if not (after := response.json()["next_cursor"]):
            return found
        cursor = {"cursor": after}


def path_of(entry: str) -> str:
    return f"{DLQ}/{ENCODED}{entry.encode().hex()}"


@pytest.fixture
def odd(web_world: World) -> dict[str, bytes]:
    members = odd_members()
    web_world.client.zadd(KEY, {raw: NOW - number for number, raw in enumerate(members.values())})
    return members


@pytest.mark.parametrize(("sort", "limit"), [("time", 100), ("vm", 500), ("error", 200)])
def test_a_list_shows_each_odd_dead_letter(web: httpx.Client, odd: dict[str, bytes], sort: str, limit: int) -> None:
    found = listed(web, sort=sort, limit=limit)
    assert len(found) == len(odd)
    assert {one["queue"] for one in found} == {"clone"}
    texts = ("id", "vm", "pool", "queue_from", "error_class", "error_message", "failed_at", "request_id", "task")
    assert {type(one.get(name)) for one in found for name in texts} <= {str, type(None)}


def test_each_odd_dead_letter_is_shown_by_its_id(web: httpx.Client, web_world: World) -> None:
    members = list(odd_members().values())
    sample = {*members[::9], *members[-60:]}
    web_world.client.zadd(KEY, dict.fromkeys(sample, NOW))
    shown = listed(web)
    assert len(shown) == len(sample)
    for one in shown:
        whole = web.get(path_of(one["id"]))
        assert (whole.status_code, whole.json()["id"], whole.json()["queue"]) == (200, one["id"], "clone"), one
        assert isinstance(whole.json()["editable"], bool)


def test_exports_and_statistics_count_each_odd_dead_letter(web: httpx.Client, odd: dict[str, bytes]) -> None:
    lines = web.get(f"{DLQ}/export").text.strip("\n").split("\n")
    assert len([json.loads(line, parse_constant=pytest.fail) for line in lines]) == len(odd)
    csv.field_size_limit(10**8)
    rows = list(csv.DictReader(io.StringIO(web.get(f"{DLQ}/export", params={"format": "csv"}).text)))
    assert (len(rows), {row["queue"] for row in rows}) == (len(odd), {"clone"})
    assert web.get(f"{DLQ}/stats").json()["total"] == len(odd)
    body = {"every": True, "dry_run": True}
    assert web.post(f"{DLQ}/redrive", json=body).json()["selected"] > 0
    assert web.get(DLQ, params={"search": "\\ud83d"}).status_code == 200


@pytest.mark.parametrize("odd_id", ODD_IDS)
def test_any_id_can_be_opened_and_deleted(web: httpx.Client, web_world: World, odd_id: str) -> None:
    web_world.client.zadd(KEY, {json.dumps({**USUAL, "id": odd_id}): NOW, json.dumps(USUAL): NOW})
    assert web.get(path_of(odd_id)).json()["id"] == odd_id
    assert web.get(f"{path_of(odd_id)}/edit").json()["editable"] is False
    assert web.delete(path_of(odd_id)).json()["deleted"] == 1
    assert [one["id"] for one in listed(web)] == [USUAL["id"]]


@pytest.mark.parametrize("odd_id", ["a/b", "a b", "ü☃", "a?b#c", "../x"])
def test_an_id_may_also_stand_in_the_path_itself(web: httpx.Client, web_world: World, odd_id: str) -> None:
    web_world.client.zadd(KEY, {json.dumps({**USUAL, "id": odd_id}): NOW})
    path = f"{DLQ}/{quote(odd_id, safe='')}"
    assert web.get(path).json()["id"] == odd_id
    assert web.delete(path).json()["deleted"] == 1
