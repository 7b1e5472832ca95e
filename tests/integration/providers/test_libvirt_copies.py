"""The provider for libvirt with full copies of the disks of a template, on libvirt's test driver."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.libvirt_hosts import (
    INSTALLATION,
    POOL,
    TEMPLATE,
    TEMPLATE_DEFINITION,
    TestHost,
    default_host,
    load,
    require_library,
)
from vmpooler_tasks.errors import PermanentProviderError
from vmpooler_tasks.providers import PoolSpec

pytestmark = [pytest.mark.stage(name="guests")]

VM = "brave-curie"


@pytest.fixture
def host() -> Iterator[TestHost]:
    require_library()
    with default_host() as own:
        yield own


def test_a_full_copy_is_based_on_nothing(host: TestHost) -> None:
    """`create_linked_clones` of `:config:` counts, then the section, then the pool."""
    pools = {
        copied: PoolSpec(name="debian", template=TEMPLATE, options={"create_linked_clone": not copied})
        for copied in (True, False)
    }
    sections: tuple[tuple[bool, dict[str, Any], PoolSpec, bool], ...] = (
        (True, {}, POOL, False),
        (False, {}, POOL, True),
        (True, {"create_linked_clone": False}, POOL, True),
        (True, {}, pools[True], True),
        (False, {}, pools[False], False),
        (False, {}, PoolSpec(name="debian", template=TEMPLATE, options={"create_linked_clone": None}), True),
    )
    for linked, options, pool, is_copied in sections:
        provider = load(config={"create_linked_clones": linked}, **options)
        provider.create_vm(pool, VM)
        volume = host.storage.storageVolLookupByName(f"{VM}.vda.{INSTALLATION}.qcow2")
        case = (linked, options, pool.options)
        assert ("backingStore" not in volume.XMLDesc()) is is_copied, case
        assert provider.destroy_vm(pool, VM), case
        assert host.volumes == [f"{TEMPLATE}.qcow2"], case
        provider.close()


def test_a_copy_that_was_cut_off_is_made_again_and_a_whole_one_is_kept(host: TestHost) -> None:
    """The metadata says whether the copies are whole. A file alone does not."""
    provider = load(create_linked_clone=False)
    provider.create_vm(POOL, VM)
    domain, name = host.connection.lookupByName(VM), f"{VM}.vda.{INSTALLATION}.qcow2"
    whole = host.storage.storageVolLookupByName(name).info()[1]
    for copied, expected in (("yes", 42), ("no", whole)):
        domain.destroy()
        host.storage.storageVolLookupByName(name).delete()
        host.add_volume(name, capacity=42)
        domain.setMetadata(2, metadata_of(domain, copied), "vmpooler", "urn:vmpooler-tasks:vm", 2)
        assert provider.create_vm(POOL, VM).existed
        assert host.storage.storageVolLookupByName(name).info()[1] == expected, copied
        assert 'copied="yes"' in metadata_of(domain).replace("'", '"')
    assert provider.mark_vm(POOL, VM), "a mark that is written again says the same"
    assert 'copied="yes"' in metadata_of(domain).replace("'", '"')
    assert provider.destroy_vm(POOL, VM)
    provider.close()


def metadata_of(domain: Any, copied: str = "yes") -> str:
    text = str(domain.metadata(2, "urn:vmpooler-tasks:vm"))
    return re.sub(r"""copied=["'](yes|no)["']""", f'copied="{copied}"', text)


def test_a_disk_in_no_storage_pool_cannot_be_copied(host: TestHost) -> None:
    host.connection.defineXML(TEMPLATE_DEFINITION.format(name="elsewhere", memory_mib=64).replace("/default-pool", ""))
    pool = PoolSpec(name="elsewhere", template="elsewhere", options={"create_linked_clone": False})
    provider = load()
    [problem] = provider.find_problems([pool])
    assert "disk vda of the template is in no storage pool that is active" in problem.text
    with pytest.raises(PermanentProviderError, match="disk vda of the template is in no storage pool that is active"):
        provider.create_vm(pool, VM)
    assert (VM in host.domains, host.volumes) == (False, [f"{TEMPLATE}.qcow2"])
    host.remove_domains(["elsewhere"])
    provider.close()
