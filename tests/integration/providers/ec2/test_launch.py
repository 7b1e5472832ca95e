"""What is started for a VM, where, and how often."""

import base64
from typing import Any

import pytest

from tests.support.ec2_lab import INSTALLATION, Ec2Lab, tags_of
from tests.support.moto_server import IMAGE
from vmpooler_tasks.errors import PermanentProviderError, TransientProviderError
from vmpooler_tasks.providers.ec2.images import RootDevices
from vmpooler_tasks.providers.ec2.launch import InstanceLaunch
from vmpooler_tasks.providers.ec2.options import InstanceOptions

pytestmark = pytest.mark.stage(name="providers")

VM = "quick-fox"
OWN_TAGS = {
    "Name": VM,
    "vm_name": VM,
    "pool": "debian-12-x86_64",
    "vmpooler_tasks_installation": INSTALLATION,
}


def test_the_instance_and_its_volume_say_whose_they_are(lab: Ec2Lab) -> None:
    own = lab.provider(tags={"portfolio": "ci", "vm_name": "an option never replaces the provider's own tags"})
    own.create_vm(lab.pool, VM)
    assert tags_of(lab.only_instance()) == {**OWN_TAGS, "portfolio": "ci"}
    assert [tags_of(volume) for volume in lab.volumes()] == [{**OWN_TAGS, "portfolio": "ci"}]


def test_without_an_installation_nothing_has_a_mark(lab: Ec2Lab) -> None:
    own = lab.provider(installation="")
    own.create_vm(lab.pool, VM)
    assert "vmpooler_tasks_installation" not in tags_of(lab.only_instance())
    assert own.list_vms(lab.pool) == {VM: None}
    assert own.create_vm(lab.pool, VM).existed
    assert own.list_marked() == []
    assert own.destroy_vm(lab.pool, VM) is True


def test_an_instance_is_as_the_options_say(lab: Ec2Lab) -> None:
    [subnet] = lab.subnets(1)
    vpc = lab.client.describe_subnets(SubnetIds=[subnet])["Subnets"][0]["VpcId"]
    group = lab.client.create_security_group(GroupName="pool", Description="pool", VpcId=vpc)["GroupId"]
    lab.client.create_key_pair(KeyName="ops")
    own = lab.provider(subnets=subnet, key_name="ops", amisize="t3.large", volume_size="20")
    pool = lab.spec(
        amisize="t3.small",
        security_groups=group,
        user_data="#cloud-config\nhostname: @VM@\n# @POOL@\n",
        volume_sizes={"/dev/sdb": 30},
        volume_type="gp3",
    )
    own.create_vm(pool, VM)
    made = lab.only_instance()
    assert (made["InstanceType"], made["KeyName"], made["SubnetId"]) == ("t3.small", "ops", subnet)
    assert [entry["GroupId"] for entry in made["SecurityGroups"]] == [group]
    data = lab.client.describe_instance_attribute(InstanceId=made["InstanceId"], Attribute="userData")["UserData"]
    assert base64.b64decode(data["Value"]).decode() == f"#cloud-config\nhostname: {VM}\n# {lab.pool.name}\n"
    assert sorted((volume["Size"], volume["VolumeType"]) for volume in lab.volumes()) == [(20, "gp3"), (30, "gp3")]
    assert own.destroy_vm(pool, VM) is True
    assert lab.volumes() == []


def test_spot_instances(lab: Ec2Lab) -> None:
    lab.provider(spot=True, spot_max_price="0.01").create_vm(lab.pool, VM)
    assert lab.only_instance()["InstanceLifecycle"] == "spot"


