"""Dead letters run again: which are chosen, and what becomes of a VM's dead letter, as its pool and its request stand.

`Redriver` is shared by the other modules about redrives.
"""

import base64
import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.support.cycles import audit, counters
from tests.support.pool_world import PoolWorld, pool
from tests.support.servers import TestServer
from tests.support.world import NOW, POOL
from vmpooler_tasks.config import RedisSection, Settings
from vmpooler_tasks.errors import InvalidInputError, WrongTypeError
from vmpooler_tasks.jobs.deadletters.query import find
from vmpooler_tasks.jobs.redrive import run as job
from vmpooler_tasks.jobs.redrive.preview import Preview, preview
from vmpooler_tasks.jobs.requests import fulfil
from vmpooler_tasks.model.deadletters.entry import dead_letter_id
from vmpooler_tasks.model.deadletters.filters import DeadLetterFilter
from vmpooler_tasks.model.names import DeadLetterQueue, Queue
from vmpooler_tasks.model.redrive import RunOptions, RunState
from vmpooler_tasks.model.requests import Wanted
from vmpooler_tasks.store import Database, keys
from vmpooler_tasks.store.keys import POOL_SLOTS, REQUEST_SLOTS
from vmpooler_tasks.store.redrive import runs
from vmpooler_tasks.store.redrive.runs import Run
from vmpooler_tasks.store.requests import fulfilment as requests
from vmpooler_tasks.tasks.enqueue import redrive_broker
from vmpooler_tasks.tasks.redrive import RedriveBroker
from vmpooler_tasks.tasks.registry import OWN

pytestmark = pytest.mark.both_servers

ALIAS = "centos-7"
REQUEST = "0b2f1c9e"


@dataclass(frozen=True)
class Message:
    """A task's message as it waits for a worker."""

    task: str
    args: list[Any]
    kwargs: dict[str, Any]
    headers: dict[str, Any]


