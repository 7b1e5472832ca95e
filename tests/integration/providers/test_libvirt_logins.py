"""The provider for libvirt over ssh, with a real sshd, and with users that have the permissions of the document."""

import re
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import pytest

from tests.support.guide import fences
from tests.support.libvirt_guests import Hypervisor
from tests.support.libvirt_logins import Logins, hypervisor_with_logins
from tests.support.processes import ROOT
from vmpooler_tasks.errors import PermanentProviderError
from vmpooler_tasks.providers import PoolSpec, ProviderContext, registry

pytestmark = [pytest.mark.stage(name="guests"), pytest.mark.timeout(1200)]

TEMPLATE = "tiny"
POOL = PoolSpec(name="tiny", template=TEMPLATE)
VM = "brave-curie"

[RULES] = [
    block.text for block in fences((ROOT / "docs/providers/libvirt.md").read_text("utf-8")) if block.language == "js"
]
USER = "vmpooler"
NEEDED = re.findall(r'"([a-z-]+\.[a-z-]+)"', RULES)

NEEDED_TO_DESTROY = ("domain.stop", "storage-vol.delete", "domain.delete")
"""In this order."""

IMPATIENT: dict[str, Any] = {"address_seconds": 0.1}
"""For VMs of which nobody needs an address: their guests are still starting."""

TRIED_ONLY_BY_A_CHANGE = {*NEEDED_TO_DESTROY, "network-port.getattr", "network-port.read", "network-port.delete"}


def user_without(permission: str) -> str:
    return f"no-{permission}".replace(".", "-")


def rules_without(permission: str) -> str:
    """Return the rules of the document for another user, without this permission."""
    rules = re.sub(rf'"{re.escape(permission)}",?', "", RULES).replace(f'"{USER}"', f'"{user_without(permission)}"')
    return re.sub(r",(\s*)\]", r"\1]", rules)


@pytest.fixture(scope="module")
def logins(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Logins]:
    rules = {USER: RULES} | {user_without(permission): rules_without(permission) for permission in NEEDED}
    with hypervisor_with_logins(tmp_path_factory.mktemp("logins"), rules) as own, own.host.entered():
        own.host.add_network_and_storage()
        own.host.add_template(TEMPLATE)
        yield own


@pytest.fixture(scope="module")
def host(logins: Logins) -> Hypervisor:
    return logins.host


class Connected:
    """Providers, which are closed at the end."""

    def __init__(self, logins: Logins) -> None:
        self._logins, self._open = logins, list[Any]()

    def over_ssh(self, user: str = USER, *, key: str = "login", hosts: int = 1, **options: Any) -> Any:
        """Return a provider whose hosts are all the same one."""
        uris = {f"rack-{number}": self._logins.uri(user, key=key) for number in range(hosts)}
        own = {"hosts": uris, "cloud_init": True, "call_seconds": 120, "ready_seconds": 10, **options}
        context = ProviderContext(name="libvirt", options=own, redis_url="", installation="lab")
        self._open.append(registry.load(context))
        return self._open[-1]

    def close(self) -> None:
        for provider in self._open:
            provider.close()


@pytest.fixture
def connect(logins: Logins) -> Iterator[Connected]:
    own = Connected(logins)
    yield own
    own.close()


def test_the_document_lists_the_permissions_of_all_calls() -> None:
    table = import_module("vmpooler_tasks.providers.libvirt.errors.permissions").PERMISSIONS
    assert set(NEEDED) == {permission for needed in table.values() for permission in needed}


def test_a_vm_is_made_used_and_destroyed_over_ssh_with_the_permissions_of_the_document(
    host: Hypervisor, connect: Connected
) -> None:
    provider = connect.over_ssh()
    assert provider.find_problems([POOL]) == []
    made = provider.create_vm(POOL, VM)
    assert (made.hostname, made.host) == (VM, "rack-0")
    assert provider.is_ready(POOL, VM).error == ""
    assert provider.mark_vm(POOL, VM)
    assert provider.list_vms(POOL) == {VM: "lab"}
    provider.create_disk(POOL, VM, "data", 1)
    assert provider.has_disk(POOL, VM, "data")
    provider.create_snapshot(POOL, VM, "before")
    assert provider.has_snapshot(POOL, VM, "before")
    provider.revert_snapshot(POOL, VM, "before")
    assert provider.destroy_vm(POOL, VM)


