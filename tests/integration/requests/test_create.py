"""Requests created here are VMPooler's own. Their history is in order of time."""

import json
import random
from collections import Counter
from typing import Any

import pytest

from tests.support.pool_world import PoolWorld, pool
from tests.support.world import NOW, POOL
from vmpooler_tasks.errors import InvalidInputError, PermanentProviderError, WrongTypeError
from vmpooler_tasks.jobs.requests import create as job
from vmpooler_tasks.jobs.requests import fulfil
from vmpooler_tasks.jobs.requests.history import read_history, read_open_histories
from vmpooler_tasks.model.names import Queue
from vmpooler_tasks.model.pools.pause import Pause, PauseState
from vmpooler_tasks.store import Database, keys
from vmpooler_tasks.store.pools import pauses

OTHER = "debian-12"


@pytest.fixture
def world(db: Database) -> PoolWorld:
    return PoolWorld(db, pools=[pool(size=0, alias=("centos", "linux")), pool(OTHER, size=0, alias=("linux",))])


def submit(world: PoolWorld, *requested: tuple[str, int]) -> str:
    return job.create(world.db, world.settings, requested, world.now)


def events_of(world: PoolWorld, request_id: str) -> list[tuple[float, str, str]]:
    """What happened: when (seconds since the request was made), what, in which pool."""
    return [(one.at - NOW, one.what, one.pool) for one in read_history(world.db, request_id).events]


def test_a_request_stands_in_redis_as_the_api_server_writes_it(world: PoolWorld) -> None:
    request_id = submit(world, ("centos", 2), (OTHER, 1))
    key = f"vmpooler__odrequest__{request_id}"
    assert set(world.client.keys()) == {key.encode(), b"vmpooler__provisioning__request"}
    assert world.client.hgetall(key) == {b"requested": f"centos:{POOL}:2,{OTHER}:{OTHER}:1".encode()}
    assert world.client.zscore("vmpooler__provisioning__request", request_id) == NOW


def spread(world: PoolWorld, count: int, *, seed: int = 1) -> dict[str, int]:
    """How many of this number of requests for one VM of `linux` went to each pool."""
    dice, drawn = random.Random(seed), Counter[str]()
    for _ in range(count):
        request_id = job.create(world.db, world.settings, [("linux", 1)], world.now, dice=dice)
        _, name, _ = world.client.hget(f"vmpooler__odrequest__{request_id}", "requested").decode().split(":")
        drawn[name] += 1
    return drawn


@pytest.mark.parametrize(("name", "meant"), [(POOL, POOL), ("centos", POOL), (OTHER, OTHER)])
def test_a_pool_is_found_by_its_name_or_an_alias(world: PoolWorld, name: str, meant: str) -> None:
    request_id = submit(world, (name, 3))
    assert world.client.hget(f"vmpooler__odrequest__{request_id}", "requested").decode() == f"{name}:{meant}:3"


def test_a_paused_pool_is_left_out_of_an_alias_that_has_another(world: PoolWorld) -> None:
    paused = Pause(state=PauseState.PAUSED, since=NOW, who="olga", why="")
    pauses.pause(world.db, POOL, paused, {"action": "pause"})
    assert spread(world, 20) == {OTHER: 20}
    assert submit(world, ("centos", 1)), "its only pool: the request waits"
    pauses.pause(world.db, OTHER, paused, {"action": "pause"})
    assert set(spread(world, 20)) == {POOL, OTHER}


def weighted(world: PoolWorld, weights: dict[str, float]) -> None:
    world.pools = [
        pool(size=0, alias=("linux",), clone_target="old-cluster"),
        pool(OTHER, size=0, alias=("linux",), clone_target="new-cluster"),
    ]
    world.config["backend_weight"] = weights


def test_the_vms_of_an_alias_are_spread_over_its_pools_by_the_weights_of_their_clone_targets(world: PoolWorld) -> None:
    weighted(world, {"old-cluster": 10, "new-cluster": 90})
    drawn = spread(world, 400)
    assert 20 <= drawn[POOL] <= 65
    assert drawn[OTHER] == 400 - drawn[POOL]


@pytest.mark.parametrize("weights", [{}, {"old-cluster": 100}, {"old-cluster": 0, "new-cluster": 0}])
def test_without_a_weight_for_each_pool_the_chances_are_equal(world: PoolWorld, weights: dict[str, float]) -> None:
    weighted(world, weights)
    assert 150 <= spread(world, 400)[POOL] <= 250