@dataclass
class Redriver(PoolWorld):
    """Drives runs with the real broker. A pause moves the tests' clock and is kept in `slept`."""

    url: str = ""
    broker_url: str | None = None
    stack: ExitStack = field(default_factory=ExitStack)

    @property
    def settings(self) -> Settings:
        changes: dict[str, Any] = {"redis": RedisSection(url=self.url, data_ttl=self.data_ttl)}
        if self.broker_url:
            changes["broker_url"] = Settings.model_validate({"broker_url": self.broker_url}).broker_url
        return super().settings.model_copy(update=changes)

    def broker(self) -> RedriveBroker:
        return self.stack.enter_context(redrive_broker(self.settings))

    def dead_letter(self, queue: str = "clone", age: float = 60, *, old_form: bool = False, **fields: Any) -> str:
        """Add a dead letter of a VM of the pool, or of a task in the queue `tasks`, and return its id."""
        epoch = self.now - age
        given = {"pool": POOL, "vm": f"gone-{age:g}"} if queue != "tasks" else {"task": "t.t", "args": [], "kwargs": {}}
        entry = {"queue_from": queue, "error_class": "E", "error_message": "no", "retry_count": 0, **given, **fields}
        text = json.dumps({name: value for name, value in entry.items() if value is not None}, ensure_ascii=False)
        if old_form:
            raw = f"{entry['vm']}:{int(epoch)}:{text}"
        else:
            entry["id"] = dead_letter_id(queue, text, str(epoch))
            raw = json.dumps({**json.loads(text), "id": entry["id"]}, ensure_ascii=False)
        self.client.zadd(keys.dead_letters(DeadLetterQueue(queue)), {raw: epoch})
        return next(str(one.id) for one in self.found(DeadLetterQueue(queue)) if one.raw == raw.encode())

    def found(self, *queues: DeadLetterQueue) -> list[Any]:
        """Return the dead letters of these queues, or of all, newest first."""
        return list(find(self.db, DeadLetterFilter(queues=queues or tuple(DeadLetterQueue))))

    def left(self) -> set[str]:
        """Return the ids of the dead letters that are left."""
        return {one.id for one in self.found()}

    def start(
        self, *ids: str, limit: int | None = None, rate: float = 0, max_failed: float = 100, **wanted: Any
    ) -> str:
        """Start a run over these dead letters and return its id."""
        selection = job.select(self.db, DeadLetterFilter(ids=frozenset(ids), **wanted), limit)
        options = RunOptions(who="anna@host", why="fixed", rate=rate, max_failed_percent=max_failed)
        return job.start(self.db, selection, options, self.now)

    def steps(self, run: str) -> Iterator[Run]:
        return job.drive(self.db, self.settings, self.broker(), self.clock, run, self.sleep)

    def drive(self, run: str) -> Run:
        """Drive a run until it ends."""
        *_, last = self.steps(run)
        return last

    def redrive(self, *ids: str, **wanted: Any) -> dict[str, int]:
        """Redrive these dead letters, or all. Return the count of each outcome, which was forecast before."""
        expected = self.expected_counts(*ids, **wanted)
        run = self.drive(self.start(*ids, **wanted))
        assert run.state is RunState.DONE
        counts = {name: count for name, count in run.counts.items() if count}
        assert expected == counts or "failed_again" in counts
        return counts

    def expected_counts(self, *ids: str, **wanted: Any) -> dict[str, int]:
        """Return the forecast of a preview, which changes nothing."""
        before = self.snapshot()
        found = self.preview(*ids, **wanted)
        assert self.snapshot() == before
        return {str(what): count for what, count in found.expected.items() if count}

    def preview(self, *ids: str, **wanted: Any) -> Preview:
        selection = job.select(self.db, DeadLetterFilter(ids=frozenset(ids), **wanted))
        return preview(self.db, self.settings, OWN, selection)

    def messages(self, queue: str = "vmpooler.clone") -> list[Message]:
        """Return the messages in this queue, in the order in which workers take them."""
        found = []
        for raw in reversed(self.client.lrange(queue, 0, -1)):
            whole = json.loads(raw)
            assert whole["content-type"] == "application/json"
            args, kwargs, _ = json.loads(base64.b64decode(whole["body"]))
            found.append(Message(whole["headers"]["task"], args, kwargs, whole["headers"]))
        return found

    def create_request(self, *parts: Wanted, request: str = REQUEST) -> str:
        """Create a request that is being filled. None of its clones is queued."""
        requests.create(self.db, request, parts, self.now)
        fulfil.run(self.context)
        for items in (keys.PENDING_ONDEMAND_CLONES, REQUEST_SLOTS.key, REQUEST_SLOTS.counter):
            self.client.delete(items)
        for part in parts:
            self.client.delete(keys.queue(Queue.PENDING, part.pool))
        return request

    def request_dead_letter(self, age: float = 60, **fields: Any) -> str:
        return self.dead_letter("clone", age, **{"request_id": REQUEST, "pool_alias": ALIAS, **fields})

    def delivered(self, *vms: str, alias: str = ALIAS) -> None:
        self.client.sadd(keys.delivered(REQUEST.encode(), alias, POOL), *vms)

    def items(self) -> list[str]:
        return [raw.decode() for raw in requests.read_items(self.db)]


@pytest.fixture
def world(db: Database, server: TestServer) -> Iterator[Redriver]:
    """A pool of two VMs, of which it has none."""
    with ExitStack() as stack:
        yield Redriver(db, url=server.url, stack=stack)


# --- which dead letters ----------------------------------------------------------------------------------------------


def some_dead_letters(world: Redriver) -> dict[str, str]:
    """Letters by a short name."""
    return {
        "clone": world.dead_letter("clone", 400, vm="vm-1"),
        "other": world.dead_letter("clone", 300, vm="vm-2", pool="other", error_class="TemplateError"),
        "requested": world.dead_letter("pending", 200, vm="vm-3", request_id="r-1", error_message="no route to host 7"),
        "ruby": world.dead_letter("ready", 100, vm="vm-4", old_form=True, error_class="RuntimeError"),
        "task": world.dead_letter("tasks", 50, task="a.task"),
    }


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({}, ["clone", "other", "requested", "ruby", "task"]),
        ({"queues": (DeadLetterQueue.CLONE,)}, ["clone", "other"]),
        ({"queues": (DeadLetterQueue.READY, DeadLetterQueue.TASKS)}, ["ruby", "task"]),
        ({"pool": "other"}, ["other"]),
        ({"vm": "vm-4"}, ["ruby"]),
        ({"request": "r-1"}, ["requested"]),
        ({"error_class": "RuntimeError"}, ["ruby"]),
        ({"match": re.compile("route to HOST", re.IGNORECASE)}, ["requested"]),
        ({"since": NOW - 200}, ["requested", "ruby", "task"]),
        ({"until": NOW - 300}, ["clone", "other"]),
        ({"pool": POOL, "since": NOW - 300, "until": NOW - 60}, ["requested", "ruby"]),
        ({"vm": "nobody"}, []),
    ],
)
def test_dead_letters_are_chosen_by_each_filter_oldest_first(
    world: Redriver, wanted: dict[str, Any], expected: list[str]
) -> None:
    ids = some_dead_letters(world)
    found = job.select(world.db, DeadLetterFilter(**wanted))
    assert [one.id for one in found.dead_letters] == [ids[name] for name in expected]
    assert found.poisoned == 0


