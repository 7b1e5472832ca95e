"""The vCenter of the tests does what govmomi's simulator lacks."""

import ssl
from collections.abc import Iterator

import pytest
from pyVim.task import WaitForTask
from pyVmomi import SoapStubAdapter, vim, vmodl

from tests.support.vcenter_simulator import CLUSTER, DATACENTER, FOLDER, PASSWORD, TEMPLATE, USER, Vcenter

pytestmark = [pytest.mark.stage(name="providers"), pytest.mark.timeout(1200)]


@pytest.fixture
def content(vcenter: Vcenter) -> Iterator[vim.ServiceInstanceContent]:
    tls = ssl.create_default_context(cafile=str(vcenter.certificate_authority))
    stub = SoapStubAdapter("127.0.0.1", vcenter.port, version="vim.version.version9", sslContext=tls)
    found = vim.ServiceInstance("ServiceInstance", stub).RetrieveContent()
    found.sessionManager.Login(USER, PASSWORD)
    yield found
    found.sessionManager.Logout()
    stub.DropConnections()


def clone(content: vim.ServiceInstanceContent, name: str) -> vim.VirtualMachine:
    find = content.searchIndex.FindByInventoryPath
    template, folder = (find(f"{DATACENTER}/vm/{path}") for path in (TEMPLATE, FOLDER))
    pool = find(f"{DATACENTER}/host/{CLUSTER}").resourcePool
    spec = vim.vm.CloneSpec(
        location=vim.vm.RelocateSpec(pool=pool),
        powerOn=True,
        config=vim.vm.ConfigSpec(annotation="made by a test"),
    )
    task = template.CloneVM_Task(folder, name, spec)
    WaitForTask(task)
    return task.info.result


def test_a_clone_has_what_its_specification_says(content: vim.ServiceInstanceContent, vcenter: Vcenter) -> None:
    vm = clone(content, "first")
    assert (vm.config.annotation, vm.runtime.powerState) == ("made by a test", "poweredOn")
    with pytest.raises(vim.fault.DuplicateName):
        clone(content, "first")
    assert [known["name"] for known in vcenter.vms()] == ["first"]
    WaitForTask(vm.PowerOffVM_Task())
    WaitForTask(vm.Destroy_Task())
    assert vcenter.vms() == []


def test_sessions_end_when_the_test_says_so(content: vim.ServiceInstanceContent, vcenter: Vcenter) -> None:
    vcenter.expire_sessions()
    with pytest.raises(vim.fault.NotAuthenticated):
        content.searchIndex.FindByInventoryPath("DC0/vm")
    content.sessionManager.Login(USER, PASSWORD)
    assert content.searchIndex.FindByInventoryPath("DC0/vm") is not None


def test_calls_fail_as_the_test_says(content: vim.ServiceInstanceContent, vcenter: Vcenter) -> None:
    vcenter.fail("FindByInventoryPath", "HostCommunication", "A host does not answer.")
    with pytest.raises(vmodl.fault.HostCommunication, match="A host does not answer"):
        content.searchIndex.FindByInventoryPath("DC0/vm")
    assert content.searchIndex.FindByInventoryPath("DC0/vm") is not None
