"""What `config check --online` finds: login, privileges, and what each pool names. It changes nothing."""

import json
import re
from typing import Any

import pytest

from tests.support.ec2_lab import Ec2Lab
from tests.support.moto_server import IMAGE
from tests.support.processes import ROOT
from vmpooler_tasks.errors import TransientProviderError
from vmpooler_tasks.providers import PoolSpec, ProviderProblem
from vmpooler_tasks.providers.ec2.provider import Ec2

pytestmark = [pytest.mark.stage(name="providers"), pytest.mark.timeout(600)]

VM = "quick-fox"
WRITES = {"RunInstances", "TerminateInstances", "CreateTags", "CreateVolume", "AttachVolume", "DeleteVolume"}


def documented_policy() -> dict[str, Any]:
    text = (ROOT / "docs/providers/ec2.md").read_text(encoding="utf-8")
    (found,) = re.findall(r"```json\n(.*?)```", text, re.DOTALL)
    policy: dict[str, Any] = json.loads(found)
    return policy


def permitted() -> list[str]:
    return sorted(action for statement in documented_policy()["Statement"] for action in statement["Action"])


def policy_of(actions: list[str]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": actions, "Resource": "*"}]}


def texts(found: Any) -> list[str]:
    return [problem.text for problem in found]


def do_everything(lab: Ec2Lab, own: Ec2) -> None:
    """Call each method, with each option that needs a call of its own."""
    pool = lab.spec(readiness="status", volume_size=9)
    own.create_vm(pool, VM)
    assert own.is_ready(pool, VM).ready
    assert own.find_vm(pool, VM)
    own.create_disk(pool, VM, "first", 1)
    assert own.has_disk(pool, VM, "first")
    assert set(own.list_vms(pool)) == {VM}
    assert own.mark_vm(pool, VM)
    assert own.list_marked()
    assert own.destroy_vm(pool, VM)


def test_nothing_is_wrong_and_nothing_is_changed(lab: Ec2Lab) -> None:
    [subnet] = lab.subnets(1)
    lab.client.create_key_pair(KeyName="ops")
    own = lab.provider(subnets=subnet, key_name="ops")
    lab.server.reset_calls()
    assert own.find_problems([lab.pool]) == []
    assert not WRITES & set(lab.server.calls())
    assert lab.instances() == lab.volumes() == []


def test_each_wrong_name_is_a_problem_of_its_pool(lab: Ec2Lab) -> None:
    own = lab.provider()
    pools = [
        PoolSpec(name="image", template="ami-0123456789abcdef0"),
        PoolSpec(name="subnet", template=IMAGE, options={"subnets": ["subnet-00000000"]}),
        PoolSpec(name="group", template=IMAGE, options={"security_groups": "sg-00000000"}),
        PoolSpec(name="key", template=IMAGE, options={"key_name": "lost"}),
        PoolSpec(name="zone", template=IMAGE, options={"zone": "us-east-1z"}),
        PoolSpec(name="type", template=IMAGE, options={"amisize": "t3.enormous"}),
        PoolSpec(name="none"),
        PoolSpec(name="options", template=IMAGE, options={"volume_size": "large", "readiness": "soon"}),
        PoolSpec(name="data", template=IMAGE, options={"user_data_file": "/no/such/file"}),
        PoolSpec(name="good", template=IMAGE),
    ]
    found = own.find_problems(pools)
    words = {
        "image": "template: InvalidAMIID.NotFound",
        "subnet": "subnets: InvalidSubnetID.NotFound",
        "group": "security_groups: InvalidGroup.NotFound",
        "key": "key_name: InvalidKeyPair.NotFound",
        "zone": "zone: there is no such availability zone",
        "none": "pool none has no template",
        "options": "volume_size: must be a valid integer",
        "data": "user_data_file /no/such/file cannot be read: No such file or directory",
    }
    for pool, text in words.items():
        assert any(text in problem.text for problem in found if problem.pool == pool), (pool, found)
    assert not [problem for problem in found if problem.pool == "good"]


def test_a_subnet_without_addresses(lab: Ec2Lab) -> None:
    vpc = lab.client.create_vpc(CidrBlock="10.9.0.0/28")["Vpc"]["VpcId"]
    subnet = lab.client.create_subnet(VpcId=vpc, CidrBlock="10.9.0.0/28")["Subnet"]["SubnetId"]
    own = lab.provider(subnets=subnet)
    for number in range(11):
        own.create_vm(lab.pool, f"vm-{number}")
    assert texts(own.find_problems([lab.pool])) == [f"subnets: {subnet} has no free address"]


def test_the_documented_policy_is_enough_and_each_of_its_privileges_is_named_when_it_is_missing(
    lab: Ec2Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.server.set_quota("L-1216C47A", 1000)
    lab.client.create_key_pair(KeyName="ops")
    [subnet] = lab.subnets(1)
    template = lab.client.create_launch_template(LaunchTemplateName="t", LaunchTemplateData={"ImageId": IMAGE})
    pools = [
        lab.spec(readiness="status", size=1, key_name="ops", subnets=subnet, security_groups="sg-1"),
        PoolSpec(name="other", template=IMAGE, options={"zone": "us-east-1a", "size": 1}),
        lab.spec(template=template["LaunchTemplate"]["LaunchTemplateId"], volume_size=9),
    ]
    for name, value in lab.user_with(policy_of(permitted())).items():
        monkeypatch.setenv(name, value)
    own = lab.provider()
    do_everything(lab, own)
    assert not [text for text in texts(own.find_problems(pools)) if "privilege" in text]
    for action in permitted():
        lab.set_policy(policy_of([other for other in permitted() if other != action]))
        named = [text for text in texts(own.find_problems(pools)) if text.startswith("missing privilege ")]
        assert [text.split()[2] for text in named] == [action], action


def test_a_missing_privilege_is_a_permanent_error_with_its_name(lab: Ec2Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    allowed = [action for action in permitted() if action != "ec2:RunInstances"]
    for name, value in lab.user_with(policy_of(allowed)).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(Exception, match="ec2:RunInstances"):
        lab.provider().create_vm(lab.pool, VM)


def test_a_login_that_ec2_does_not_accept(lab: Ec2Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.user_with(policy_of(permitted()))
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cret")
    [problem] = lab.provider().find_problems([lab.pool, PoolSpec(name="none")])
    assert problem.text.startswith("EC2 does not accept the login: AuthFailure: ")
    assert "s3cret" not in problem.text


def test_no_login(lab: Ec2Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    [problem] = lab.provider().find_problems([lab.pool])
    assert problem.text.startswith("there are no AWS credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")


def test_ec2_cannot_be_reached(lab: Ec2Lab) -> None:
    own = lab.provider(endpoint_url="http://127.0.0.1:9", max_attempts=1)
    with pytest.raises(TransientProviderError):
        own.find_problems([lab.pool])


def test_a_quota_that_is_too_small_for_the_pools(lab: Ec2Lab) -> None:
    lab.server.set_quota("L-1216C47A", 7)
    own = lab.provider(amisize="t3.small")
    assert own.find_problems([lab.spec(size=3)]) == []
    assert own.find_problems([lab.spec(size=3), PoolSpec(name="b", template=IMAGE, options={"size": 1})]) == [
        ProviderProblem(
            text="the pools need 8 vCPUs of standard on-demand instances, and the quota L-1216C47A allows 7: "
            "ask AWS to raise it, or make the pools smaller"
        )
    ]
    assert own.find_problems([lab.spec(size=100, spot=True)]) == [], "the quota of spot instances is not known"
