"""An operator lists foreign VMs and adopts them. The next inspections destroy those."""

import pytest

from tests.support.brakes import rounds, running
from tests.support.marking_provider import OTHER_MARK, OWN, MarkingScripted
from tests.support.pool_world import PoolWorld, Scripted
from tests.support.world import POOL
from vmpooler_tasks.errors import InvalidInputError
from vmpooler_tasks.jobs.ownership.adopt import adopt, find_foreign
from vmpooler_tasks.jobs.pools.control import Operator
from vmpooler_tasks.store.fleet import audit

pytestmark = pytest.mark.both_servers

OLGA = Operator(who="olga@host", why="left over")


@pytest.fixture
def full(world: PoolWorld, provider: MarkingScripted) -> PoolWorld:
    """Ten VMs in running, two foreign ones, one with another mark."""
    running(world, 10)
    rounds(world, 1)
    provider.has("person", "left-over", "theirs")
    provider.marks["theirs"] = OTHER_MARK
    return world


def test_the_list_has_the_foreign_vms_with_their_marks(full: PoolWorld) -> None:
    found = find_foreign(full.context, full.pools[0])
    assert [(one.name, one.mark) for one in found] == [("left-over", None), ("person", None), ("theirs", OTHER_MARK)]


def test_only_the_named_vms_are_adopted_and_then_destroyed(full: PoolWorld, provider: MarkingScripted) -> None:
    found = find_foreign(full.context, full.pools[0], ["left-over"])
    [done] = adopt(full.context, full.pools[0], found, OLGA)
    assert (done.vm, done.result, done.error) == ("left-over", "marked", "")
    assert provider.marks["left-over"] == OWN
    rounds(full)
    assert "left-over" not in provider.machines
    assert {"person", "theirs"} <= set(provider.machines)
    [entry] = [one.fields for one in audit.read_newest(full.db, 10) if one.fields["action"] == "adopt"]
    expected = {
        "action": "adopt",
        "who": "olga@host",
        "why": "left over",
        "pool": POOL,
        "count": "1",
        "vms": "left-over",
    }
    assert entry == expected


def test_a_vm_with_another_mark_or_that_vanished_is_not_adopted(full: PoolWorld, provider: MarkingScripted) -> None:
    found = find_foreign(full.context, full.pools[0])
    provider.machines.pop("person")
    done = adopt(full.context, full.pools[0], found, OLGA)
    assert [(one.vm, one.result) for one in done] == [
        ("left-over", "marked"),
        ("person", "missing"),
        ("theirs", "failed"),
    ]
    assert done[-1].error == "the VM has the mark of another installation"
    assert provider.marks["theirs"] == OTHER_MARK


@pytest.mark.parametrize("name", ["pooler-000", "nobody"])
def test_a_name_that_is_no_foreign_vm_is_refused(full: PoolWorld, name: str) -> None:
    with pytest.raises(InvalidInputError, match=f"no foreign VM of pool '{POOL}': {name}"):
        find_foreign(full.context, full.pools[0], ["person", name])


def test_nothing_is_adopted_without_a_name_or_marks(full: PoolWorld) -> None:
    full.config["installation"] = ""
    found = find_foreign(full.context, full.pools[0])
    assert len(found) == 3
    with pytest.raises(InvalidInputError, match="this installation has no name"):
        adopt(full.context, full.pools[0], found, OLGA)
    full.config["installation"] = OWN
    full.provider = Scripted()
    with pytest.raises(InvalidInputError, match="cannot mark VMs"):
        adopt(full.context, full.pools[0], found, OLGA)
    assert audit.read_newest(full.db, 10) == []