def test_dead_letters_are_chosen_by_id_in_the_order_of_their_age(world: Redriver) -> None:
    ids = some_dead_letters(world)
    found = job.select(world.db, DeadLetterFilter(ids=frozenset({ids["task"], ids["ruby"], ids["clone"]})))
    assert [one.id for one in found.dead_letters] == [ids["clone"], ids["ruby"], ids["task"]]


def test_a_limit_takes_those_that_have_waited_longest(world: Redriver) -> None:
    ids = some_dead_letters(world)
    assert [one.id for one in job.select(world.db, DeadLetterFilter(), 2).dead_letters] == [ids["clone"], ids["other"]]


def test_what_came_back_three_times_is_selected_only_by_its_id(world: Redriver) -> None:
    poison = world.dead_letter(redrives=3)
    worse = world.dead_letter("tasks", 10, redrives=7)
    sound = world.dead_letter(age=30, redrives=2)
    found = job.select(world.db, DeadLetterFilter())
    assert ([one.id for one in found.dead_letters], found.poisoned) == ([sound], 2)
    assert job.select(world.db, DeadLetterFilter(pool=POOL), 1).poisoned == 1
    named = job.select(world.db, DeadLetterFilter(ids=frozenset({poison, worse})))
    assert ([one.id for one in named.dead_letters], named.poisoned) == ([poison, worse], 0)


def test_a_limit_is_not_used_up_by_what_is_left_out(world: Redriver) -> None:
    world.dead_letter(age=500, redrives=3)
    sound = world.dead_letter(age=30)
    assert [one.id for one in job.select(world.db, DeadLetterFilter(), 1).dead_letters] == [sound]


def test_a_preview_groups_by_queue_pool_and_error_and_changes_nothing(world: Redriver) -> None:
    for number in range(3):
        world.dead_letter(age=number, error_message=f"no answer in {number} s")
    world.dead_letter("pending", pool="other")
    before = world.snapshot()
    found = world.preview().as_json()
    assert world.snapshot() == before
    assert [(one["queue"], one["pool"], one["error"], one["count"]) for one in found["groups"]] == [
        ("clone", POOL, "E: no answer in <n> s", 3),
        ("pending", "other", "E: no", 1),
    ]


def test_a_preview_says_of_each_group_how_many_run_and_how_many_close_and_why(world: Redriver) -> None:
    for number in range(3):
        world.dead_letter(age=number)
    world.dead_letter("pending", age=90, pool="other")
    world.dead_letter("tasks", vm="", pool="", task="some.task", kwargs={"password": "[redacted]"})
    found = world.preview().as_json()
    missing = found["groups"][0]["expected"]["redriven"]
    assert 0 < missing < 3, "the pool lacks fewer VMs than there are dead letters"
    assert found["expected"] == {"redriven": missing, "obsolete": 4 - missing, "kept": 1}
    assert [(one["expected"], one["reasons"]) for one in found["groups"]] == [
        (
            {"redriven": missing, "obsolete": 3 - missing, "kept": 0},
            [{"outcome": "obsolete", "reason": "its pool is full", "count": 3 - missing}],
        ),
        (
            {"redriven": 0, "obsolete": 1, "kept": 0},
            [{"outcome": "obsolete", "reason": "its pool is not configured any more", "count": 1}],
        ),
        (
            {"redriven": 0, "obsolete": 0, "kept": 1},
            [{"outcome": "kept", "reason": "its arguments were redacted", "count": 1}],
        ),
    ]
    assert sum(one["count"] for one in found["reasons"]) == 5 - missing


