"""Dead letters in the API: show, delete and redrive them; and the purge."""

import csv
import io
import json
import re
from typing import Any

import httpx
import pytest

from tests.support.web import READER
from tests.support.world import NOW, POOL, World
from vmpooler_tasks.model.names import DeadLetterQueue, Queue
from vmpooler_tasks.store import keys
from vmpooler_tasks.store.fleet import audit
from vmpooler_tasks.store.fleet.audit import AuditEntry

pytestmark = pytest.mark.slow(seconds=10)

DLQ = "/api/v1/queue/dlq"


def dead_letter(world: World, number: int, queue: str = "clone", **fields: Any) -> str:
    """Add a dead letter, and return its id. A higher number is newer."""
    found = {
        "vm": f"vm-{number}",
        "pool": POOL,
        "queue_from": queue,
        "error_class": "StandardError",
        "error_message": f"template {number} does not exist",
        "failed_at": "2024-01-15T10:30:00Z",
        "retry_count": 0,
        "id": f"{number:016x}",
        **fields,
    }
    key = keys.dead_letters(DeadLetterQueue(queue))
    world.client.zadd(key, {json.dumps(found): NOW - 1000 + number})
    return str(found["id"])


def ids(response: httpx.Response) -> list[int]:
    assert response.status_code == 200, response.text
    return [int(one["id"], 16) for one in response.json()["letters"]]


def newest_audit(world: World) -> AuditEntry:
    return audit.read_newest(world.db, 1)[0]


def test_pages_show_each_dead_letter_once(web: httpx.Client, web_world: World) -> None:
    for number in range(7):
        dead_letter(web_world, number)
    first = web.get(DLQ, params={"limit": 4})
    dead_letter(web_world, 9)
    second = web.get(DLQ, params={"limit": 4, "cursor": first.json()["next_cursor"]})
    assert (ids(first), ids(second), second.json()["next_cursor"]) == ([6, 5, 4, 3], [2, 1, 0], None)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"queue": "tasks"}, [3]),
        ({"queue": ["tasks", "ready"]}, [3, 2]),
        ({"pool": "other"}, [2]),
        ({"vm": "vm-1"}, [1]),
        ({"request": "req-7"}, [1]),
        ({"error_class": "Timeout"}, [2]),
        ({"since": NOW - 998}, [3, 2]),
        ({"until": NOW - 999}, [1, 0]),
        ({"search": "TEMPLATE"}, [1, 0]),
        ({"search": "EQ-7"}, [1]),
        ({"search": "vm-2"}, [2]),
        ({"search": "some.task"}, [3]),
        ({"search": "t.mplate"}, []),
        ({"search": ""}, [3, 2, 1, 0]),
        ({"error": "StandardError: template <n> does not exist"}, [1, 0]),
        ({"error": "StandardError: template <n> does not exist", "vm": "vm-0"}, [0]),
    ],
)
def test_filters_select(web: httpx.Client, web_world: World, query: dict[str, Any], expected: list[int]) -> None:
    dead_letter(web_world, 0)
    dead_letter(web_world, 1, request_id="req-7")
    dead_letter(web_world, 2, "ready", pool="other", error_class="Timeout", error_message="no response")
    dead_letter(web_world, 3, "tasks", task="some.task", error_class="ValueError", error_message="no")
    assert ids(web.get(DLQ, params=query)) == expected


def test_lists_leave_out_long_fields(web: httpx.Client, web_world: World) -> None:
    one = dead_letter(web_world, 1, "tasks", traceback="Traceback …", args=["a"], kwargs={"b": 1}, task="t")
    [listed] = web.get(DLQ).json()["letters"]
    whole = web.get(f"{DLQ}/{one}").json()
    assert {"traceback", "args", "kwargs"} & listed.keys() == set()
    assert (whole["traceback"], whole["args"], whole["kwargs"]) == ("Traceback …", ["a"], {"b": 1})
    assert web.get(f"{DLQ}/nothing").status_code == 404


