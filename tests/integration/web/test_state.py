"""The state in the API: probes, health, overview, history, audit, metrics."""

import json
import re

import httpx
import pytest

from tests.support.fleet import record_processes, worker
from tests.support.servers import TestServer
from tests.support.web import OPERATOR, READER, TOKEN, serving, web_section, web_settings
from tests.support.world import NOW, POOL, World
from vmpooler_tasks.jobs.health import check
from vmpooler_tasks.model.fleet import RunningTask
from vmpooler_tasks.model.health.reasons import REASONS
from vmpooler_tasks.model.names import WORK_QUEUES, Queue
from vmpooler_tasks.store import Database, fleet_keys
from vmpooler_tasks.store.deadletters.read import revision
from vmpooler_tasks.store.fleet import audit
from vmpooler_tasks.web.identity import COOKIE
from vmpooler_tasks.web.problems import WITHOUT_ADDRESS

AUDIT = "/api/v1/queue/audit"
SCHEDULE = "/api/v1/queue/schedule"

NOBODY = "redis://:secret@127.0.0.1:9/0"
"""A port that nobody listens on."""


def checked(world: World, **options: object) -> None:
    """Let beat's check run, with a worker and a beat alive."""
    record_processes(world.db)
    check.run(world.db, web_settings("redis://127.0.0.1", **options), world.clock)  # type: ignore[arg-type]


@pytest.mark.parametrize("path", ["/health", "/api/v1/queue/health"])
def test_healthy_system_is_200(web: httpx.Client, web_world: World, path: str) -> None:
    checked(web_world)
    response = web.get(path)
    assert (response.status_code, response.headers["content-type"]) == (200, "application/health+json")
    found = response.json()
    assert (found["status"], found["reasons"], found["last_check"]) == ("healthy", [], "2024-01-15T10:30:00Z")
    assert found["metrics"]["queues"][POOL]["pending"]["size"] == 0


def test_a_degraded_system_is_still_served(web: httpx.Client, web_world: World) -> None:
    web_world.client.zadd("vmpooler__dlq__clone", {f'{{"id": "{n}"}}': NOW for n in range(101)})
    checked(web_world)
    response = web.get("/health")
    [reason] = response.json()["reasons"]
    assert (response.status_code, response.json()["status"], reason["code"]) == (200, "degraded", "dlq_size")
    assert (reason["found"], reason["runbook"]) == ("101 dead letters, more than 100", "/runbooks#dlq_size")
    assert "vmpooler-tasks dlq stats" in reason["remedy"]


def test_unhealthy_system_is_503(web: httpx.Client, web_world: World) -> None:
    for number in range(51):
        web_world.vm(Queue.PENDING, f"vm-{number}", 10_000)
    checked(web_world)
    response = web.get("/health")
    assert (response.status_code, response.json()["status"]) == (503, "unhealthy")
    assert response.json()["stuck_vm_count"] == 51


def test_a_status_that_is_not_renewed_is_stale(web: httpx.Client, web_world: World) -> None:
    checked(web_world)
    web_world.now += 3 * 300 + 1
    response = web.get("/health")
    assert (response.status_code, [one["code"] for one in response.json()["reasons"]]) == (503, ["stale"])


def test_without_redis_it_is_alive_not_ready_and_names_the_address() -> None:
    with serving(NOBODY, web_settings(NOBODY)) as address, httpx.Client(base_url=address, auth=OPERATOR) as client:
        assert client.get("/healthz").json() == {"status": "ok"}
        for path in ("/health", "/api/v1/queue/overview", "/api/v1/queue/dlq"):
            response = client.get(path)
            assert (response.status_code, response.headers["content-type"]) == (503, "application/problem+json")
            assert "127.0.0.1:9" in response.json()["detail"]
            assert "secret" not in response.text
            assert response.headers["retry-after"] == "5"
        login = client.post("/api/v1/session", json={"user": "olga", "password": OPERATOR._auth_header})
        assert login.status_code == 401


def test_without_redis_nobody_without_a_login_learns_its_address() -> None:
    with serving(NOBODY, web_settings(NOBODY)) as address, httpx.Client(base_url=address) as client:
        for path, cookies in (("/readyz", {}), ("/health", {COOKIE: "forged"}), ("/api/v1/session", {COOKIE: "x"})):
            client.cookies.update(cookies)
            response = client.get(path)
            assert (response.status_code, response.headers["content-type"]) == (503, "application/problem+json")
            assert response.json()["detail"] == WITHOUT_ADDRESS
            assert response.headers["retry-after"] == "5"
    with serving(NOBODY, web_settings(NOBODY, web_section(users=(), tokens=()))) as address:
        assert "127.0.0.1:9" in httpx.get(f"{address}/readyz").json()["detail"], "everybody may read everything there"