def test_a_queue_of_the_wrong_type_is_an_error_before_anything_is_begun(world: Redriver) -> None:
    world.dead_letter("pending")
    world.client.set("vmpooler__dlq__clone", "x")
    before = world.snapshot()
    with pytest.raises(WrongTypeError, match="vmpooler__dlq__clone"):
        world.start()
    assert world.snapshot() == before
    assert world.redrive(queues=(DeadLetterQueue.PENDING,)) == {"redriven": 1}


def test_a_queue_that_is_spoilt_in_the_middle_of_a_run_loses_nothing(world: Redriver) -> None:
    world.dead_letter("pending")
    kept = world.dead_letter(age=30)
    run, raw = world.start(), world.found(DeadLetterQueue.CLONE)[0].raw
    world.client.set("vmpooler__dlq__clone", "x")
    with pytest.raises(WrongTypeError):
        world.drive(run)
    assert job.read_run(world.db, run).position == 1
    world.client.delete("vmpooler__dlq__clone")
    world.client.zadd("vmpooler__dlq__clone", {raw: world.now})
    assert world.left() == {kept}
    assert world.drive(run).counts["redriven"] == 2
    assert len(world.members(Queue.PENDING)) == 2


# --- a run is frozen at its start ------------------------------------------------------------------------------------


def test_a_dead_letter_that_comes_later_is_not_met_in_the_same_run(world: Redriver) -> None:
    world.dead_letter()
    run = world.start()
    later = world.dead_letter(age=90)
    assert world.drive(run).counts["redriven"] == 1
    assert world.left() == {later}


def test_a_successor_that_fails_at_once_is_not_met_in_the_same_run(world: Redriver) -> None:
    world.dead_letter()
    world.dead_letter(age=30)
    run = world.start()
    for _ in world.steps(run):
        for one in world.messages():
            world.fail(one.kwargs["vm"], RuntimeError("again"))
    last = job.read_run(world.db, run)
    assert (last.state, last.total, last.counts["redriven"], last.counts["failed_again"]) == ("done", 2, 2, 2)
    assert len(world.left()) == 2, "the dead letters of the successors"
    assert len(world.messages()) == 2


def test_nothing_chosen_is_a_run_that_is_over_at_once(world: Redriver) -> None:
    assert world.redrive() == {}


# --- the dead letter of a pool's VM ----------------------------------------------------------------------------------


@pytest.mark.parametrize("queue", ["clone", "pending", "ready"])
@pytest.mark.parametrize("old_form", [False, True])
def test_a_vm_is_begun_in_place_of_a_failed_one_if_its_pool_is_short(
    world: Redriver, queue: str, old_form: bool
) -> None:
    origin = world.dead_letter(queue, old_form=old_form, retry_count=1)
    assert world.redrive() == {"redriven": 1}
    assert world.left() == set()
    [vm] = world.names_in(Queue.PENDING)
    assert vm.startswith("pooler-")
    assert world.metadata(vm) == {
        "clone": world.stamp(0),
        "template": POOL,
        "pool": POOL,
        "domain": "example.com",
    }
    assert world.slots() == 1
    assert world.client.zscore(POOL_SLOTS.key, vm) == NOW + 300, "a queue may be long"
    [sent] = world.messages()
    assert (sent.task, sent.args, sent.kwargs) == ("vmpooler_tasks.clone_vm", [], {"vm": vm, "pool": POOL})
    [lineage] = runs.read_lineages(world.db, [vm])
    assert lineage is not None
    assert (lineage.dead_letter_id, lineage.redrives, lineage.retry_count) == (origin, 1, 2)
    assert counters(world) == {f"dead_letters_redriven:{queue}": 1}


def test_what_was_begun_is_made_as_any_other_clone(world: Redriver) -> None:
    world.dead_letter()
    world.redrive()
    [sent] = world.messages()
    assert world.clone(**sent.kwargs) == "ready"
    assert world.names_in(Queue.READY) == {sent.kwargs["vm"]}
    assert not world.client.exists(keys.work(sent.kwargs["vm"].encode()))


def test_a_vm_that_never_reached_a_worker_is_handed_out_again(world: Redriver) -> None:
    world.dead_letter()
    world.redrive()
    world.client.delete("vmpooler.clone")
    world.now += 301
    assert [work.vm for work in world.reap()] == list(world.names_in(Queue.PENDING))