def test_groups_start_with_the_most_frequent_error(web: httpx.Client, web_world: World) -> None:
    for number in range(3):
        dead_letter(web_world, number)
    dead_letter(web_world, 3, "ready", error_class="Timeout", error_message="no response")
    document = web.get(f"{DLQ}/stats").json()
    assert document["total"] == 4
    assert [(one["error"], one["count"]) for one in document["groups"]] == [
        ("StandardError: template <n> does not exist", 3),
        ("Timeout: no response", 1),
    ]


def test_queue_of_the_wrong_type_hides_no_other(web: httpx.Client, web_world: World) -> None:
    dead_letter(web_world, 1)
    web_world.client.set("vmpooler__dlq__ready", "no queue")
    response = web.get(DLQ)
    assert (ids(response), response.json()["unreadable"]) == ([1], ["vmpooler__dlq__ready"])


def test_deleting_one_is_in_the_audit(web: httpx.Client, web_world: World) -> None:
    one = dead_letter(web_world, 1)
    assert web.delete(f"{DLQ}/{one}", params={"why": "seen"}).json() == {"dry_run": False, "selected": 1, "deleted": 1}
    fields = newest_audit(web_world).fields
    assert (fields["action"], fields["who"], fields["why"], fields["count"]) == ("delete", "olga@web", "seen", "1")
    assert web.delete(f"{DLQ}/{one}").status_code == 404


def test_deletion_of_many_has_a_dry_run(web: httpx.Client, web_world: World) -> None:
    for number in range(4):
        dead_letter(web_world, number, pool=POOL if number else "other")
    order = {"pool": POOL}
    assert web.post(f"{DLQ}/delete", json={**order, "dry_run": True}).json()["selected"] == 3
    assert web_world.client.zcard("vmpooler__dlq__clone") == 4
    assert web.post(f"{DLQ}/delete", json=order).json()["deleted"] == 3
    assert ids(web.get(DLQ)) == [0]


@pytest.mark.parametrize("path", ["delete", "redrive"])
@pytest.mark.parametrize("order", [{}, {"queues": ["clone"]}, {"every": False}, {"search": ""}])
def test_empty_filter_does_not_select_everything(web: httpx.Client, web_world: World, path: str, order: object) -> None:
    dead_letter(web_world, 1)
    response = web.post(f"{DLQ}/{path}", json=order)
    assert (response.status_code, "set every to true" in response.json()["detail"]) == (422, True)
    assert web_world.client.zcard("vmpooler__dlq__clone") == 1


@pytest.mark.parametrize("order", [{"every": 1}, {"pol": "x", "every": True}, {"queues": ["clones"]}, [], {"ids": [1]}])
def test_wrong_body_is_refused_with_the_wrong_part(web: httpx.Client, order: object) -> None:
    response = web.post(f"{DLQ}/redrive", json=order)
    assert response.status_code == 422
    assert response.json()["errors"][0]["where"].startswith("body")


def test_a_body_takes_a_regular_expression_and_a_query_does_not(web: httpx.Client, web_world: World) -> None:
    """Some expressions take minutes, so that only operators may send one."""
    dead_letter(web_world, 1)
    dead_letter(web_world, 2, error_message="no response")
    body = {"match": "^standarderror: TEMPLATE [0-9]", "dry_run": True}
    assert web.post(f"{DLQ}/delete", json=body).json()["selected"] == 1
    assert web.post(f"{DLQ}/redrive", json=body).json()["selected"] == 1
    wrong = web.post(f"{DLQ}/delete", json={"match": "("})
    assert (wrong.status_code, "'(' is not a regular expression" in wrong.json()["detail"]) == (422, True)
    assert web.get(DLQ, params={"match": "x"}).status_code == 422