def test_the_overview_shows_the_state_of_everything(web: httpx.Client, web_world: World) -> None:
    web_world.vm(Queue.READY, "vm-1", 60)
    task = RunningTask(name="vmpooler_tasks.check_pool", id="7", subject={"pool": POOL}, since=NOW)
    checked(web_world)
    record_processes(web_world.db, worker(queues=WORK_QUEUES, tasks=[task]))
    web_world.client.lpush("vmpooler.check", "one", "two")
    web_world.client.lpush("vmpooler.check\x06\x163", "three")
    web_world.client.hset("unacked", mapping={"a": "1"})
    found = web.get("/api/v1/queue/overview").json()
    assert found["health"]["status"] == "healthy"
    assert [(row["pool"], row["ready"]) for row in found["pools"]] == [(POOL, 1)]
    assert found["workers"] == [
        {
            "name": "worker@one",
            "host": "one",
            "queues": list(WORK_QUEUES),
            "tasks": [{"name": task.name, "id": "7", "subject": {"pool": POOL}, "since": NOW}],
        }
    ]
    assert (found["beats"], found["unacknowledged"]) == (["one:1"], 1)
    assert found["messages"] == {
        "vmpooler.clone": 0,
        "vmpooler.check": 3,
        "vmpooler.destroy": 0,
        "vmpooler.maintenance": 0,
    }
    assert found["features"] == {
        "dlq": True,
        "purge": True,
        "purge_dry_run": False,
        "health": True,
        "manage_pools": False,
    }


def test_the_revision_changes_with_the_dead_letters(web_world: World) -> None:
    seen = [revision(web_world.db)]
    web_world.client.zadd("vmpooler__dlq__clone", {"a": 1})
    seen.append(revision(web_world.db))
    web_world.client.zadd("vmpooler__dlq__tasks", {"b": 2})
    seen.append(revision(web_world.db))
    web_world.client.zrem("vmpooler__dlq__clone", "a")
    seen.append(revision(web_world.db))
    assert revision(web_world.db) == seen[-1]
    assert len(set(seen)) == 4
    web_world.client.set("vmpooler__dlq__ready", "no queue")
    assert revision(web_world.db)


def test_thinned_history_keeps_the_worst_status(web: httpx.Client, web_world: World) -> None:
    for minute in range(60):
        web_world.now = NOW + 60 * minute
        bad = minute == 30
        checked(web_world, thresholds={"dlq_max_warning": 0, "dlq_max_critical": 0} if bad else None)
        if minute == 29:
            web_world.client.zadd("vmpooler__dlq__clone", {"{}": NOW})
        if bad:
            web_world.client.delete("vmpooler__dlq__clone")
    points = web.get("/api/v1/queue/history", params={"hours": 2, "points": 10}).json()["points"]
    assert len(points) == 10
    assert [point["status"] for point in points].count("unhealthy") == 1
    assert [point["reasons"] for point in points if point["reasons"]] == [["dlq_size"]]
    assert [point["at"] for point in points] == sorted(point["at"] for point in points)
    assert points[0]["pools"][POOL] == {
        "pending": 0,
        "pending_oldest": 0,
        "ready": 0,
        "ready_oldest": 0,
        "completed": 0,
        "stuck": 0,
    }
    assert len(web.get("/api/v1/queue/history", params={"hours": 0.25}).json()["points"]) == 16


def test_the_audit_comes_in_pages(web: httpx.Client, web_world: World) -> None:
    for number in range(5):
        web_world.client.xadd(fleet_keys.AUDIT, {"action": "delete", "who": f"somebody {number}", "count": 1})
    first = web.get("/api/v1/queue/audit", params={"limit": 3}).json()
    rest = web.get("/api/v1/queue/audit", params={"limit": 3, "cursor": first["next_cursor"]}).json()
    seen = [entry["who"] for entry in (*first["entries"], *rest["entries"])]
    assert seen == [f"somebody {number}" for number in (4, 3, 2, 1, 0)]
    assert rest["next_cursor"] is None
    assert web.get("/api/v1/queue/audit", params={"cursor": "00-0"}).json()["entries"] == []
    assert audit.read_newest(web_world.db, 1)[0].fields["who"] == "somebody 4"


def test_every_reason_has_its_runbook(web: httpx.Client) -> None:
    assert set(REASONS) - set(re.findall(r' id="([^"]+)"', web.get("/runbooks").text)) == set()