def test_as_many_start_as_the_pool_lacks_and_the_rest_is_closed(world: Redriver) -> None:
    world.ready_vm("pooler-ready")
    for number in range(3):
        world.dead_letter(age=number)
    assert world.redrive() == {"redriven": 1, "obsolete": 2}
    assert world.left() == set()
    assert len(world.messages()) == 1
    assert counters(world) == {"dead_letters_redriven:clone": 1, "dead_letters_obsolete:clone": 2}


@pytest.mark.parametrize("queue", [Queue.PENDING, Queue.READY])
def test_a_pool_that_is_full_makes_a_dead_letter_obsolete(world: Redriver, queue: Queue) -> None:
    world.vm(queue, "pooler-a", 0)
    world.vm(queue, "pooler-b", 0)
    world.dead_letter()
    before = world.snapshot_of_vmpooler()
    assert world.redrive() == {"obsolete": 1}
    assert {key for key, value in before.items() if world.snapshot_of_vmpooler().get(key) != value} == {
        b"vmpooler__dlq__clone"
    }
    assert world.messages() == []


def test_the_size_that_was_set_through_the_api_is_the_one_that_counts(world: Redriver) -> None:
    world.dead_letter()
    world.client.hset("vmpooler__config__poolsize", POOL, "0")
    assert world.redrive() == {"obsolete": 1}
    world.dead_letter()
    world.client.hset("vmpooler__config__poolsize", POOL, "1")
    assert world.redrive() == {"redriven": 1}


def test_a_pool_that_is_not_configured_any_more_makes_a_dead_letter_obsolete(world: Redriver) -> None:
    world.dead_letter(pool="retired")
    assert world.redrive() == {"obsolete": 1}
    assert world.left() == set()


@pytest.mark.parametrize("queue", [Queue.PENDING, Queue.READY, Queue.RUNNING])
def test_a_vm_that_lives_makes_its_dead_letter_obsolete(world: Redriver, queue: Queue) -> None:
    world.vm(queue, "pooler-alive", 0)
    world.dead_letter(vm="pooler-alive")
    assert world.redrive() == {"obsolete": 1}
    assert world.messages() == []


def test_a_vm_that_waits_for_its_destruction_does_not(world: Redriver) -> None:
    world.completed_vm("pooler-dead")
    world.dead_letter("pending", vm="pooler-dead")
    assert world.redrive() == {"redriven": 1}
    assert world.names_in(Queue.COMPLETED) == {"pooler-dead"}


def test_without_a_free_slot_a_run_waits_where_it_is_and_goes_on_later(world: Redriver) -> None:
    world.config["task_limit"] = 1
    first, second = world.dead_letter(age=60), world.dead_letter(age=30)
    steps = world.steps(world.start())
    assert next(steps).position == 1
    for _ in range(3):
        assert next(steps).position == 1
        assert world.left() == {second}
    assert world.slept == [0.0, 1.0, 1.0, 1.0], "a second each time"
    [sent] = world.messages()
    world.clone(**sent.kwargs)
    last = next(steps)
    assert (last.position, last.counts["redriven"]) == (2, 2)
    assert first not in world.left()
    assert next(steps).state is RunState.DONE


def test_a_dead_letter_of_a_pool_that_vmpooler_fills_is_kept(world: Redriver) -> None:
    world.config["manage_pools"] = False
    kept = world.dead_letter()
    assert world.expected_counts() == {"kept": 1}
    assert world.redrive() == {"kept": 1}
    assert world.left() == {kept}
    for vm in ("pooler-1", "pooler-2"):
        world.ready_vm(vm)
    assert world.expected_counts() == {"obsolete": 1}
    assert world.redrive() == {"obsolete": 1}
    assert world.left() == set()
    assert world.members(Queue.PENDING) == set()
    assert world.messages() == []


# --- the dead letter of a request's VM -------------------------------------------------------------------------------