def test_a_redrive_is_previewed_and_then_waits_for_a_worker(web: httpx.Client, web_world: World) -> None:
    one = dead_letter(web_world, 1, "tasks", vm="", pool="", task="some.task", args=["a"], kwargs={})
    preview = web.post(f"{DLQ}/redrive", json={"ids": [one], "dry_run": True})
    assert (preview.status_code, preview.json()["expected"]) == (200, {"redriven": 1, "obsolete": 0, "kept": 0})
    response = web.post(f"{DLQ}/redrive", json={"ids": [one], "why": "mended", "rate": 5})
    assert response.status_code == 202
    run = response.json()
    assert (run["state"], run["selected"], run["who"], run["why"]) == ("running", 1, "olga@web", "mended")
    [message] = web_world.client.lrange("vmpooler.maintenance", 0, -1)
    assert json.loads(message)["headers"]["task"] == "vmpooler_tasks.redrive"
    runs = "/api/v1/queue/redrives"
    assert web.get(f"{runs}/{run['run']}").json() == run
    assert web.get(runs).json()["runs"] == [run]
    assert web.get(runs, params={"who": "OLGA", "state": "running", "since": NOW}).json()["runs"] == [run]
    for other in ({"who": "anna"}, {"state": "done"}, {"since": NOW + 1}):
        assert web.get(runs, params=other).json()["runs"] == []
    assert web.get(runs, params={"state": "walking"}).status_code == 422
    assert web.post(f"{runs}/{run['run']}/cancel").json() == {"cancelled": True}
    assert web.get(f"{runs}/{run['run']}").json()["state"] == "cancelled"
    assert web.post(f"{runs}/{run['run']}/cancel").json() == {"cancelled": False}
    assert web.get(f"{runs}/none").status_code == 404


def test_redrive_of_nothing_starts_no_run(web: httpx.Client, web_world: World) -> None:
    response = web.post(f"{DLQ}/redrive", json={"every": True})
    assert (response.status_code, response.json()["selected"]) == (200, 0)
    assert web_world.client.exists(keys.REDRIVES, "vmpooler.maintenance") == 0


def test_plan_changes_nothing_and_purge_does_what_it_said(web: httpx.Client, web_world: World) -> None:
    web_world.vm(Queue.PENDING, "old", 8000)
    web_world.vm(Queue.READY, "fine", 10)
    before = web_world.snapshot()
    plan = web.get("/api/v1/queue/purge", params={"dry_run": "true"}).json()
    assert web_world.snapshot() == before
    assert (plan["dry_run"], plan["found"]["pending"], plan["total"]) == (True, 1, 1)
    assert plan["entries"] == [
        {"queue": "pending", "pool": POOL, "vm": "old", "age_seconds": 8000, "max_age_seconds": 7200},
    ]
    done = web.post("/api/v1/queue/purge", json={"why": "tidying"}).json()
    assert (done["purged"]["pending"], web_world.members(Queue.PENDING)) == (1, set())
    fields = newest_audit(web_world).fields
    assert (fields["action"], fields["who"], fields["why"]) == ("purge", "olga@web", "tidying")


def test_dry_run_in_the_query_overrides_the_body(web: httpx.Client, web_world: World) -> None:
    web_world.vm(Queue.PENDING, "old", 8000)
    assert web.post("/api/v1/queue/purge?dry_run=true").json()["total"] == 1
    assert web_world.members(Queue.PENDING) == {b"old"}
    assert web.get("/api/v1/queue/purge?dry_run=false").status_code == 422


def test_a_purge_of_an_unknown_pool_is_refused(web: httpx.Client) -> None:
    response = web.post("/api/v1/queue/purge", json={"pools": ["centos-7-x86"]})
    assert (response.status_code, "did you mean centos-7-x86_64?" in response.json()["detail"]) == (404, True)


