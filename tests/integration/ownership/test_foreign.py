"""Foreign VMs: in no queue, without the mark of this installation. They are reported, and nothing else."""

import logging

import pytest

from tests.support.brakes import brake, engaged, names, rounds, running
from tests.support.marking_provider import OTHER_MARK, OWN, MarkingScripted
from tests.support.pool_world import PoolWorld
from tests.support.world import POOL
from vmpooler_tasks.errors import TransientProviderError
from vmpooler_tasks.jobs.ownership.foreign import FOREIGN_SECONDS
from vmpooler_tasks.jobs.pools.clone import NameTakenError
from vmpooler_tasks.model.guards.foreign import ForeignVms
from vmpooler_tasks.model.names import Queue
from vmpooler_tasks.store import keys
from vmpooler_tasks.store.guards.foreign import read_foreign

pytestmark = pytest.mark.both_servers

OTHER_POOL = "ubuntu-2004-x86_64"


def foreign_names(world: PoolWorld) -> list[str]:
    found = read_foreign(world.db).get(POOL)
    return list(found.names) if found else []


@pytest.mark.parametrize("mark", [None, OTHER_MARK])
@pytest.mark.parametrize("count", [1, 30])
def test_foreign_vms_are_reported_and_never_touched(
    world: PoolWorld, provider: MarkingScripted, mark: str | None, count: int
) -> None:
    own = running(world, 5)
    vms = names(count)
    provider.has(*vms)
    provider.marks |= dict.fromkeys(vms, mark)
    rounds(world)
    assert set(vms) <= set(provider.machines)
    assert [queue for vm in vms for queue in world.queues_of(vm)] == []
    found = read_foreign(world.db)[POOL]
    assert (found.count, list(found.names)) == (count, vms[:10])
    assert provider.called("destroy") == []
    assert sorted(provider.called("mark")) == own


def test_foreign_vms_do_not_engage_the_brake_and_do_not_widen_it(world: PoolWorld, provider: MarkingScripted) -> None:
    running(world, 8)
    provider.has(*names(100, prefix="person"))
    rounds(world, 2)
    assert brake(world) is None
    provider.has_own(*names(3, prefix="stray"), pool=POOL)
    rounds(world)
    found = engaged(world)
    assert (found.strays, found.known) == (3, 11)


def test_an_orphan_with_the_mark_is_destroyed(world: PoolWorld, provider: MarkingScripted) -> None:
    running(world, 8)
    rounds(world, 2)
    provider.has_own("stray", pool=POOL)
    world.has_metadata("stray")
    provider.has("person")
    rounds(world)
    assert "stray" not in provider.machines
    assert "person" in provider.machines
    assert foreign_names(world) == ["person"]


def test_redis_that_was_emptied_makes_unmarked_vms_foreign(world: PoolWorld, provider: MarkingScripted) -> None:
    vms = running(world, 5)  # made by VMPooler: without a mark
    world.round()
    world.client.flushall()
    provider.marks[vms[0]] = OWN
    provider.marks[vms[1]] = OTHER_MARK
    for vm in vms[2:]:
        provider.marks[vm] = None
    rounds(world)
    assert set(provider.machines) == set(vms)
    assert engaged(world).strays == 1
    assert foreign_names(world) == vms[1:]


def test_a_vm_that_changes_its_queue_is_not_reported(world: PoolWorld, provider: MarkingScripted) -> None:
    provider.has("pooler-a")
    world.inspect()
    assert read_foreign(world.db) == {}
    world.now += FOREIGN_SECONDS - 1
    world.running_vm("pooler-a", 60)  # the API server has added it to running
    world.inspect()
    world.now += FOREIGN_SECONDS + 1
    world.inspect()
    assert read_foreign(world.db) == {}


def test_a_report_ends_when_the_vm_is_gone_or_queued(world: PoolWorld, provider: MarkingScripted) -> None:
    provider.has("person-a", "person-b")
    rounds(world, 3)
    assert foreign_names(world) == ["person-a", "person-b"]
    provider.destroy_vm(world.context.spec(world.pools[0]), "person-a")
    world.inspect()
    assert foreign_names(world) == ["person-b"]
    world.running_vm("person-b", 60)
    world.inspect()
    assert read_foreign(world.db) == {}
    assert not world.client.exists(keys.first_seen("foreign", POOL))


