"""What keeps the provider from working: `config check --online` and `doctor` show it. Nothing is changed."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import libvirt

from vmpooler_tasks.errors import PermanentProviderError, ProviderError
from vmpooler_tasks.providers.libvirt import definitions, domains, volumes
from vmpooler_tasks.providers.libvirt.connection import Host
from vmpooler_tasks.providers.libvirt.errors import permissions
from vmpooler_tasks.providers.libvirt.errors.faults import has_code
from vmpooler_tasks.providers.libvirt.hosts import Hosts
from vmpooler_tasks.providers.libvirt.options import EffectiveOptions, LibvirtOptions
from vmpooler_tasks.providers.protocol import PoolSpec, ProviderProblem


def find_problems(hosts: Hosts, options: LibvirtOptions, pools: Sequence[PoolSpec]) -> list[ProviderProblem]:
    """Return the problems of the hosts, and those of the pools on the hosts that reply."""
    problems, replying = [], set[str]()
    for host in hosts.all:
        try:
            host.call(lambda connection: connection.getLibVersion())
            replying.add(host.name)
        except ProviderError as error:
            problems.append(ProviderProblem(text=f"{error}. Check the URI, the login, and that libvirtd runs"))
    missing: dict[str, None] = {}  # the same permission is missing for many pools
    for pool in pools:
        try:
            effective = EffectiveOptions.of(options, pool)
            allowed = [host for host in hosts.allowed_for(pool) if host.name in replying]
        except PermanentProviderError as error:
            problems.append(ProviderProblem(text=str(error), pool=pool.name))
            continue
        permitted = []
        for host in allowed:
            found = _missing_permissions(host, effective, pool, several=len(hosts.all) > 1)
            missing |= dict.fromkeys(f"{host.name}: {text}" for text in found)
            permitted += [] if found else [host]
        texts = _problems_of_pool(permitted, effective, pool)
        problems += [ProviderProblem(text=text, pool=pool.name) for text in texts]
    return [*problems, *(ProviderProblem(text=text) for text in missing)]


def _missing_permissions(host: Host, options: EffectiveOptions, pool: PoolSpec, *, several: bool) -> list[str]:
    template, storage_pool = pool.template or "", options.storage_pool
    try:
        names = host.call(lambda connection: list(permissions.find_missing(connection, template, storage_pool)))
        if several and host.call(permissions.lacks_memory):
            names.append("connect.read")
    except ProviderError as error:
        return [str(error)]
    return [f"the login has no permission {name} in libvirt's access control" for name in names]


def _problems_of_pool(permitted: Sequence[Host], options: EffectiveOptions, pool: PoolSpec) -> Iterator[str]:
    if not pool.template:
        yield "the pool has no template: name a domain that is shut off"
        return
    missing = 0
    for host in permitted:
        try:
            found = host.call(lambda connection: list(_problems_on_host(connection, options, pool)))
        except ProviderError as error:
            yield str(error)
            continue
        if found == [NO_TEMPLATE]:
            missing += 1
        else:
            yield from (f"{host.name}: {text}" for text in found)
    if permitted and missing == len(permitted):
        names = ", ".join(host.name for host in permitted)
        yield f"template {pool.template} does not exist: no host ({names}) has a domain of this name"


NO_TEMPLATE = "no template"
"""One host without the template is no problem if another has it."""


def _problems_on_host(connection: Any, options: EffectiveOptions, pool: PoolSpec) -> Iterator[str]:
    """Yield the problems of the pool on one host. A step on it."""
    try:
        template = domains.find_template(connection, pool.template)
    except PermanentProviderError as error:
        yield str(error)
        template = domains.find_domain(connection, str(pool.template))
    if template is None:
        yield NO_TEMPLATE
        return
    definition = domains.definition_of(template)  # refused to a login that may only read
    yield from _refusal(lambda: _read_images(connection, template, definition, options))
    yield from _refusal(lambda: volumes.folder_of(connection, options.storage_pool))
    yield from _problems_of_storage(connection, options.storage_pool)
    for network in sorted(definitions.networks(definition)):
        yield from _problems_of_network(connection, network)


def _read_images(connection: Any, template: Any, definition: str, options: EffectiveOptions) -> None:
    for disk in definitions.own_disks(definition):
        if options.create_linked_clone:
            volumes.backing_of(connection, template, disk)
        else:
            volumes.copyable_image_of(connection, disk)


def _problems_of_storage(connection: Any, name: str) -> Iterator[str]:
    try:
        storage = connection.storagePoolLookupByName(name)
    except libvirt.libvirtError:
        return  # the caller has reported it
    if not storage.isActive():
        yield f"storage pool {name} is not active: virsh pool-start {name}"
    elif not storage.info()[3]:
        yield f"storage pool {name} has no free space"


def _problems_of_network(connection: Any, name: str) -> Iterator[str]:
    try:
        if not connection.networkLookupByName(name).isActive():
            yield f"network {name} is not active: virsh net-start {name}"
    except libvirt.libvirtError as error:
        if not has_code(error, libvirt.VIR_ERR_NO_NETWORK):
            raise
        yield str(error)


def _refusal(step: Callable[[], object]) -> Iterator[str]:
    """Yield why a step fails."""
    try:
        step()
    except (PermanentProviderError, libvirt.libvirtError) as error:
        yield str(error)