def test_plan_names_the_first_entries_of_many(web: httpx.Client, web_world: World) -> None:
    for number in range(600):
        web_world.vm(Queue.PENDING, f"old-{number}", 8000)
    plan = web.get("/api/v1/queue/purge").json()
    assert (plan["total"], len(plan["entries"]), plan["entries_left_out"]) == (600, 500, 100)


def failed_purge(world: World, **fields: Any) -> str:
    task = "vmpooler_tasks.purge_stale_entries"
    kwargs = {"pools": ["wrnog"], "who": "beat"}
    return dead_letter(
        world, 1, "tasks", **{"vm": "", "pool": "", "task": task, "args": [], "kwargs": kwargs, **fields}
    )


def test_a_failed_task_runs_again_with_changed_arguments(web: httpx.Client, web_world: World) -> None:
    one = failed_purge(web_world)
    assert web.get(f"{DLQ}/{one}").json()["editable"] is True
    form = web.get(f"{DLQ}/{one}/edit").json()
    assert (form["editable"], form["reason"], form["kwargs"]) == (True, None, {"pools": ["wrnog"], "who": "beat"})
    described = {one["name"]: one for one in form["arguments"]}
    assert described["pools"] == {"name": "pools", "type": "a list of text", "required": False, "fixed": False}
    assert (described["dry_run"]["type"], described["who"]["fixed"]) == ("true or false", True)

    wrong = web.post(f"{DLQ}/{one}/edit", json={"kwargs": {"pool": [POOL], "who": "beat"}})
    assert (wrong.status_code, "unexpected keyword argument 'pool'" in wrong.json()["detail"]) == (422, True)
    right = {"kwargs": {"pools": [POOL], "who": "beat"}, "why": "a typing error"}
    assert web.post(f"{DLQ}/{one}/edit", json={**right, "dry_run": True}).status_code == 200
    assert web_world.client.zcard("vmpooler__dlq__tasks") == 1
    done = web.post(f"{DLQ}/{one}/edit", json=right)
    assert (done.status_code, done.json()["task"]) == (202, "vmpooler_tasks.purge_stale_entries")
    assert web_world.client.zcard("vmpooler__dlq__tasks") == 0
    [message] = web_world.client.lrange("vmpooler.maintenance", 0, -1)
    assert json.loads(message)["headers"]["task"] == "vmpooler_tasks.purge_stale_entries"
    fields = newest_audit(web_world).fields
    assert (fields["action"], fields["who"], fields["why"]) == ("edit", "olga@web", "a typing error")
    assert web.post(f"{DLQ}/{one}/edit", json=right).status_code == 404


@pytest.mark.parametrize(
    ("queue", "task"),
    [("tasks", "vmpooler_tasks.destroy_vm"), ("tasks", "vmpooler_tasks.redrive"), ("tasks", "t.t"), ("clone", "")],
)
def test_other_tasks_are_not_editable(web: httpx.Client, web_world: World, queue: str, task: str) -> None:
    one = dead_letter(web_world, 1, queue, task=task, args=[], kwargs={"vm": "v", "pool": POOL})
    assert web.get(f"{DLQ}/{one}").json()["editable"] is False
    form = web.get(f"{DLQ}/{one}/edit").json()
    assert (form["editable"], form["arguments"]) == (False, [])
    refused = web.post(f"{DLQ}/{one}/edit", json={"kwargs": {"vm": "w", "pool": POOL}})
    assert (refused.status_code, refused.json()["detail"].endswith(form["reason"])) == (422, True)


def test_a_reader_may_not_edit(web: httpx.Client, web_world: World) -> None:
    one = failed_purge(web_world)
    assert web.get(f"{DLQ}/{one}/edit", auth=READER).status_code == 200
    assert web.post(f"{DLQ}/{one}/edit", json={"kwargs": {}}, auth=READER).status_code == 403