def test_foreign_vms_in_discovered_leave_it(world: PoolWorld, provider: MarkingScripted) -> None:
    provider.has("person", "twice")
    provider.has_own("stray", pool=POOL)
    world.has_metadata("stray")
    world.running_vm("twice", 60)
    world.client.sadd(keys.queue(Queue.DISCOVERED, POOL), "person", "stray", "twice", "gone")
    rounds(world)
    assert {"person", "twice"} <= set(provider.machines)
    assert "stray" not in provider.machines
    assert world.names_in(Queue.DISCOVERED) == set()
    assert foreign_names(world) == ["person"]
    assert world.queues_of("twice") == [Queue.RUNNING]


def test_an_inventory_that_fails_keeps_the_report_and_completes_nothing(
    world: PoolWorld, provider: MarkingScripted
) -> None:
    provider.has("person")
    rounds(world, 3)
    provider.raises("list", TransientProviderError("reset"))
    world.client.sadd(keys.queue(Queue.DISCOVERED, POOL), "person")
    world.inspect()
    assert foreign_names(world) == ["person"]
    assert world.queues_of("person") == [Queue.DISCOVERED]


def test_without_a_name_nothing_of_a_real_hypervisor_is_destroyed(world: PoolWorld, provider: MarkingScripted) -> None:
    world.config["installation"] = ""
    vms = running(world, 3)
    rounds(world, 2)
    world.client.flushall()
    rounds(world)
    assert set(provider.machines) == set(vms)
    assert foreign_names(world) == vms
    assert brake(world) is None


def test_the_first_names_and_the_number_are_logged_once(
    world: PoolWorld, provider: MarkingScripted, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "vmpooler_tasks.pools")
    provider.has(*names(12, prefix="person"))
    rounds(world)
    [line] = [line for line in caplog.messages if "without the mark" in line]
    assert line.endswith(f"they are not touched: {', '.join(names(10, prefix='person'))} and 2 more")


def test_a_record_that_cannot_be_read_is_still_reported(world: PoolWorld) -> None:
    world.client.hset(
        keys.FOREIGN_VMS, mapping={"a": "[]", "b": b"\xff", "c": '{"count": -1, "names": 5, "since": "x"}'}
    )
    expected = {name: ForeignVms(pool=name, count=1, names=(), since=0.0) for name in "abc"}
    assert read_foreign(world.db) == expected


def test_a_name_of_our_form_that_a_person_has_is_not_marked_while_its_clone_fails(
    world: PoolWorld, provider: MarkingScripted
) -> None:
    world.config["task_limit"] = 1
    [vm] = world.clones()
    provider.has(vm)  # a person was faster
    world.now += 1
    assert [one.vm for one in world.inspect().work if one.step == "mark"] == []
    assert world.deliver_all(world.reap()) == []
    world.config["task_limit"] = 0
    with pytest.raises(Exception, match="another VM has this name"):
        world.clone(vm)
    world.fail(vm, RuntimeError("another VM has this name"))
    rounds(world)
    assert vm in provider.machines
    assert provider.marks.get(vm) is None
    assert foreign_names(world) == [vm]


@pytest.mark.parametrize("is_own", [True, False])
def test_a_clone_that_is_tried_again_takes_only_a_vm_with_the_mark(
    world: PoolWorld, provider: MarkingScripted, is_own: bool
) -> None:
    """The first attempt broke off, and a VM of this name is there: that of the attempt, or of a person."""
    world.config["task_limit"] = 1
    [vm] = world.clones()
    provider.before("create", lambda name: (provider.has_own if is_own else provider.has)(name, pool=POOL))
    provider.raises("create", TransientProviderError("the connection broke"))
    if is_own:
        assert world.clone(vm) == "ready"
        return
    with pytest.raises(NameTakenError):
        world.clone(vm)
    assert provider.marks.get(vm) is None
    assert vm in provider.machines