@pytest.mark.parametrize(("path", "title"), [("/runbooks", "Runbooks"), ("/operator-guide", "Operator guide")])
def test_every_link_of_a_document_leads_somewhere(web: httpx.Client, path: str, title: str) -> None:
    pages = {one: web.get(one).text for one in ("/runbooks", "/operator-guide")}
    assert f"<title>{title}: vmpooler-tasks</title>" in pages[path]
    anchors = {one: re.findall(r' id="([^"]+)"', page) for one, page in pages.items()}
    assert len(anchors[path]) == len(set(anchors[path]))
    links = re.findall(r'href="(/[a-z-]+)?(?:#([^"]+))?"', pages[path])
    assert {document for document, _ in links} == {"", *pages} - {path}, "its own sections, and the other document"
    assert [link for link in links if link[1] and link[1] not in anchors[link[0] or path]] == []
    assert not re.search(r'href="[^"]*\.md', pages[path]), "other documents are named: this server does not have them"


def test_a_document_that_the_server_does_not_have_is_named(web: httpx.Client) -> None:
    assert "<code>docs/flower.md</code>" in web.get("/operator-guide").text


def test_an_unknown_address_is_a_problem(web: httpx.Client, valkey: TestServer) -> None:
    response = web.get("/nowhere")
    assert (response.status_code, response.headers["content-type"]) == (404, "application/problem+json")
    db = Database(valkey.url)
    db.call("SET", fleet_keys.AUDIT, "no stream")
    assert web.get("/api/v1/queue/audit").status_code == 200, "it was set aside"
    db.close()


def test_prometheus_may_scrape_with_its_token(web: httpx.Client, web_world: World) -> None:
    checked(web_world)
    assert httpx.get(f"{web.base_url}/metrics").status_code == 401
    response = httpx.get(f"{web.base_url}/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
    assert (response.status_code, response.headers["content-type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert "\nvmpooler_health_status 0.0\n" in response.text


def test_prometheus_sees_that_redis_is_away() -> None:
    with serving(NOBODY, web_settings(NOBODY)) as address:
        response = httpx.get(f"{address}/metrics", auth=OPERATOR)
    assert (response.status_code, "vmpooler_redis_up 0.0" in response.text) == (200, True)
    assert "vmpooler_health_status 2.0" in response.text


def test_the_audit_is_filtered(web: httpx.Client, web_world: World) -> None:
    for who, action in (("anna", "delete"), ("beat", "purge"), ("anna", "purge")):
        audit.record(web_world.db, {"action": action, "who": who})
    found = web.get(AUDIT, params={"who": "ANN", "action": "purge"}).json()
    assert [(one["who"], one["action"]) for one in found["entries"]] == [("anna", "purge")]
    assert web.get(AUDIT, params={"since": 10**11}).json()["entries"] == []
    assert web.get(AUDIT, params={"since": "yesterday"}).status_code == 422


def test_the_schedule_shows_last_and_next_runs(web: httpx.Client, web_world: World) -> None:
    web_world.client.hset(
        fleet_keys.SCHEDULE, mapping={"purge": repr(NOW - 60), "purge:claim": "x", "health": "broken"}
    )
    document = web.get(SCHEDULE).json()
    entries = {one["name"]: one for one in document["entries"]}
    interval = entries["purge"]["interval_seconds"]
    assert (entries["purge"]["last_run"], entries["purge"]["next_run"]) == (NOW - 60, NOW - 60 + interval)
    assert (entries["health"]["last_run"], entries["health"]["next_run"]) == (None, document["at"])
    assert set(entries) == {"purge", "health", "pools", "requests"}
    assert (entries["pools"]["enabled"], entries["pools"]["next_run"]) == (False, None)


def test_an_entry_of_the_schedule_runs_now(web: httpx.Client, web_world: World) -> None:
    response = web.post(f"{SCHEDULE}/purge/run", json={"why": "now"})
    assert (response.status_code, response.json()["task"]) == (202, "vmpooler_tasks.purge_stale_entries")
    [message] = web_world.client.lrange("vmpooler.maintenance", 0, -1)
    assert json.loads(message)["headers"]["id"] == response.json()["task_id"]
    fields = audit.read_newest(web_world.db, 1)[0].fields
    assert (fields["action"], fields["who"], fields["why"], fields["entry"]) == ("run now", "olga@web", "now", "purge")
    assert web.post(f"{SCHEDULE}/health/run").status_code == 202
    off = web.post(f"{SCHEDULE}/pools/run")
    assert (off.status_code, off.json()["detail"]) == (409, "pools is switched off (manage_pools: false)")
    unknown = web.post(f"{SCHEDULE}/nothing/run")
    assert (unknown.status_code, "there are purge, health" in unknown.json()["detail"]) == (404, True)
    assert web.post(f"{SCHEDULE}/purge/run", auth=READER).status_code == 403