@pytest.mark.parametrize("named_by", ["LaunchTemplateId", "LaunchTemplateName"])
def test_a_launch_template(lab: Ec2Lab, named_by: str) -> None:
    created = lab.client.create_launch_template(
        LaunchTemplateName="debian", LaunchTemplateData={"ImageId": IMAGE, "InstanceType": "t3.small"}
    )["LaunchTemplate"]
    lab.client.create_launch_template_version(
        LaunchTemplateName="debian", LaunchTemplateData={"ImageId": IMAGE, "InstanceType": "t3.medium"}
    )
    name: Any = created[named_by]  # type: ignore[literal-required]
    own = lab.provider(volume_size=9)
    own.create_vm(lab.spec(template=name), "first")
    own.create_vm(lab.spec(template=f"{name}:2"), "second")
    own.create_vm(lab.spec(launch_template=name, amisize="t3.large"), "third")
    types = {tags_of(instance)["Name"]: instance["InstanceType"] for instance in lab.instances()}
    assert types == {"first": "t3.small", "second": "t3.medium", "third": "t3.large"}
    assert {volume["Size"] for volume in lab.volumes()} == {9}


@pytest.mark.parametrize("template", ["ami-0123456789abcdef0", "no-such-template", "no-such-template:7", None])
def test_a_template_that_does_not_exist(lab: Ec2Lab, template: str | None) -> None:
    own = lab.provider()
    with pytest.raises(PermanentProviderError):
        own.create_vm(lab.spec(template=template), VM)
    assert lab.instances() == []


def test_a_subnet_without_capacity_gives_its_turn_to_the_next(lab: Ec2Lab) -> None:
    subnets = lab.subnets(3)
    own = lab.provider(subnets=subnets)
    lab.server.fail(
        *({"action": "RunInstances", "code": "InsufficientInstanceCapacity", "where": subnet} for subnet in subnets[:2])
    )
    for number in range(4):
        own.create_vm(lab.pool, f"vm-{number}")
    assert {instance["SubnetId"] for instance in lab.instances()} == {subnets[2]}
    assert len(lab.instances()) == 4


def test_vms_are_spread_over_the_zones(lab: Ec2Lab) -> None:
    own = lab.provider(zones=["us-east-1a", "us-east-1b"], zone="us-east-1c")
    for number in range(8):
        own.create_vm(lab.pool, f"vm-{number}")
    assert {instance["Placement"]["AvailabilityZone"] for instance in lab.instances()} == {"us-east-1a", "us-east-1b"}


def test_no_capacity_anywhere_names_each_place(lab: Ec2Lab) -> None:
    own = lab.provider(zones=["us-east-1a", "us-east-1b"])
    lab.server.fail({"action": "RunInstances", "code": "InsufficientInstanceCapacity", "message": "try again later"})
    with pytest.raises(TransientProviderError) as caught:
        own.create_vm(lab.pool, VM)
    assert sorted(str(caught.value).split("; ")) == [
        f"us-east-1{zone}: InsufficientInstanceCapacity: try again later" for zone in "ab"
    ]
    lab.server.fail({"action": "RunInstances", "code": "Unsupported", "message": "no such type here"})
    with pytest.raises(PermanentProviderError, match="us-east-1a: Unsupported: no such type here"):
        own.create_vm(lab.pool, VM)


def test_a_reply_that_is_lost_makes_no_second_instance(lab: Ec2Lab) -> None:
    """Neither if the SDK repeats the call, nor if the next attempt does."""
    lab.server.fail({"action": "RunInstances", "cut": "after", "times": 1})
    assert lab.provider().create_vm(lab.pool, VM).ip
    assert len(lab.instances()) == 1
    once = lab.provider(max_attempts=1)
    lab.server.fail({"action": "RunInstances", "cut": "after", "times": 1})
    with pytest.raises(TransientProviderError):
        once.create_vm(lab.pool, "slow-fox")
    assert once.create_vm(lab.pool, "slow-fox").existed
    assert len(lab.instances()) == 2


def test_equal_calls_start_one_instance_even_if_ec2_does_not_show_it_yet(lab: Ec2Lab) -> None:
    launch = InstanceLaunch(vm=VM, pool=lab.pool, installation=INSTALLATION, options=InstanceOptions())
    ids = {launch.start(lab.client, RootDevices(), known=()) for _ in range(2)}
    assert ids == {lab.only_instance()["InstanceId"]}


