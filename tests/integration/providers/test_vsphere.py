"""What the vSphere provider does beyond the contract, on a vCenter simulator."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any
from uuid import uuid4

import pytest
from pyVmomi import vim

from tests.support.vcenter_simulator import CLUSTER, DATASTORE, FOLDER, PASSWORD, TEMPLATE, USER, Vcenter
from vmpooler_tasks.errors import (
    PermanentProviderError,
    ThrottledProviderError,
    TransientProviderError,
    VmNotFoundError,
)
from vmpooler_tasks.providers import MarkedVm, PoolSpec, ProviderContext
from vmpooler_tasks.providers.vsphere.options import VspherePool
from vmpooler_tasks.providers.vsphere.provider import Vsphere

pytestmark = [pytest.mark.stage(name="providers"), pytest.mark.timeout(1200)]

INSTALLATION = "tests"

Connect = Callable[..., Vsphere]


@pytest.fixture
def connect(vcenter: Vcenter) -> Iterator[Connect]:
    """Return a function that makes a provider; its options are added to those of the section."""
    with ExitStack() as stack:

        def made(installation: str = INSTALLATION, config: dict[str, Any] | None = None, **options: Any) -> Vsphere:
            section = {name: value for name, value in {**vcenter.options, **options}.items() if value is not None}
            own = Vsphere(
                ProviderContext(
                    name="vsphere", options=section, redis_url="", installation=installation, config=config or {}
                )
            )
            stack.callback(own.close)
            return own

        yield made
        for folder in (FOLDER, "Pooled VMs/other"):
            vcenter.empty(folder)


def pool(
    name: str = "small", *, template: str | None = TEMPLATE, target: str | None = CLUSTER, **options: Any
) -> PoolSpec:
    return PoolSpec(name=name, template=template, clone_target=target, options={"folder": FOLDER, **options})


def new_name() -> str:
    return f"vm-{uuid4().hex[:12]}"


def test_a_clone_has_the_mark_the_notes_of_vmpooler_and_its_host_name(connect: Connect, vcenter: Vcenter) -> None:
    vm = new_name()
    made = connect().create_vm(pool(snapshot_mainMem_iowait=0), vm)
    assert made.hostname == vm
    known = vcenter.vm(vm)
    notes = json.loads(known["annotation"])
    assert notes.pop("creation_timestamp").endswith(" UTC")
    assert notes == {
        "name": vm,
        "created_by": USER,
        "base_template": TEMPLATE,
        "pool": "small",
        "installation": INSTALLATION,
    }
    assert (known["extra"]["guestinfo.hostname"], known["extra"]["mainMem.iowait"]) == (vm, "0")
    assert known["power"] == "poweredOn"


def test_without_an_installation_nothing_is_marked(connect: Connect, vcenter: Vcenter) -> None:
    provider, vm = connect(installation=""), new_name()
    provider.create_vm(pool(), vm)
    assert set(json.loads(vcenter.vm(vm)["annotation"])) == {
        "name",
        "created_by",
        "base_template",
        "creation_timestamp",
    }
    assert provider.list_vms(pool()) == {vm: None}
    assert (provider.mark_vm(pool(), vm), provider.list_marked()) == (True, [])


@pytest.mark.parametrize(
    ("config", "option", "is_linked"),
    [({}, None, True), ({"create_linked_clones": False}, None, False), ({}, False, False), ({}, True, True)],
)
def test_clones_are_linked_or_full(
    connect: Connect, vcenter: Vcenter, config: dict[str, Any], option: bool | None, is_linked: bool
) -> None:
    vm = new_name()
    connect(config=config).create_vm(pool(create_linked_clone=option), vm)
    assert [disk["has_parent"] for disk in vcenter.vm(vm)["disks"]] == [is_linked]


def test_a_persons_notes_are_kept_when_a_vm_gets_the_mark(connect: Connect, vcenter: Vcenter) -> None:
    provider, vm = connect(), new_name()
    vcenter.add([vm], annotation="Ask Ann first")
    assert provider.list_vms(pool()) == {vm: None}
    assert provider.mark_vm(pool(), vm)
    assert provider.list_vms(pool()) == {vm: INSTALLATION}
    assert json.loads(vcenter.vm(vm)["annotation"])["notes"] == "Ask Ann first"
    assert provider.list_marked() == [MarkedVm(name=vm, pool="small")]
    assert provider.destroy_marked(MarkedVm(name=vm, pool="small"))
    assert provider.list_vms(pool()) == {}


def test_the_user_is_in_the_notes_and_they_keep_what_they_said(connect: Connect, vcenter: Vcenter) -> None:
    provider, made, persons = connect(), new_name(), new_name()
    provider.create_vm(pool(), made)
    vcenter.add([persons], annotation="Ask Ann first")
    before = json.loads(vcenter.vm(made)["annotation"])
    assert [provider.tag_vm_user(pool(), vm, "jane") for vm in (made, persons)] == [True, True]
    assert json.loads(vcenter.vm(made)["annotation"]) == {**before, "token-user": "jane"}
    assert json.loads(vcenter.vm(persons)["annotation"]) == {"notes": "Ask Ann first", "token-user": "jane"}
    assert provider.mark_vm(pool(), persons)
    assert json.loads(vcenter.vm(persons)["annotation"])["token-user"] == "jane"


def test_a_copy_of_a_vm_has_no_mark(connect: Connect, vcenter: Vcenter) -> None:
    """vCenter copies the notes of a VM that a person clones."""
    provider, vm, copy = connect(), new_name(), new_name()
    provider.create_vm(pool(), vm)
    vcenter.add([copy], annotation=vcenter.vm(vm)["annotation"])
    assert provider.list_vms(pool()) == {vm: INSTALLATION, copy: None}
    assert provider.list_marked() == [MarkedVm(name=vm, pool="small")]
    assert not provider.destroy_marked(MarkedVm(name=copy, pool="small"))
    assert provider.mark_vm(pool(), copy)
    assert provider.list_vms(pool()) == {vm: INSTALLATION, copy: INSTALLATION}
    for name in (vm, copy):
        assert provider.destroy_vm(pool(), name)


def test_a_vm_of_another_installation_is_neither_marked_nor_destroyed_nor_overwritten(connect: Connect) -> None:
    theirs, ours, vm = connect(installation="theirs"), connect(), new_name()
    theirs.create_vm(pool(), vm)
    for refused in (ours.mark_vm, ours.destroy_vm):
        with pytest.raises(PermanentProviderError, match="the mark of another installation: theirs"):
            refused(pool(), vm)
    with pytest.raises(PermanentProviderError, match="the mark of another installation: theirs"):
        ours.tag_vm_user(pool(), vm, "jane")
    assert ours.create_vm(pool(), vm).existed
    assert ours.list_vms(pool()) == {vm: "theirs"}
    assert ours.list_marked() == []
    assert not ours.destroy_marked(MarkedVm(name=vm, pool="small"))
    assert theirs.destroy_vm(pool(), vm)


def test_a_template_is_no_vm_of_a_pool_and_is_not_destroyed(connect: Connect, vcenter: Vcenter) -> None:
    provider, vm = connect(), new_name()
    vcenter.add([vm])
    vcenter.change(f"/DC0/vm/{FOLDER}/{vm}", config__template=True)
    assert provider.list_vms(pool()) == {}
    with pytest.raises(PermanentProviderError, match="it is a template"):
        provider.destroy_vm(pool(), vm)
    vcenter.change(f"/DC0/vm/{FOLDER}/{vm}", config__template=False)


def test_an_expired_session_is_renewed_once_and_the_call_repeated(connect: Connect, vcenter: Vcenter) -> None:
    provider, vm = connect(), new_name()
    provider.create_vm(pool(), vm)
    vcenter.forget_calls()
    vcenter.expire_sessions()
    with ThreadPoolExecutor(16) as threads:
        found = list(threads.map(lambda _: provider.find_vm(pool(), vm), range(64)))
    assert all(each is not None and each.name == vm for each in found)
    assert vcenter.calls()["Login"] == 1


def test_a_login_that_hangs_keeps_no_thread_for_longer_than_its_own_time(connect: Connect, vcenter: Vcenter) -> None:
    provider = connect(call_timeout_seconds=1)
    vcenter.configure(latency_seconds=600)
    with ThreadPoolExecutor(32) as threads:
        failures = list(threads.map(lambda _: failure(lambda: provider.list_vms(pool())), range(32)))
    assert all(isinstance(error, TransientProviderError) for error in failures)
    assert vcenter.calls()["RetrieveServiceContent"] < 32, "those that waited share the failure"


def test_each_clone_is_one_call_and_all_wait_with_the_same_calls(connect: Connect, vcenter: Vcenter) -> None:
    provider, names = connect(), [new_name() for _ in range(100)]
    provider.create_vm(pool(), new_name())  # everything that the pool names is known from here
    vcenter.configure(clone_seconds=2.0, guest_seconds=1.0)
    vcenter.forget_calls()
    with ThreadPoolExecutor(100) as threads:
        made = list(threads.map(lambda vm: provider.create_vm(pool(), vm), names))
    assert all(machine.ip for machine in made)
    calls = dict(vcenter.calls())
    assert calls.pop("CloneVM_Task") == len(names)
    assert set(calls) == {"RetrievePropertiesEx"}
    assert calls["RetrievePropertiesEx"] < 2 * len(names), "less than two for each clone, however slow the machine is"


def test_an_inventory_is_read_in_pages_and_starts_again_if_the_session_ends(connect: Connect, vcenter: Vcenter) -> None:
    provider, names = connect(), [new_name() for _ in range(25)]
    vcenter.add(names)
    vcenter.configure(max_page=10)
    vcenter.forget_calls()
    assert provider.list_vms(pool()) == dict.fromkeys(names)
    calls = vcenter.calls()
    assert calls["ContinueRetrievePropertiesEx"] == 2
    vcenter.configure(
        max_page=10, faults=[{"method": "ContinueRetrievePropertiesEx", "name": "NotAuthenticated", "count": 1}]
    )
    assert provider.list_vms(pool()) == dict.fromkeys(names)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("InvalidDatastore", TransientProviderError),
        ("InvalidArgument", PermanentProviderError),
        ("NotSupported", PermanentProviderError),
        ("NoDiskSpace", TransientProviderError),
        ("InsufficientResourcesFault", TransientProviderError),
        ("ConcurrentAccess", TransientProviderError),
        ("HostCommunication", TransientProviderError),
        ("SystemError", TransientProviderError),
        ("LimitExceeded", ThrottledProviderError),
        ("TooManyConcurrentNativeClones", ThrottledProviderError),
    ],
)
@pytest.mark.parametrize("in_task", [False, True])
def test_a_fault_keeps_its_words_and_loses_the_vms_name(
    connect: Connect, vcenter: Vcenter, fault: str, error: type[Exception], in_task: bool
) -> None:
    provider, vm = connect(), new_name()
    vcenter.fail("CloneVM_Task", fault, f"The words of {vm}.", in_task=in_task)
    raised = failure(lambda: provider.create_vm(pool(), vm))
    assert isinstance(raised, error)
    assert str(raised) == f"{fault}: The words of VM."


def test_a_wrong_password_is_a_permanent_error_without_the_password(connect: Connect) -> None:
    provider = connect(password="wrong-s3cret")
    raised = failure(lambda: provider.list_vms(pool()))
    assert isinstance(raised, PermanentProviderError)
    assert "InvalidLogin" in str(raised)
    assert "s3cret" not in repr(raised)
    [problem] = provider.find_problems([pool()])
    assert problem.text.startswith("the login fails: InvalidLogin")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # pyVmomi leaves that socket open
def test_a_certificate_is_verified_unless_the_section_is_insecure(connect: Connect) -> None:
    with pytest.raises(PermanentProviderError, match="certificate cannot be verified"):
        connect(ca_file=None).list_vms(pool())
    assert connect(ca_file=None, insecure=True).list_vms(pool()) == {}


def test_a_password_comes_from_a_file_or_a_variable(
    connect: Connect, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "password"
    file.write_text(f"{PASSWORD}\n")
    assert connect(password=None, password_file=str(file)).list_vms(pool()) == {}
    monkeypatch.setenv("VCENTER_PASSWORD", PASSWORD)
    assert connect(password=None, password_variable="VCENTER_PASSWORD").list_vms(pool()) == {}
    with pytest.raises(PermanentProviderError, match="UNSET_FOR_TESTS is not set"):
        connect(password=None, password_variable="UNSET_FOR_TESTS").list_vms(pool())


def test_all_problems_are_found_at_once_and_nothing_is_changed(connect: Connect, vcenter: Vcenter) -> None:
    provider = connect()
    wrong = pool("wrong", template="Templates/gone", target="no-cluster", datastore="no-store", network="no-net")
    nowhere = PoolSpec(name="nowhere", template=TEMPLATE, clone_target=CLUSTER)
    assert provider.find_problems([pool(datastore=DATASTORE)]) == []
    found = provider.find_problems([wrong, nowhere])
    assert [problem.pool for problem in found] == ["wrong"] * 4 + ["nowhere"]
    texts = " | ".join(problem.text for problem in found)
    for word in (
        "template Templates/gone",
        "clone_target no-cluster",
        "datastore no-store",
        "network no-net",
        "folder",
    ):
        assert word in texts
    assert vcenter.vms() == []


@pytest.mark.parametrize(
    "privilege",
    [
        "VirtualMachine.Inventory.CreateFromExisting",
        "VirtualMachine.Inventory.Delete",
        "VirtualMachine.Interact.PowerOff",
        "VirtualMachine.State.CreateSnapshot",
        "Resource.AssignVMToPool",
        "Datastore.AllocateSpace",
    ],
)
def test_each_missing_privilege_is_named(connect: Connect, vcenter: Vcenter, privilege: str) -> None:
    vcenter.configure(revoked_privileges=[privilege])
    [problem] = connect().find_problems([pool(datastore=DATASTORE)])
    assert problem.text.startswith("the login lacks privileges on ")
    assert problem.text.endswith(f": {privilege}")


def test_a_refused_clone_names_the_privilege(connect: Connect, vcenter: Vcenter) -> None:
    vcenter.configure(revoked_privileges=["Resource.AssignVMToPool"])
    with pytest.raises(PermanentProviderError, match=r"Missing privilege: Resource\.AssignVMToPool"):
        connect().create_vm(pool(), new_name())


def test_folders_are_made_if_the_configuration_says_so(connect: Connect, vcenter: Vcenter) -> None:
    folder = f"New {new_name()}/deep"
    with pytest.raises(PermanentProviderError, match="does not exist"):
        connect().list_vms(pool(folder=folder))
    provider = connect(config={"create_folders": True})
    assert provider.list_vms(pool(folder=folder)) == {}
    vm = new_name()
    provider.create_vm(pool(folder=folder), vm)
    assert [known["name"] for known in vcenter.vms(folder)] == [vm]
    assert provider.destroy_vm(pool(folder=folder), vm)


def test_hosts_above_the_limit_get_no_clones(connect: Connect, vcenter: Vcenter) -> None:
    hosts = [f"{CLUSTER}_H{number}" for number in range(3)]
    for host, megahertz in zip(hosts, (4000, 10, 30), strict=True):
        vcenter.change(f"/DC0/host/{CLUSTER}/{host}", summary__quickStats__overallCpuUsage=megahertz)
    provider = connect(config={"manage_host_selection": True})
    names = [new_name() for _ in range(4)]
    for vm in names:
        provider.create_vm(pool(), vm)
    assert {vcenter.vm(vm)["host"] for vm in names} == set(hosts[1:])
    strict = connect(config={"manage_host_selection": True, "utilization_limit": 0.01})
    with pytest.raises(TransientProviderError, match=r"above 0\.01 % of its CPU or memory"):
        strict.create_vm(pool(), new_name())


def test_a_disk_of_somebody_else_survives_the_vm_to_which_it_was_attached(connect: Connect, vcenter: Vcenter) -> None:
    provider, vm, other = connect(), new_name(), new_name()
    for name in (vm, other):
        provider.create_vm(pool(), name)
    provider.create_disk(pool(), other, "data", 2)
    attach(provider, vm, f"[{DATASTORE}] {other}/data.vmdk")
    vcenter.forget_calls()
    before = {file for file in vcenter.files() if f"/{other}/" in file}
    assert provider.destroy_vm(pool(), vm)
    assert {file for file in vcenter.files() if f"/{other}/" in file} == before
    assert provider.has_disk(pool(), other, "data")
    assert vcenter.calls()["ReconfigVM_Task"] == 1, "the disk was detached first"


def test_a_disk_of_a_missing_vm_is_not_found(connect: Connect) -> None:
    with pytest.raises(VmNotFoundError, match="the VM does not exist"):
        connect().has_disk(pool(), new_name(), "data")


def attach(provider: Vsphere, vm: str, file: str) -> None:
    """Attach a disk that exists already, as a person does."""
    found = provider._machines.require(VspherePool.of(pool()), vm, ["config.hardware.device"])
    [controller] = [
        each
        for each in found.require("config.hardware.device")
        if isinstance(each, vim.vm.device.VirtualSCSIController)
    ]
    backing = vim.vm.device.VirtualDisk.FlatVer2BackingInfo(fileName=file, diskMode="independent_persistent")
    disk = vim.vm.device.VirtualDisk(key=-1, controllerKey=controller.key, unitNumber=9, backing=backing)
    change = vim.vm.device.VirtualDeviceSpec(operation="add", device=disk)
    provider._machines.run(found.ref, "ReconfigVM_Task", vim.vm.ConfigSpec(deviceChange=[change]))


def failure(call: Callable[[], object]) -> Exception:
    try:
        call()
    except Exception as error:  # noqa: BLE001 - the test looks at it
        return error
    raise AssertionError("it did not fail")