def test_a_dead_letter_shows_its_attempts_in_order_of_time(web: httpx.Client, web_world: World) -> None:
    earlier = [{"id": "0", "failed_at": "2024-01-15T09:30:00Z", "error_class": "E", "who": "anna", "run": "r"}]
    one = dead_letter(web_world, 1, attempts=earlier, redrives=2)
    whole = web.get(f"{DLQ}/{one}").json()
    assert [(found["id"], found.get("who")) for found in whole["attempts"]] == [("0", "anna"), (one, None)]
    assert whole["attempts_unknown"] == 1
    assert "attempts" not in web.get(DLQ).json()["letters"][0]


@pytest.mark.parametrize(
    ("column", "ascending", "descending"),
    [
        ("time", [0, 1, 2, 3], [3, 2, 1, 0]),
        ("queue", [3, 0, 2, 1], [1, 2, 3, 0]),
        ("pool", [2, 1, 0, 3], [3, 1, 0, 2]),
        ("vm", [3, 2, 1, 0], [0, 1, 2, 3]),
        ("error", [2, 1, 3, 0], [3, 0, 1, 2]),
    ],
)
def test_a_list_is_sorted_by_a_column_across_pages(
    web: httpx.Client, web_world: World, column: str, ascending: list[int], descending: list[int]
) -> None:
    dead_letter(web_world, 0, pool="b", vm="z", error_class="T", error_message="x")
    dead_letter(web_world, 1, "tasks", pool="b", vm="", task="v-task", error_class="S")
    dead_letter(web_world, 2, "ready", pool="A", vm="m", error_class="E")
    dead_letter(web_world, 3, pool="c", vm="a", error_class="T", error_message="x")
    for order, expected in (("asc", ascending), ("desc", descending)):
        query = {"sort": column, "order": order}
        assert ids(web.get(DLQ, params=query)) == expected
        first = web.get(DLQ, params={**query, "limit": 3})
        second = web.get(DLQ, params={**query, "limit": 3, "cursor": first.json()["next_cursor"]})
        assert (ids(first) + ids(second), second.json()["next_cursor"]) == (expected, None)


@pytest.mark.parametrize("cursor", ["s:", "s:AAAA", "s:e30=", "1:a", "s:WzEsMl0="])
def test_a_wrong_cursor_of_a_sorted_list_is_refused(web: httpx.Client, web_world: World, cursor: str) -> None:
    dead_letter(web_world, 1)
    response = web.get(DLQ, params={"sort": "pool", "cursor": cursor})
    assert (response.status_code, "cursor" in response.json()["detail"]) == (422, True)


def test_an_export_has_all_dead_letters_of_the_filter(web: httpx.Client, web_world: World) -> None:
    for number in range(1100):
        dead_letter(web_world, number, error_message="=1+1")
    dead_letter(web_world, 2000, "ready", vm="\ud800")
    exported = web.get(f"{DLQ}/export", params={"queue": "clone"})
    assert exported.headers["content-type"] == "application/jsonl"
    assert re.fullmatch('attachment; filename="dead-letters-[0-9TZ-]+.jsonl"', exported.headers["content-disposition"])
    lines = [json.loads(line) for line in exported.text.splitlines()]
    assert [int(one["id"], 16) for one in lines] == list(range(1099, -1, -1))
    rows = list(csv.DictReader(io.StringIO(web.get(f"{DLQ}/export", params={"format": "csv"}).text)))
    assert (len(rows), rows[0]["vm"], rows[1]["error_message"]) == (1101, "\\ud800", "'=1+1")
    assert web.get(f"{DLQ}/export", params={"pool": "none"}).text == ""
    assert web.get(f"{DLQ}/export", params={"format": "xml"}).status_code == 422
    assert web.get(f"{DLQ}/export", auth=READER).status_code == 200
    for _ in range(9):  # an export that a client leaves early frees its place
        with web.stream("GET", f"{DLQ}/export") as stream:
            assert stream.status_code == 200
            next(stream.iter_bytes(10))