def test_a_name_can_be_used_again_and_again(lab: Ec2Lab) -> None:
    """EC2 remembers the client tokens of instances that have ended."""
    own, ids = lab.provider(), set()
    for _ in range(4):
        assert not own.create_vm(lab.pool, VM).existed
        ids.add(lab.only_instance()["InstanceId"])
        assert own.destroy_vm(lab.pool, VM) is True
    assert len(ids) == 4


def test_a_vm_is_there_when_it_runs(lab: Ec2Lab) -> None:
    lab.server.set_pending(seconds=0.5)
    waits: list[float] = []
    own = lab.provider(sleep=waits.append)
    made = own.create_vm(lab.pool, VM)
    instance = lab.only_instance()
    assert (made.ip, made.host) == (
        instance["PrivateIpAddress"],
        f"{instance['Placement']['AvailabilityZone']}/{instance['InstanceId']}",
    )
    assert instance["State"]["Name"] == "running"
    assert waits, "it was pending at first"


def test_a_vm_that_does_not_run_in_time_has_no_address_and_is_found_later(lab: Ec2Lab) -> None:
    lab.server.set_pending(seconds=3600)
    own = lab.provider(start_seconds=0.001)
    assert own.create_vm(lab.pool, VM).ip is None
    found = own.create_vm(lab.pool, VM)
    assert (found.existed, found.ip) == (True, None)
    assert not own.is_ready(lab.pool, VM).ready
    assert own.destroy_vm(lab.pool, VM) is True
    assert lab.instances() == []


def test_an_instance_that_ends_while_it_starts_is_an_error_and_the_next_attempt_makes_another(lab: Ec2Lab) -> None:
    lab.server.set_pending(seconds=3600)

    def end(seconds: float) -> None:
        del seconds
        lab.client.terminate_instances(InstanceIds=[lab.only_instance()["InstanceId"]])

    own = lab.provider(sleep=end)
    with pytest.raises(TransientProviderError, match=r"ended while it started: .*User initiated shutdown"):
        own.create_vm(lab.pool, VM)
    lab.server.set_pending(seconds=0)
    assert own.create_vm(lab.pool, VM).ip


def test_of_two_instances_of_one_vm_the_oldest_stays(lab: Ec2Lab) -> None:
    """A subnet had no capacity for one call and had it for the next, and EC2 did not show the first one's instance."""
    own = lab.provider()
    for _ in range(2):
        lab.start(**OWN_TAGS)
    # EC2 counts whole seconds: of two of the same second, every caller has to choose the same one.
    oldest = min(lab.instances(), key=lambda one: (one["LaunchTime"], one["InstanceId"]))
    assert own.create_vm(lab.pool, VM).existed
    assert lab.only_instance()["InstanceId"] == oldest["InstanceId"]


def test_volumes_vanish_with_the_instance_even_if_the_image_keeps_them(lab: Ec2Lab) -> None:
    own = lab.provider()
    own.create_vm(lab.pool, VM)
    instance = lab.only_instance()
    keep: Any = {"DeviceName": instance["RootDeviceName"], "Ebs": {"DeleteOnTermination": False}}
    lab.client.modify_instance_attribute(InstanceId=instance["InstanceId"], BlockDeviceMappings=[keep])
    shared = lab.client.create_volume(AvailabilityZone=instance["Placement"]["AvailabilityZone"], Size=1)["VolumeId"]
    lab.client.attach_volume(InstanceId=instance["InstanceId"], VolumeId=shared, Device="/dev/sdf")
    assert own.destroy_vm(lab.pool, VM) is True
    assert [volume["VolumeId"] for volume in lab.volumes()] == [shared], "a volume that somebody attached stays"


def test_a_clone_costs_four_calls(lab: Ec2Lab) -> None:
    own = lab.provider()
    own.create_vm(lab.pool, VM)
    assert lab.server.calls() == ["DescribeInstances", "DescribeInstances", "RunInstances", "DescribeInstances"]