@pytest.mark.parametrize("queue", ["clone", "pending"])
@pytest.mark.parametrize("old_form", [False, True])
def test_a_vm_is_begun_for_a_request_that_is_short_of_one(world: Redriver, queue: str, old_form: bool) -> None:
    world.create_request(Wanted(ALIAS, POOL, 2))
    world.delivered("pooler-here")
    world.dead_letter(queue, old_form=old_form, request_id=REQUEST, pool_alias=ALIAS)
    assert world.redrive() == {"redriven": 1}
    [vm] = world.names_in(Queue.PENDING)
    found = world.metadata(vm)
    assert (found["request_id"], found["pool_alias"], found["pool"]) == (REQUEST, ALIAS, POOL)
    assert (world.slots(), world.request_slots()) == (0, 1), "requests have slots of their own"
    [sent] = world.messages()
    assert sent.kwargs == {"vm": vm, "pool": POOL, "request_id": REQUEST}
    assert world.clone(**sent.kwargs) == "ready" or world.names_in(Queue.RUNNING) == {vm}
    assert requests.read_record(world.db, REQUEST.encode()).fields["status"] == "ready"


@pytest.mark.parametrize("status", ["ready", "failed", "deleted"])
def test_a_request_that_was_answered_makes_a_dead_letter_obsolete(world: Redriver, status: str) -> None:
    world.create_request(Wanted(ALIAS, POOL, 2))
    world.client.hset(keys.request(REQUEST.encode()), "status", status)
    world.request_dead_letter()
    assert world.redrive() == {"obsolete": 1}
    assert world.messages() == []


def test_a_request_that_is_gone_makes_a_dead_letter_obsolete(world: Redriver) -> None:
    world.request_dead_letter()
    assert world.redrive() == {"obsolete": 1}


@pytest.mark.parametrize("requested", ["nonsense", f"{ALIAS}:other:2", f"another:{POOL}:2", ""])
def test_a_request_that_asks_for_something_else_makes_a_dead_letter_obsolete(world: Redriver, requested: str) -> None:
    world.client.hset(keys.request(REQUEST.encode()), "requested", requested)
    world.request_dead_letter()
    assert world.redrive() == {"obsolete": 1}


def test_what_a_request_has_or_waits_for_is_not_made_again(world: Redriver) -> None:
    world.create_request(Wanted(ALIAS, POOL, 6))
    world.delivered("pooler-here")
    world.vm(Queue.PENDING, "pooler-coming", 0, request_id=REQUEST, pool_alias=ALIAS)
    world.client.zadd(keys.PENDING_ONDEMAND_CLONES, {f"{ALIAS}:{POOL}:3:{REQUEST}": 1})
    for number in range(3):
        world.request_dead_letter(age=number)
    assert world.redrive() == {"redriven": 1, "obsolete": 2}
    assert len(world.messages()) == 1


def test_what_is_pending_or_queued_for_others_does_not_count(world: Redriver) -> None:
    world.create_request(Wanted(ALIAS, POOL, 1))
    world.vm(Queue.PENDING, "pooler-stock", 0)
    world.vm(Queue.PENDING, "pooler-theirs", 0, request_id="another", pool_alias=ALIAS)
    world.client.zadd(keys.PENDING_ONDEMAND_CLONES, {f"{ALIAS}:{POOL}:1:another": 1})
    world.request_dead_letter()
    assert world.redrive() == {"redriven": 1}


def test_what_is_pending_for_another_part_of_the_same_request_does_not_count(world: Redriver) -> None:
    world.create_request(Wanted(ALIAS, POOL, 1), Wanted(POOL, POOL, 1))
    world.vm(Queue.PENDING, "pooler-coming", 0, request_id=REQUEST, pool_alias=POOL)
    world.request_dead_letter()
    assert world.redrive() == {"redriven": 1}


def test_a_request_waits_for_a_slot_of_its_own_kind(world: Redriver) -> None:
    world.config["ondemand_clone_limit"] = 1
    world.create_request(Wanted(ALIAS, POOL, 2))
    world.request_dead_letter(age=60)
    world.request_dead_letter(age=30)
    steps = world.steps(world.start())
    assert [next(steps).position for _ in range(3)] == [1, 1, 1]
    assert len(world.left()) == 1
    assert world.slots() == 0


def test_a_full_pool_is_no_reason_not_to_make_a_vm_for_a_request(world: Redriver) -> None:
    world.create_request(Wanted(ALIAS, POOL, 1))
    for name in ("a", "b"):
        world.ready_vm(f"pooler-{name}")
    world.request_dead_letter()
    assert world.redrive() == {"redriven": 1}


