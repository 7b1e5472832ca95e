"""What a purge may be asked for: an order that means something else than it says is refused before anything is done."""

from typing import Any

import click
import pytest

from tests.support.cycles import cycle
from tests.support.world import POOL, World, settings
from vmpooler_tasks.cli.purge import purge as command
from vmpooler_tasks.errors import InvalidInputError
from vmpooler_tasks.model.names import Queue
from vmpooler_tasks.model.purge import PurgeTarget
from vmpooler_tasks.store import keys

DAY = 86400


@pytest.mark.parametrize(
    ("order", "complaint"),
    [
        ({"pools": "p1"}, "pools must be a list of names, not 'p1'"),
        ({"pools": 5}, "pools must be a list of names, not 5"),
        ({"pools": [5]}, "pools must be a list of names, not [5]"),
        ({"pools": {POOL: 1}}, "pools must be a list of names, not {'centos-7-x86_64': 1}"),
        ({"pools": None}, "pools must be a list of names, not None"),
        ({"queues": "pending"}, "queues must be a list of names, not 'pending'"),
        ({"dry_run": "false"}, "dry_run must be true or false, not 'false'"),
        ({"dry_run": 0}, "dry_run must be true or false, not 0"),
        ({"force": "yes"}, "force must be true or false, not 'yes'"),
        ({"who": 5}, "who must be text, not 5"),
        ({"why": ["a"]}, "why must be text, not ['a']"),
        ({"pools": ["nope"]}, "no pool 'nope'; there are centos-7-x86_64, p, registered"),
        ({"pools": ["centos-7-x86_46"]}, "no pool 'centos-7-x86_46'; did you mean centos-7-x86_64?"),
        ({"queues": ["pendng"]}, "no queue 'pendng'; did you mean pending?"),
        ({"queues": ["running"]}, "no queue 'running'; there are pending, ready, completed, orphaned, requests"),
        (
            {"queues": ["pendng"], "pools": ["p", "registred"]},
            "no queue 'pendng'; did you mean pending?; no pool 'registred'; did you mean registered?",
        ),
        ({"force": 1, "pools": "x"}, "force must be true or false, not 1; pools must be a list of names, not 'x'"),
    ],
)
def test_an_order_that_cannot_be_meant_is_refused_and_nothing_is_done(
    world: World, order: dict[str, Any], complaint: str
) -> None:
    world.client.sadd(keys.POOLS.decode(), "registered")
    world.vm(Queue.PENDING, "pooler-a", 2 * DAY)
    world.vm(Queue.PENDING, "pooler-b", 2 * DAY, pool="p")
    before = world.snapshot()
    with pytest.raises(InvalidInputError) as caught:
        cycle(world, settings(pools=(POOL, "p")), **order)
    assert str(caught.value) == f"The input is not valid: {complaint}"
    assert caught.value.exit_status == 64
    assert world.snapshot() == before


@pytest.mark.parametrize("kind", [list, tuple])
def test_configured_and_registered_pools_may_be_named(world: World, kind: type) -> None:
    world.client.sadd(keys.POOLS.decode(), "registered")
    world.vm(Queue.PENDING, "pooler-a", 2 * DAY)
    world.vm(Queue.PENDING, "pooler-b", 2 * DAY, pool="registered")
    assert cycle(world, pools=kind([POOL, "registered"]), queues=kind(["pending"])).purged == {"pending": 2}


def test_a_list_of_pools_of_the_wrong_type_leaves_the_configured_ones_known(world: World) -> None:
    world.client.set(keys.POOLS.decode(), "no set")
    world.vm(Queue.PENDING, "pooler-a", 2 * DAY)
    assert cycle(world, pools=[POOL]).purged == {"pending": 1}
    with pytest.raises(InvalidInputError, match="no pool 'other'; there are centos-7-x86_64"):
        cycle(world, pools=["other"])


def test_the_command_offers_the_queues_that_may_be_named() -> None:
    (option,) = (param for param in command.params if param.name == "queues")
    assert isinstance(option.type, click.Choice)
    assert option.type.choices == tuple(PurgeTarget)
