"""EC2's errors become the kinds of this project, with EC2's own words, and every call ends."""

from typing import Any

import pytest

from tests.support.ec2_lab import Ec2Lab
from vmpooler_tasks.errors import (
    PermanentProviderError,
    ProviderError,
    ThrottledProviderError,
    TransientProviderError,
    VmNotFoundError,
)

pytestmark = pytest.mark.stage(name="providers")

VM = "quick-fox"


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("RequestLimitExceeded", 503, ThrottledProviderError),
        ("Throttling", 400, ThrottledProviderError),
        ("VcpuLimitExceeded", 400, TransientProviderError),
        ("InstanceLimitExceeded", 400, TransientProviderError),
        ("MaxSpotInstanceCountExceeded", 400, TransientProviderError),
        ("InternalError", 500, TransientProviderError),
        ("Unavailable", 503, TransientProviderError),
        ("Server.InternalError", 400, TransientProviderError),
        ("UnauthorizedOperation", 403, PermanentProviderError),
        ("AuthFailure", 401, PermanentProviderError),
        ("InvalidAMIID.NotFound", 400, PermanentProviderError),
        ("InvalidKeyPair.NotFound", 400, PermanentProviderError),
        ("InvalidParameterValue", 400, PermanentProviderError),
        ("SomethingNew", 400, PermanentProviderError),
    ],
)
def test_each_code_has_its_kind(lab: Ec2Lab, code: str, status: int, kind: type[ProviderError]) -> None:
    own = lab.provider(max_attempts=1)
    lab.server.fail({"action": "RunInstances", "code": code, "status": status, "message": "as\n  EC2 says it"})
    with pytest.raises(kind) as caught:
        own.create_vm(lab.pool, VM)
    assert type(caught.value) is kind
    assert str(caught.value) == f"{code.removeprefix('Server.')}: as EC2 says it"
    assert lab.instances() == []


@pytest.mark.parametrize(
    "fault",
    [
        {"cut": "before"},
        {"seconds": 30},
        {"code": "garbled"},
        {"code": "InternalError", "status": 500},
    ],
    ids=["cut", "hangs", "garbled", "fails"],
)
def test_a_call_without_a_reply_is_transient_and_bounded(lab: Ec2Lab, fault: dict[str, Any]) -> None:
    own = lab.provider(max_attempts=1, read_timeout_seconds=0.3)
    lab.server.fail({"action": "*", **fault})
    for call in (
        lambda: own.list_vms(lab.pool),
        lambda: own.find_vm(lab.pool, VM),
        lambda: own.create_vm(lab.pool, VM),
        lambda: own.is_ready(lab.pool, VM),
        lambda: own.destroy_vm(lab.pool, VM),
        lambda: own.mark_vm(lab.pool, VM),
        own.list_marked,
        lambda: own.create_disk(lab.pool, VM, "first", 1),
    ):
        with pytest.raises(TransientProviderError):
            call()


def test_nobody_listens(lab: Ec2Lab) -> None:
    own = lab.provider(endpoint_url="http://127.0.0.1:9", max_attempts=1)
    with pytest.raises(TransientProviderError, match="Could not connect"):
        own.list_vms(lab.pool)


def test_the_sdk_repeats_a_throttled_call_as_often_as_configured(lab: Ec2Lab) -> None:
    own = lab.provider(max_attempts=2, retry_mode="adaptive")
    lab.server.fail({"action": "DescribeInstances", "code": "RequestLimitExceeded", "status": 503, "times": 1})
    assert own.list_vms(lab.pool) == {}
    lab.server.reset_calls()
    lab.server.fail({"action": "DescribeInstances", "code": "RequestLimitExceeded", "status": 503})
    with pytest.raises(ThrottledProviderError):
        own.list_vms(lab.pool)
    assert lab.server.calls() == ["DescribeVolumes", *["DescribeInstances"] * 2]


def test_a_refusal_has_nothing_that_differs_each_time(lab: Ec2Lab) -> None:
    own = lab.provider()
    text = "You are not authorized to perform this operation. Encoded authorization failure message: 8Yk3_long-BLOB"
    lab.server.fail({"action": "RunInstances", "code": "UnauthorizedOperation", "message": text, "status": 403})
    with pytest.raises(PermanentProviderError) as caught:
        own.create_vm(lab.pool, VM)
    assert str(caught.value) == "UnauthorizedOperation: You are not authorized to perform this operation."


def test_a_page_that_fails_fails_the_inventory(lab: Ec2Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vmpooler_tasks.providers.ec2.instances.INSTANCES_PAGE_SIZE", 5)
    own = lab.provider(max_attempts=1)
    for number in range(7):
        lab.start(vm_name=f"vm-{number}", pool=lab.pool.name)
    lab.server.fail({"action": "DescribeInstances", "code": "InternalError", "status": 500, "where": "NextToken"})
    with pytest.raises(TransientProviderError):
        own.list_vms(lab.pool)


def test_a_vm_that_is_not_there_has_no_disks(lab: Ec2Lab) -> None:
    own = lab.provider()
    with pytest.raises(VmNotFoundError, match="the VM does not exist"):
        own.has_disk(lab.pool, VM, "first")


def test_wrong_options_of_a_pool_are_named_together_and_without_their_values(lab: Ec2Lab) -> None:
    own = lab.provider()
    with pytest.raises(PermanentProviderError) as caught:
        own.create_vm(lab.spec(volume_size="s3cret", readiness="s3cret", start_seconds=-1), VM)
    assert all(option in str(caught.value) for option in ("volume_size", "readiness", "start_seconds"))
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("text", ["x" * 16_385, "é" * 8_193])
def test_user_data_that_is_too_long_for_ec2(lab: Ec2Lab, text: str) -> None:
    own = lab.provider(user_data=text)
    with pytest.raises(PermanentProviderError, match="user_data has more than 16384 bytes"):
        own.create_vm(lab.pool, VM)