def test_where_vmpooler_makes_the_clones_it_is_told_to_make_another(world: Redriver) -> None:
    world.create_request(Wanted(ALIAS, POOL, 2))
    world.config["manage_pools"] = False
    world.request_dead_letter()
    assert world.redrive() == {"redriven": 1}
    assert world.items() == [f"{ALIAS}:{POOL}:1:{REQUEST}"]
    assert world.members(Queue.PENDING) == set()
    assert world.messages() == []


def test_of_several_dead_letters_vmpooler_is_told_to_make_as_many(world: Redriver) -> None:
    world.create_request(Wanted(ALIAS, POOL, 3))
    world.config["manage_pools"] = False
    for number in range(4):
        world.request_dead_letter(age=number)
    assert world.redrive() == {"redriven": 3, "obsolete": 1}
    assert sum(int(item.split(":")[2]) for item in world.items()) == 3


# --- what cannot be run again ----------------------------------------------------------------------------------------


def test_a_dead_letter_that_somebody_deleted_meanwhile_is_gone(world: Redriver) -> None:
    world.dead_letter("clone")
    world.dead_letter("tasks")
    run = world.start()
    world.client.delete("vmpooler__dlq__clone", "vmpooler__dlq__tasks")
    last = world.drive(run)
    assert {name: count for name, count in last.counts.items() if count} == {"gone": 2}
    assert world.messages() == world.messages("vmpooler.maintenance") == []
    assert counters(world) == {}


@pytest.mark.parametrize("queue", ["pending", "clone", "ready", "tasks"])
@pytest.mark.parametrize("raw", ["no letter", "{}", '{"vm":"v"}', b"\xff\xfe", "v:1:{broken"])
def test_what_is_no_dead_letter_of_a_vm_or_task_stays_where_it_is(
    world: Redriver, queue: str, raw: str | bytes
) -> None:
    world.client.zadd(f"vmpooler__dlq__{queue}", {raw: world.now})
    assert world.redrive() == {"kept": 1}
    assert world.client.zcard(f"vmpooler__dlq__{queue}") == 1


@pytest.mark.parametrize("name", ["vm", "pool", "request_id", "pool_alias"])
def test_a_dead_letter_with_a_name_that_is_none_does_not_end_a_run(world: Redriver, name: str) -> None:
    fields = {"vm": "v", "pool": POOL, "request_id": REQUEST, "pool_alias": ALIAS, name: "\ud800"}
    raw = json.dumps({"error_class": "E", "error_message": "no", **fields})
    world.client.zadd("vmpooler__dlq__clone", {raw: world.now - 90})
    world.dead_letter(age=30)
    assert world.redrive() == {"kept": 1, "redriven": 1}


@pytest.mark.parametrize("counts", [{"retry_count": "x", "redrives": None}, {"retry_count": -3, "redrives": [1]}])
def test_counts_that_are_none_count_as_none(world: Redriver, counts: dict[str, Any]) -> None:
    world.dead_letter(**counts)
    assert world.redrive() == {"redriven": 1}
    [vm] = world.names_in(Queue.PENDING)
    [lineage] = runs.read_lineages(world.db, [vm])
    assert lineage is not None
    assert (lineage.redrives, lineage.retry_count) == (1, 1)


def test_a_run_that_nobody_knows_is_refused(world: Redriver) -> None:
    for act in (lambda: list(world.steps("nowhere")), lambda: job.cancel(world.db, "nowhere")):
        with pytest.raises(InvalidInputError, match="there is no run 'nowhere', or not any more"):
            act()


def test_a_run_leaves_one_audit_entry_with_its_outcomes(world: Redriver) -> None:
    world.pools = [pool(size=1)]
    world.dead_letter(age=60)
    world.dead_letter(age=50)
    world.client.zadd("vmpooler__dlq__tasks", {"no letter": world.now})
    run = world.start()
    world.drive(run)
    assert list(world.steps(run)) == [], "it is over"
    assert audit(world) == [
        {
            "action": "redrive",
            "who": "anna@host",
            "why": "fixed",
            "run": run,
            "state": "done",
            "selected": "3",
            "count": "1",
            "obsolete": "1",
            "kept": "1",
            "gone": "0",
            "failed_again": "0",
        }
    ]
