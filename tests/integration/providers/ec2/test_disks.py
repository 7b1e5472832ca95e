"""Disks that users order: one for each order, whatever was cut off, and gone with the VM."""

from typing import Any

import pytest

from tests.support.ec2_lab import INSTALLATION, Ec2Lab, tags_of
from vmpooler_tasks.errors import TransientProviderError, VmNotFoundError
from vmpooler_tasks.providers.ec2 import instances

pytestmark = pytest.mark.stage(name="providers")

VM = "quick-fox"


def data_volumes(lab: Ec2Lab) -> list[Any]:
    return [volume for volume in lab.volumes() if "vmpooler_tasks_disk" in tags_of(volume)]


def test_a_disk_is_a_volume_with_the_mark_that_vanishes_with_the_vm(lab: Ec2Lab) -> None:
    own = lab.provider(volume_type="gp3", volume_size=9, tags={"portfolio": "ci"})
    own.create_vm(lab.pool, VM)
    own.create_disk(lab.pool, VM, "first", 12)
    [volume] = data_volumes(lab)
    assert (volume["Size"], volume["VolumeType"]) == (12, "gp3")
    assert tags_of(volume) == {
        "Name": VM,
        "vm_name": VM,
        "pool": lab.pool.name,
        "portfolio": "ci",
        "vmpooler_tasks_installation": INSTALLATION,
        "vmpooler_tasks_disk": "first",
    }
    mappings = {entry["Ebs"]["VolumeId"]: entry["Ebs"] for entry in lab.only_instance()["BlockDeviceMappings"]}
    assert mappings[volume["VolumeId"]]["DeleteOnTermination"] is True
    lab.client.terminate_instances(InstanceIds=[lab.only_instance()["InstanceId"]])  # not by this provider
    assert lab.volumes() == []


@pytest.mark.parametrize("action", ["CreateVolume", "AttachVolume", "ModifyInstanceAttribute"])
@pytest.mark.parametrize("cut", ["before", "after"])
def test_an_order_that_was_cut_off_is_continued(lab: Ec2Lab, action: str, cut: str) -> None:
    own = lab.provider(max_attempts=1)
    own.create_vm(lab.pool, VM)
    lab.server.fail({"action": action, "cut": cut, "times": 1})
    with pytest.raises(TransientProviderError):
        own.create_disk(lab.pool, VM, "first", 1)
    own.create_disk(lab.pool, VM, "first", 1)
    assert len(data_volumes(lab)) == 1
    assert own.has_disk(lab.pool, VM, "first")
    own.destroy_vm(lab.pool, VM)
    assert lab.volumes() == []


def test_a_disk_that_was_never_attached_goes_with_its_vm(lab: Ec2Lab) -> None:
    own = lab.provider(max_attempts=1)
    own.create_vm(lab.pool, VM)
    lab.server.fail({"action": "AttachVolume", "cut": "before"})
    with pytest.raises(TransientProviderError):
        own.create_disk(lab.pool, VM, "first", 1)
    assert not own.has_disk(lab.pool, VM, "first")
    assert len(data_volumes(lab)) == 1
    lab.server.fail()
    own.destroy_vm(lab.pool, VM)
    assert lab.volumes() == []


@pytest.mark.parametrize("action", ["CreateVolume", "AttachVolume", "ModifyInstanceAttribute"])
def test_a_vm_that_is_destroyed_while_it_gets_a_disk_leaves_no_volume(lab: Ec2Lab, action: str) -> None:
    own, other = lab.provider(), lab.provider()
    own.create_vm(lab.pool, VM)

    def destroy(**_: Any) -> None:
        other.destroy_vm(lab.pool, VM)

    own._client.meta.events.register(f"before-call.ec2.{action}", destroy)
    with pytest.raises(VmNotFoundError):
        own.create_disk(lab.pool, VM, "first", 1)
    assert lab.volumes() == []


def test_a_volume_of_an_order_that_was_cut_off_is_found_by_the_inventory_and_deleted(lab: Ec2Lab) -> None:
    """A call of a worker that was killed may be carried out after the destruction has read the volumes."""
    own = lab.provider()
    own.create_vm(lab.pool, VM)
    own.destroy_vm(lab.pool, VM)
    for installation in (INSTALLATION, "west"):
        tags = instances.tags_of(VM, lab.pool.name, installation)
        lab.client.create_volume(
            AvailabilityZone="us-east-1a", Size=1, TagSpecifications=[{"ResourceType": "volume", "Tags": tags}]
        )
    assert own.list_vms(lab.pool) == {VM: INSTALLATION}
    assert own.destroy_vm(lab.pool, VM) is True
    assert own.list_vms(lab.pool) == {}
    [foreign] = lab.volumes()
    assert tags_of(foreign)["vmpooler_tasks_installation"] == "west"