def test_a_full_copy_is_made_over_ssh_and_is_based_on_nothing(host: Hypervisor, connect: Connected) -> None:
    provider = connect.over_ssh(create_linked_clone=False, **IMPATIENT)
    assert provider.find_problems([POOL]) == []
    assert not provider.create_vm(POOL, VM).existed
    assert provider.create_vm(POOL, VM).existed
    image = host.run("qemu-img", "info", "--force-share", f"/var/lib/libvirt/images/{VM}.vda.lab.qcow2")
    assert "backing file" not in image
    assert provider.destroy_vm(POOL, VM)
    ports = host.run("virsh", "net-port-list", "default").splitlines()[2:]
    assert [line for line in ports if line.strip()] == [], "a port of a VM ends with it"
    assert {path.name for path in host.images.iterdir()} == {f"{TEMPLATE}.qcow2"}


@pytest.mark.parametrize("permission", sorted(set(NEEDED) - TRIED_ONLY_BY_A_CHANGE))
def test_a_missing_permission_is_named(host: Hypervisor, connect: Connected, permission: str) -> None:
    provider = connect.over_ssh(user_without(permission), hosts=2)
    before = host.run("virsh", "dumpxml", TEMPLATE)
    texts = [problem.text for problem in provider.find_problems([POOL, PoolSpec(name="other", template=TEMPLATE)])]
    assert len(texts) == 2, texts
    for number, text in enumerate(texts):
        assert text.startswith(f"rack-{number}: "), texts
        assert set(re.findall(r"[a-z-]+\.[a-z-]+", text)) == {permission}, texts
    assert host.run("virsh", "dumpxml", TEMPLATE) == before
    assert host.run("virsh", "list", "--all", "--name").split() == [TEMPLATE], "nothing was made"
    assert {path.name for path in host.images.iterdir()} == {f"{TEMPLATE}.qcow2"}


def test_a_destruction_that_lacks_a_permission_names_it(host: Hypervisor, connect: Connected) -> None:
    connect.over_ssh(**IMPATIENT).create_vm(POOL, VM)
    for permission in NEEDED_TO_DESTROY:
        provider = connect.over_ssh(user_without(permission))
        assert provider.find_problems([POOL]) == [], permission
        with pytest.raises(PermanentProviderError, match=f"the login needs {permission} in libvirt's access control"):
            provider.destroy_vm(POOL, VM)
        assert list(provider.list_vms(POOL)) == [VM], "it is destroyed later"
    assert connect.over_ssh().destroy_vm(POOL, VM)
    assert {path.name for path in host.images.iterdir()} == {f"{TEMPLATE}.qcow2"}


def test_a_call_that_lacks_a_permission_names_it(host: Hypervisor, connect: Connected) -> None:
    for permission in ("domain.save", "domain.start", "storage-vol.create", "network-port.create", "network-port.read"):
        provider = connect.over_ssh(user_without(permission))
        with pytest.raises(PermanentProviderError, match=re.escape(permission)):
            provider.create_vm(POOL, VM)
        assert provider.list_vms(POOL) == {}, "what was made is removed"
    assert {path.name for path in host.images.iterdir()} == {f"{TEMPLATE}.qcow2"}


def test_a_key_that_is_refused_is_a_permanent_error(logins: Logins, connect: Connected) -> None:
    stranger = connect.over_ssh(key="stranger")
    with pytest.raises(PermanentProviderError, match=r"rack-0: .*Permission denied"):
        stranger.list_vms(POOL)
    [problem] = stranger.find_problems([POOL])
    assert "Permission denied (publickey)" in problem.text
    with logins.changed_host_key(), pytest.raises(PermanentProviderError, match="Host key verification failed"):
        connect.over_ssh().list_vms(POOL)
