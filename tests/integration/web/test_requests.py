"""On-demand requests in the API."""

import httpx
import pytest

from tests.support.web import READER
from tests.support.world import NOW, POOL, World

REQUESTS = "/api/v1/queue/requests"
ODD = "odd-\xe9".encode("latin-1")


@pytest.fixture(autouse=True)
def requests(web_world: World) -> None:
    for number, name in enumerate((b"one", ODD, b"two")):
        fields = {"requested": f"{POOL}:{POOL}:2", "token:token": "a-secret", "token:user": "rita"}
        web_world.client.hset(b"vmpooler__odrequest__" + name, mapping=fields)
        web_world.client.zadd("vmpooler__provisioning__request", {name: NOW - 60 + number})


def test_the_list_has_pages_and_shows_no_token(web: httpx.Client) -> None:
    first = web.get(REQUESTS, params={"limit": 2, "status": ["waiting", "filling"], "user": "rita"}).json()
    assert [one["request"] for one in first["requests"]] == ["two", "odd-\\xe9"]
    second = web.get(REQUESTS, params={"limit": 2, "cursor": first["next_cursor"]})
    assert [one["request"] for one in second.json()["requests"]] == ["one"]
    assert second.json()["next_cursor"] is None
    assert second.json()["requests"][0]["since"] == NOW - 60
    assert "a-secret" not in second.text
    for wrong in ({"cursor": "x"}, {"status": "lost"}, {"limit": 0}, {"colour": "red"}):
        assert web.get(REQUESTS, params=wrong).status_code == 422


def test_one_request_is_shown_with_its_history(web: httpx.Client) -> None:
    response = web.get(f"{REQUESTS}/one")
    found = response.json()
    assert (found["status"], found["user"], found["parts"][0]["count"]) == ("waiting", "rita", 2)
    assert [event["what"] for event in found["events"]] == ["requested"]
    assert "a-secret" not in response.text
    assert web.get(f"{REQUESTS}/none").status_code == 404


def test_a_request_is_cancelled_once_and_by_operators(web: httpx.Client, web_world: World) -> None:
    assert httpx.delete(f"{web.base_url}{REQUESTS}/one", auth=READER).status_code == 403
    response = web.delete(f"{REQUESTS}/one", params={"why": "a test"})
    assert (response.status_code, response.json()) == (200, {"cancelled": True, "vms_completed": []})
    assert web_world.client.hget("vmpooler__odrequest__one", "status") == b"deleted"
    [entry] = web.get("/api/v1/queue/audit").json()["entries"]
    assert (entry["action"], entry["who"], entry["why"]) == ("cancel_request", "olga@web", "a test")
    again = web.delete(f"{REQUESTS}/one")
    assert (again.status_code, "its status is deleted" in again.json()["detail"]) == (409, True)
    assert web.delete(f"{REQUESTS}/none").status_code == 404
