"""The API server that the tests play writes what VMPooler 3.9's writes, command by command."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.support.api_client import ApiClient
from tests.support.api_server import Reply
from tests.support.pool_world import TEMPLATE, PoolWorld, pool
from tests.support.vmpooler_keys import VMPOOLER_KEYS, row_of
from tests.support.world import POOL
from vmpooler_tasks.model.names import Queue

NOW = "2024-01-15 10:30:00 +0000"
ADDING = {"SADD", "SMOVE", "HSET", "ZADD"}
READS = {"EXISTS", "GET", "HGET", "HGETALL", "SCARD", "SMEMBERS"}
OTHER = "ubuntu-2004-x86_64"
VM_KEY, ACTIVE, MIGRATING = "vmpooler__vm__pooler-a", f"vmpooler__active__{POOL}", f"vmpooler__migrating__{POOL}"
READY, RUNNING = f"vmpooler__ready__{POOL}", f"vmpooler__running__{POOL}"
CHECKED_OUT = [
    f"SMOVE {READY} {RUNNING} pooler-a",
    f"SADD {MIGRATING} pooler-a",
    f"HSET {ACTIVE} pooler-a {NOW}",
    f"HSET {VM_KEY} checkout {NOW}",
]


def writes(world: PoolWorld, act: Callable[[ApiClient], Any], **options: Any) -> list[str]:
    """Return the commands by which an API server writes."""
    seen: list[tuple[Any, ...]] = []
    act(world.start_api(before_command=seen.append, **options))
    return [" ".join(map(str, command)) for command in seen if command[0] not in READS]


def test_checkout_moves_a_vm_and_says_when_in_four_commands(world: PoolWorld) -> None:
    world.ready_vm("pooler-a")
    assert writes(world, lambda api: api.checkout({POOL: 1})) == CHECKED_OUT


def test_checkout_with_a_token_names_its_user_and_lifetime(world: PoolWorld) -> None:
    world.ready_vm("pooler-a")
    token = world.start_api(auth=True).create_token("jane")
    assert writes(world, lambda api: api.checkout({POOL: 1}, token), auth=True, lifetime_auth=12) == [
        f"HSET vmpooler__token__{token} last {NOW}",
        *CHECKED_OUT,
        f"HSET {VM_KEY} token:token {token}",
        f"HSET {VM_KEY} token:user jane",
        f"HSET {VM_KEY} lifetime 12",
    ]
    assert world.start_api(auth=True).delete_vm("pooler-a.example.com").status == 401
    assert world.start_api(auth=True).delete_vm("pooler-a.example.com", token).ok


def test_checkout_that_finds_too_few_returns_what_it_took(world: PoolWorld) -> None:
    world.pools = [pool(), pool(OTHER)]
    world.ready_vm("pooler-a")
    commands = writes(world, lambda api: api.checkout({POOL: 1, OTHER: 1}))
    assert commands[4:] == [
        f"SREM {MIGRATING} pooler-a",
        f"HDEL {ACTIVE} pooler-a",
        f"HDEL {VM_KEY} checkout token:token token:user",
        f"SMOVE {RUNNING} {READY} pooler-a",
    ]
    assert world.queues_of("pooler-a") == [Queue.READY]


def test_checkout_by_alias_takes_from_any_of_its_pools(world: PoolWorld) -> None:
    world.pools = [pool(alias=("linux",)), pool(OTHER, alias=("linux",))]
    world.ready_vm("pooler-a")
    world.ready_vm("pooler-b", name=OTHER)
    assert sorted(world.start_api().checkout({"linux": 2}).vms) == ["pooler-a", "pooler-b"]
    assert world.start_api().checkout({"linux": 1}).status == 503
    assert world.start_api().checkout({"windows": 1}).status == 404


@pytest.mark.parametrize(
    ("act", "commands"),
    [
        (
            lambda api: api.delete_vm("pooler-a"),
            [f"SREM {RUNNING} pooler-a", f"SADD vmpooler__completed__{POOL} pooler-a"],
        ),
        (lambda api: api.modify("pooler-a", lifetime=48), [f"HSET {VM_KEY} lifetime 48"]),
        (
            lambda api: api.modify("pooler-a", tags={"job": "nightly", "none": ""}),
            [f"HSET {VM_KEY} tag:job nightly", "HSET vmpooler__tag__2024-01-15 pooler-a:job nightly"],
        ),
        (lambda api: api.add_disk("pooler-a.example.com", 8), ["SADD vmpooler__tasks__disk pooler-a:8"]),
        (lambda api: api.revert("pooler-a", "first"), ["SADD vmpooler__tasks__snapshot-revert pooler-a:first"]),
    ],
    ids=["delete", "lifetime", "tags", "disk", "revert"],
)
def test_orders_for_a_vm(world: PoolWorld, act: Callable[[ApiClient], Reply], commands: list[str]) -> None:
    world.running_vm("pooler-a")
    world.client.hset(VM_KEY, "snapshot:first", NOW)
    assert writes(world, act) == commands


def test_an_order_for_a_vm_that_is_unknown_writes_nothing(world: PoolWorld) -> None:
    api = world.start_api()
    replies = [api.add_disk("pooler-a", 8), api.snapshot("pooler-a"), api.revert("pooler-a", "first")]
    assert [
        reply.status for reply in [*replies, api.modify("pooler-a", lifetime=1), api.delete_vm("pooler-a")]
    ] == 5 * [404]
    assert world.snapshot() == {}


def test_a_snapshot_is_named_by_the_api(world: PoolWorld) -> None:
    world.running_vm("pooler-a")
    name = world.start_api().snapshot("pooler-a").body["pooler-a"]["snapshot"]
    assert world.client.smembers("vmpooler__tasks__snapshot") == {f"pooler-a:{name}".encode()}


@pytest.mark.parametrize(
    ("act", "commands"),
    [
        (lambda api: api.set_pool_sizes({POOL: 5}), [f"HSET vmpooler__config__poolsize {POOL} 5"]),
        (lambda api: api.set_pool_sizes({POOL: 2}), []),
        (
            lambda api: api.set_templates({POOL: "templates/two"}),
            [f"HSET vmpooler__config__template {POOL} templates/two"],
        ),
        (lambda api: api.set_templates({POOL: "two"}), []),
        (
            lambda api: api.set_clone_targets({POOL: "cluster-2"}),
            [f"HSET vmpooler__config__clone_target {POOL} cluster-2"],
        ),
        (lambda api: api.reset_pools(POOL), [f"SADD vmpooler__poolreset {POOL}"]),
        (lambda api: api.undo_pool_size(POOL), []),
    ],
    ids=["size", "same size", "template", "no path", "clone target", "reset", "nothing to undo"],
)
def test_orders_for_a_pool(world: PoolWorld, act: Callable[[ApiClient], Reply], commands: list[str]) -> None:
    assert writes(world, act) == commands


def test_an_undo_removes_the_override_and_marks_the_pool(world: PoolWorld) -> None:
    world.start_api().set_pool_sizes({POOL: 5})
    world.start_api().set_templates({POOL: "templates/two"})
    assert writes(world, lambda api: [api.undo_pool_size(POOL), api.undo_template(POOL)]) == [
        f"HDEL vmpooler__config__poolsize {POOL}",
        f"SADD vmpooler__pool__undo_size_override {POOL}",
        f"HDEL vmpooler__config__template {POOL}",
        f"SADD vmpooler__pool__undo_template_override {POOL}",
    ]


def test_template_ready_compares_the_prepared_template(world: PoolWorld) -> None:
    api = world.start_api()
    assert api.config()[POOL] == {"size": 2, "template": TEMPLATE, "template_ready": False}
    world.client.hset("vmpooler__template__prepared", POOL, TEMPLATE)
    assert api.config()[POOL]["template_ready"]
    api.set_templates({POOL: "templates/two"})
    assert not api.config()[POOL]["template_ready"]


def test_status_counts_the_queues(world: PoolWorld) -> None:
    world.ready_vm("pooler-a")
    world.running_vm("pooler-b")
    status = world.start_api().status()
    assert status["queue"] == {"pending": 0, "ready": 1, "running": 1, "completed": 0, "cloning": 0}
    assert status["pools"][POOL] == {"ready": 1, "running": 1, "pending": 0, "max": 2, "lastBoot": ""}
    assert status["ok"]


def test_a_request_is_listed_before_it_says_what_it_wants(world: PoolWorld) -> None:
    assert writes(world, lambda api: api.request_vms({POOL: 2}, "req-1")) == [
        f"ZADD vmpooler__provisioning__request {int(world.now)} req-1",
        f"HSET vmpooler__odrequest__req-1 requested {POOL}:{POOL}:2",
    ]
    api = world.start_api()
    assert api.request_vms({POOL: 1}, "req-1").status == 409
    assert api.request_vms({POOL: 11}).status == 403
    assert api.show_request("req-1").body[POOL] == {"ready": 0, "pending": 2}
    world.running_vm("pooler-a")
    world.client.sadd(f"vmpooler__req-1__{POOL}__{POOL}", "pooler-a")
    world.client.hset("vmpooler__odrequest__req-1", "status", "ready")
    assert api.show_request("req-1").vms == ("pooler-a",)


def test_deleting_a_request_moves_its_vms_one_by_one(world: PoolWorld) -> None:
    world.start_api().request_vms({POOL: 1}, "req-1")
    world.running_vm("pooler-a")
    world.client.sadd(f"vmpooler__req-1__{POOL}__{POOL}", "pooler-a")
    seen = writes(world, lambda api: api.delete_request("req-1"))
    assert [command.replace("b'pooler-a'", "pooler-a") for command in seen] == [
        "HSET vmpooler__odrequest__req-1 status deleted",
        f"SMOVE {RUNNING} vmpooler__completed__{POOL} pooler-a",
        f"DEL vmpooler__req-1__{POOL}__{POOL}",
        "EXPIRE vmpooler__odrequest__req-1 1296000",
    ]
    assert world.start_api().show_request("req-1").status == 200


def test_a_route_that_needs_a_token_refuses_without(world: PoolWorld) -> None:
    world.running_vm("pooler-a")
    api = world.start_api(auth=True)
    token = api.create_token("jane")
    assert [api.add_disk("pooler-a", 8).status, api.add_disk("pooler-a", 8, token).status] == [401, 202]
    assert api.delete_token(token).ok
    assert api.snapshot("pooler-a", token).status == 401


def routes(api: ApiClient) -> dict[str, Callable[[], object]]:
    """Every route that writes, in an order in which each finds something to do."""
    return {
        "create_token": lambda: api.create_token("jane"),
        "checkout_vm": lambda: api.checkout_vm("pooler-a", POOL),
        "modify": lambda: api.modify("pooler-a", lifetime=1, tags={"job": "nightly"}),
        "add_disk": lambda: api.add_disk("pooler-a", 8),
        "snapshot": lambda: api.snapshot("pooler-a"),
        "revert": lambda: api.revert("pooler-a", "first"),
        "delete_vm": lambda: api.delete_vm("pooler-a"),
        "checkout": lambda: api.checkout({POOL: 1}),
        "set_pool_sizes": lambda: api.set_pool_sizes({POOL: 5}),
        "set_templates": lambda: api.set_templates({POOL: "templates/two"}),
        "set_clone_targets": lambda: api.set_clone_targets({POOL: "cluster-2"}),
        "undo_pool_size": lambda: api.undo_pool_size(POOL),
        "undo_template": lambda: api.undo_template(POOL),
        "reset_pools": lambda: api.reset_pools(POOL),
        "request_vms": lambda: api.request_vms({POOL: 1}, "req-1"),
        "delete_request": lambda: api.delete_request("req-1"),
    }


def test_the_table_of_vmpoolers_keys_names_the_routes_that_write_each(world: PoolWorld) -> None:
    world.ready_vm("pooler-a")
    world.ready_vm("pooler-b")
    world.client.hset(VM_KEY, "snapshot:first", NOW)
    world.client.sadd(f"vmpooler__req-1__{POOL}__{POOL}", "pooler-c")
    seen: list[tuple[Any, ...]] = []
    found: set[tuple[str, str]] = set()
    for route, act in routes(world.start_api(before_command=seen.append)).items():
        seen.clear()
        act()
        keys = [str(command[2] if command[0] == "SMOVE" else command[1]) for command in seen if command[0] in ADDING]
        found |= {(row.name if (row := row_of(key.encode())) else f"{key} has no row", route) for key in keys}
    assert found == {(row.name, route) for row in VMPOOLER_KEYS for route in row.api}
