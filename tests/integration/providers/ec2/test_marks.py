"""Whose an instance is: what this installation made, what a person made, and what VMPooler made before."""

import pytest

from tests.support.ec2_lab import INSTALLATION, Ec2Lab, tags_of
from vmpooler_tasks.errors import PermanentProviderError
from vmpooler_tasks.providers import MarkedVm, PoolSpec
from vmpooler_tasks.providers.ec2 import instances

pytestmark = pytest.mark.stage(name="providers")

VM = "quick-fox"


def test_the_inventory_says_who_made_each_instance(lab: Ec2Lab) -> None:
    own, west = lab.provider(), lab.provider(installation="west")
    own.create_vm(lab.pool, VM)
    west.create_vm(lab.pool, "slow-fox")
    lab.start(Name="persons-fox", pool=lab.pool.name)
    lab.start(Name="pooler", vm_name="vmpoolers-fox", pool=lab.pool.name)
    lab.start(Name="database")
    assert own.list_vms(lab.pool) == {
        VM: INSTALLATION,
        "slow-fox": "west",
        "persons-fox": None,
        "vmpoolers-fox": None,
    }


@pytest.mark.parametrize("tags", [{"Name": VM, "pool": "debian-12-x86_64"}, {"Name": VM}, {"vm_name": VM}])
def test_a_name_that_a_person_uses_is_taken_and_nothing_is_changed(lab: Ec2Lab, tags: dict[str, str]) -> None:
    own = lab.provider()
    lab.start(**tags)
    assert own.create_vm(lab.pool, VM).existed
    assert tags_of(lab.only_instance()) == tags


def test_the_name_of_another_installation_is_taken_and_not_destroyed(lab: Ec2Lab) -> None:
    own = lab.provider()
    lab.provider(installation="west").create_vm(lab.pool, VM)
    assert own.create_vm(lab.pool, VM).existed
    for call in (own.destroy_vm, own.mark_vm):
        with pytest.raises(PermanentProviderError, match="mark of another installation"):
            call(lab.pool, VM)
    assert own.destroy_marked(MarkedVm(name=VM, pool=lab.pool.name)) is False
    assert len(lab.instances()) == 1


def test_an_instance_with_copied_tags_is_not_destroyed_beside_ours(lab: Ec2Lab) -> None:
    own = lab.provider()
    own.create_vm(lab.pool, VM)
    copy = lab.start(vm_name=VM, pool=lab.pool.name)
    assert own.mark_vm(lab.pool, VM) is True
    assert own.destroy_vm(lab.pool, VM) is True
    assert [instance["InstanceId"] for instance in lab.instances()] == [copy]
    assert "vmpooler_tasks_installation" not in tags_of(lab.only_instance())


def test_an_instance_of_vmpooler_gets_the_mark(lab: Ec2Lab) -> None:
    own = lab.provider()
    lab.start(Name="site", vm_name=VM, pool=lab.pool.name)
    assert own.mark_vm(lab.pool, VM) is True
    assert own.mark_vm(lab.pool, VM) is True
    assert own.mark_vm(lab.pool, "gone") is False
    assert own.list_vms(lab.pool) == {VM: INSTALLATION}
    assert tags_of(lab.only_instance())["Name"] == "site"
    assert [tags_of(volume)["vmpooler_tasks_installation"] for volume in lab.volumes()] == [INSTALLATION]


def test_everything_with_the_mark_is_found_in_any_pool(lab: Ec2Lab) -> None:
    own = lab.provider()
    own.create_vm(lab.pool, VM)
    own.create_vm(PoolSpec(name="removed", template=lab.pool.template), "slow-fox")
    lab.provider(installation="west").create_vm(lab.pool, "other")
    lab.start(Name="database")
    found = sorted(own.list_marked(), key=lambda marked: marked.name)
    assert found == [MarkedVm(name=VM, pool=lab.pool.name), MarkedVm(name="slow-fox", pool="removed")]
    assert own.destroy_marked(found[1]) is True
    assert own.destroy_marked(found[1]) is False
    assert own.list_marked() == found[:1]


def test_an_instance_that_has_lost_its_mark_is_not_destroyed(lab: Ec2Lab) -> None:
    own = lab.provider()
    own.create_vm(lab.pool, VM)
    lab.client.delete_tags(Resources=[lab.only_instance()["InstanceId"]], Tags=[{"Key": "vmpooler_tasks_installation"}])
    assert own.destroy_marked(MarkedVm(name=VM, pool=lab.pool.name)) is False
    assert len(lab.instances()) == 1


def test_all_pages_of_an_inventory_are_read(lab: Ec2Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instances, "INSTANCES_PAGE_SIZE", 5)
    own = lab.provider()
    for number in range(12):
        lab.start(vm_name=f"vm-{number}", pool=lab.pool.name)
    lab.server.reset_calls()
    assert len(own.list_vms(lab.pool)) == 12
    assert lab.server.calls() == ["DescribeVolumes", *["DescribeInstances"] * 3]


@pytest.mark.parametrize("name", ["a*", "?", "back\\slash"])
def test_patterns_in_a_name_match_nothing_else(lab: Ec2Lab, name: str) -> None:
    own = lab.provider()
    own.create_vm(lab.pool, "abc")
    assert own.find_vm(lab.pool, name) is None
    assert own.destroy_vm(lab.pool, name) is False
    assert own.list_vms(PoolSpec(name="debian*")) == {}
    assert len(lab.instances()) == 1


def test_the_user_is_in_the_tag_of_vmpooler_and_not_on_an_instance_of_another_installation(lab: Ec2Lab) -> None:
    own, west = lab.provider(), lab.provider(installation="west")
    own.create_vm(lab.pool, VM)
    assert own.tag_vm_user(lab.pool, VM, "jane") is True
    assert tags_of(lab.only_instance())["token-user"] == "jane"
    with pytest.raises(PermanentProviderError, match="mark of another installation"):
        west.tag_vm_user(lab.pool, VM, "joe")
    assert tags_of(lab.only_instance())["token-user"] == "jane"
