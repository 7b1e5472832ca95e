"""When a VM is ready: by TCP, by EC2's status checks, or as soon as it runs."""

import socket

import pytest

from tests.support.ec2_lab import Ec2Lab
from tests.support.ports import free_port
from vmpooler_tasks.providers import Readiness

pytestmark = pytest.mark.stage(name="providers")

VM = "quick-fox"


def test_a_port_that_accepts_a_connection(lab: Ec2Lab) -> None:
    """The addresses of this network are this machine's own."""
    port = free_port()
    own = lab.provider(readiness="tcp", ready_port=port, subnets=lab.subnets(1, network="127.77.0.0/16"))
    address = own.create_vm(lab.pool, VM).ip
    refused = own.is_ready(lab.pool, VM)
    assert (refused.ready, refused.error_class) == (False, "ConnectionRefusedError")
    assert refused.error == f"port {port} accepts no connection: Connection refused"
    with socket.create_server((address or "", port)):
        assert own.is_ready(lab.pool, VM) == Readiness(True)


def test_the_status_checks(lab: Ec2Lab) -> None:
    own = lab.provider(readiness="status")
    own.create_vm(lab.pool, VM)
    assert own.is_ready(lab.pool, VM) == Readiness(True)


@pytest.mark.parametrize("readiness", ["tcp", "status", "running"])
def test_an_instance_that_does_not_run_is_not_ready(lab: Ec2Lab, readiness: str) -> None:
    own = lab.provider(readiness=readiness)
    own.create_vm(lab.pool, VM)
    lab.client.stop_instances(InstanceIds=[lab.only_instance()["InstanceId"]])
    assert own.is_ready(lab.pool, VM) == Readiness(False, "the instance is stopped")


def test_the_public_address(lab: Ec2Lab) -> None:
    [subnet] = lab.subnets(1)
    own = lab.provider(address="public", associate_public_ip=True, subnets=subnet, readiness="running")
    made = own.create_vm(lab.pool, VM)
    assert made.ip == lab.only_instance()["PublicIpAddress"]
    private = lab.provider(address="private")
    assert private.find_vm(lab.pool, VM) != made