def test_a_clone_target_that_was_set_through_the_api_has_its_own_weight(world: PoolWorld) -> None:
    weighted(world, {"old-cluster": 0, "new-cluster": 100, "spare": 100})
    assert spread(world, 50)[POOL] == 0
    world.client.hset("vmpooler__config__clone_target", POOL, "spare")
    assert 10 <= spread(world, 50)[POOL] <= 40


def test_one_request_names_each_pool_of_an_alias_once(world: PoolWorld) -> None:
    weighted(world, {})
    request_id = job.create(world.db, world.settings, [("linux", 9)], world.now, dice=random.Random(1))
    parts = world.client.hget(f"vmpooler__odrequest__{request_id}", "requested").decode().split(",")
    assert sorted(part.rpartition(":")[0] for part in parts) == [f"linux:{POOL}", f"linux:{OTHER}"]
    assert sum(int(part.rpartition(":")[2]) for part in parts) == 9


@pytest.mark.parametrize(
    ("requested", "complaint"),
    [
        ([("windows", 1)], f"there is no pool 'windows'; there are centos, {POOL}, {OTHER}, linux"),
        ([("centos", 10**12)], "it asks for 1000000000000 VMs, more than max_ondemand_instances_per_request (10)"),
        ([("centos", 11)], "it asks for 11 VMs, more than max_ondemand_instances_per_request (10)"),
        ([("centos", 6), ("centos", 5)], "it asks for 11 VMs, more than max_ondemand_instances_per_request (10)"),
        ([("centos", 0)], "it asks for no VM"),
    ],
)
def test_what_could_not_be_filled_is_refused_and_leaves_nothing(
    world: PoolWorld, requested: list[tuple[str, int]], complaint: str
) -> None:
    with pytest.raises(InvalidInputError) as refused:
        submit(world, *requested)
    assert refused.value.args == (complaint,)
    assert world.client.keys() == []


def test_the_limit_is_that_of_each_name(world: PoolWorld) -> None:
    request_id = submit(world, ("centos", 10), (OTHER, 10))
    text = f"centos:{POOL}:10,{OTHER}:{OTHER}:10"
    assert world.client.hget(f"vmpooler__odrequest__{request_id}", "requested").decode() == text


def test_without_pools_a_request_is_refused(world: PoolWorld) -> None:
    world.pools = []
    with pytest.raises(InvalidInputError, match="there is no pool 'centos'; there are none"):
        submit(world, ("centos", 1))


def test_the_story_of_a_request_that_is_filled(world: PoolWorld) -> None:
    request_id = submit(world, ("centos", 1), (OTHER, 1))
    assert (read_history(world.db, request_id).status, job.is_closed(world.db, request_id)) == ("waiting", False)
    world.now += 5
    world.provider.before("create", lambda _: setattr(world, "now", world.now + 10))
    world.round()
    found = read_history(world.db, request_id)
    assert (found.status, found.reason, found.retries) == ("ready", "", 0)
    assert job.is_closed(world.db, request_id)
    assert {part: len(vms) for part, vms in found.delivered.items()} == {f"centos:{POOL}:1": 1, f"{OTHER}:{OTHER}:1": 1}
    assert {vm for vms in found.delivered.values() for vm in vms} == set(world.provider.machines)
    events = [one for one in events_of(world, request_id) if one[1] != "requested"]
    assert sorted((seconds, what) for seconds, what, _ in events) == [
        (5, "clone started"),
        (15, "clone started"),
        (15, "delivered"),
        (25, "delivered"),
    ], "a clone starts when a worker claims it"
    assert all(one.detail.startswith("cloned in ") for one in found.events if one.what == "delivered")


def test_the_story_of_a_request_that_is_being_filled(world: PoolWorld) -> None:
    request_id = submit(world, ("centos", 2))
    world.config["ondemand_clone_limit"] = 1
    world.round()
    found = read_history(world.db, request_id)
    assert found.status == "filling"
    assert [len(vms) for vms in found.delivered.values()] == [1]
    assert events_of(world, request_id)[0] == (0, "requested", "")


def test_a_history_holds_the_dead_letters_of_failed_clones(world: PoolWorld) -> None:
    world.provider.raises("create", PermanentProviderError("template not found"))
    request_id = submit(world, ("centos", 1))
    world.now += 5
    world.round()
    found = read_history(world.db, request_id)
    assert (found.status, found.reason) == ("failed", "Configuration error: template not found")
    [dead_letter] = [json.loads(raw) for raw in world.client.zrange("vmpooler__dlq__clone", 0, -1)]
    last = found.events[-1]
    assert (last.at - NOW, last.what, last.vm, last.pool) == (5, "failed (clone)", dead_letter["vm"], POOL)
    assert last.detail == f"PermanentProviderError: template not found [{dead_letter['id']}]"


