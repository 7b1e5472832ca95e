"""The dead letter of a request's VM: run again if its request still wants it, otherwise closed."""

import pytest

from tests.support.redriver import ALIAS, REQUEST, Redriver
from tests.support.world import POOL
from vmpooler_tasks.model.names import Queue
from vmpooler_tasks.model.requests import Wanted
from vmpooler_tasks.store import keys
from vmpooler_tasks.store.requests import fulfilment as requests

pytestmark = pytest.mark.both_servers


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
    assert world.clone(**sent.kwargs) == "ready" or world.names_in(Queue.RUNNING) == {vm, "pooler-here"}
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