def test_retries_are_counted_and_shown_in_order_with_their_dead_letters(world: PoolWorld) -> None:
    for number in range(3):
        raw = {"vm": f"v{number}", "pool": POOL, "request_id": "r-1", "error_class": "E", "error_message": f"{number}"}
        world.client.zadd("vmpooler__dlq__clone", {f"v{number}:1:{json.dumps(raw)}": NOW + 10 * number})
    world.client.hset("vmpooler__odrequest__r-1", mapping={"requested": f"centos:{POOL}:1", "retry_count": "3"})
    world.client.zadd("vmpooler__provisioning__processing", {"r-1": NOW - 5})
    world.vm(Queue.PENDING, "v3", 0, request_id="r-1")
    found = read_history(world.db, "r-1")
    assert (found.status, found.retries) == ("filling", 3)
    assert [one.at - NOW for one in found.events] == [-5, 0, 0, 10, 20]
    assert [one.vm for one in found.events if one.what == "failed (clone)"] == ["v0", "v1", "v2"]
    assert [one.what for one in found.events if one.vm in ("", "v3")] == ["requested", "clone started"]


def test_a_request_of_which_only_dead_letters_are_left_has_a_history(world: PoolWorld) -> None:
    entry = {"vm": "v", "pool": POOL, "request_id": "r-1", "error_class": "E", "error_message": "no"}
    world.client.zadd("vmpooler__dlq__clone", {json.dumps(entry): NOW})
    found = read_history(world.db, "r-1")
    assert [one.what for one in found.events] == ["failed (clone)"]
    assert job.is_closed(world.db, "r-1"), "nobody has to wait for it"


def test_a_request_that_nobody_knows_is_refused(world: PoolWorld) -> None:
    with pytest.raises(InvalidInputError, match="nothing is known of a request 'nowhere'"):
        read_history(world.db, "nowhere")


def test_a_request_whose_text_cannot_be_read_is_shown_as_far_as_it_goes(world: PoolWorld) -> None:
    world.client.hset("vmpooler__odrequest__r-1", mapping={"requested": "nonsense", "status": "failed"})
    found = read_history(world.db, "r-1")
    assert (found.status, found.requested, found.delivered) == ("failed", "nonsense", {})


def test_a_users_token_is_not_part_of_the_story(world: PoolWorld) -> None:
    request_id = submit(world, ("centos", 1))
    world.client.hset(f"vmpooler__odrequest__{request_id}", mapping={"token:token": "s3cr3t", "token:user": "anna"})
    assert "s3cr3t" not in json.dumps(read_history(world.db, request_id).as_json())


def test_one_queue_of_the_wrong_type_does_not_hide_the_story(world: PoolWorld) -> None:
    request_id = submit(world, ("centos", 1))
    world.client.set("vmpooler__dlq__ready", "x")
    assert read_history(world.db, request_id).status == "waiting"


def test_a_request_of_the_wrong_type_is_named(world: PoolWorld) -> None:
    world.client.set("vmpooler__odrequest__r-1", "x")
    with pytest.raises(WrongTypeError, match="vmpooler__odrequest__r-1"):
        read_history(world.db, "r-1")


def test_those_that_wait_or_are_filled_are_listed(world: PoolWorld) -> None:
    waiting = submit(world, ("centos", 1))
    world.client.zadd(keys.PROCESSING_REQUESTS, {"filling": NOW - 60})
    assert [one.id for one in read_open_histories(world.db)] == [waiting, "filling"]


def test_each_of_several_open_requests_has_the_dead_letters_of_its_own_clones(world: PoolWorld) -> None:
    requested = [submit(world, ("centos", 1)) for _ in range(2)]
    for work in fulfil.run(world.context):
        world.provider.raises("create", PermanentProviderError("no such network"))
        world.deliver(work)
    found = read_open_histories(world.db)
    assert sorted(one.id for one in found) == sorted(requested)
    assert found == [read_history(world.db, one.id) for one in found]
    failed = [[event.vm for event in one.events if event.what == "failed (clone)"] for one in found]
    assert [len(vms) for vms in failed] == [1, 1]
    assert failed[0] != failed[1]


def test_the_json_of_a_history(world: PoolWorld) -> None:
    request_id = submit(world, ("centos", 1))
    shown: dict[str, Any] = read_history(world.db, request_id).as_json()
    assert shown == {
        "request": request_id,
        "status": "waiting",
        "failure_reason": "",
        "requested": f"centos:{POOL}:1",
        "retry_count": 0,
        "delivered": {f"centos:{POOL}:1": []},
        "events": [{"at": NOW, "what": "requested", "vm": "", "pool": "", "detail": f"centos:{POOL}:1"}],
    }
