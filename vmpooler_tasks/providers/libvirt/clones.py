"""How a VM is made from its template, and how a VM that was half made is completed."""

from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

import libvirt

from vmpooler_tasks.errors import PermanentProviderError, ProviderError, TransientProviderError
from vmpooler_tasks.providers.libvirt import definitions, domains, volumes
from vmpooler_tasks.providers.libvirt.connection import Host
from vmpooler_tasks.providers.libvirt.definitions import Disk, Mark, Volume
from vmpooler_tasks.providers.libvirt.errors.faults import has_code
from vmpooler_tasks.providers.libvirt.hosts import Hosts
from vmpooler_tasks.providers.libvirt.options import EffectiveOptions, LibvirtOptions
from vmpooler_tasks.providers.protocol import PoolSpec


class Clone:
    """A VM to make. A full copy of a disk may take so many seconds."""

    def __init__(self, pool: PoolSpec, vm: str, installation: str, options: LibvirtOptions) -> None:
        self._pool, self._vm, self._installation = pool, vm, installation
        self._options, self._copy_seconds = EffectiveOptions.of(options, pool), options.copy_seconds

    def make(self, hosts: Hosts) -> Host:
        """Make the VM on the host with the most free memory among those that have the template. Return this host.

        Raise PermanentProviderError if no host has it. Remove what was made if it cannot be completed.
        """
        known = [(host, self._read_template(host)) for host in hosts.allowed_for(self._pool)]
        usable = {host.name: template for host, template in known if template}
        if not usable:
            template = self._pool.template
            raise PermanentProviderError(
                f"template {template} does not exist: no host has a domain of this name"
                if template
                else f"pool {self._pool.name} has no template"
            )
        memory_kib = max(map(definitions.memory_kib, usable.values()))
        with hosts.reserve([host for host, template in known if template], memory_kib) as host:
            host.change(self._define, vm=self._vm)
            try:
                self.complete(host, copies=not self._options.create_linked_clone)
            except PermanentProviderError:
                with suppress(ProviderError):  # the first error says more; the VM has a mark, and is destroyed later
                    host.change(self._remove, vm=self._vm)
                raise
        return host

    def complete(self, host: Host, *, copies: bool) -> None:
        """Make the volumes that are still missing, and start the domain. With `copies`, copy the template's disks.

        Each full copy is a step of its own. If it takes too long, it goes on alone, and nothing follows it.
        """
        if copies:
            for disk in host.call(self._read_disks, vm=self._vm):
                host.call(partial(self._copy, disk), vm=self._vm, seconds=self._copy_seconds)
        host.change(self._finish, vm=self._vm)

    def _read_disks(self, connection: Any) -> list[Disk]:
        return definitions.own_disks(domains.definition_of(self._require_template(connection)))

    def _copy(self, disk: Disk, connection: Any) -> None:
        """Copy a disk of the template in full. A step on the host of the domain.

        A copy that was cut off has the size of a whole one, so it is made again. libvirt refuses to delete it while it
        is still being made.
        """
        domain, volume = connection.lookupByName(self._vm), self._volume(disk.target)
        mark = domains.read_mark(domain)
        if domain.isActive() or mark is None or mark.copied or volume not in mark.volumes:
            return
        self._require_template(connection)
        volumes.delete_volume(connection, volume)
        volumes.copy_volume(connection, volume, disk)

    def _finish(self, connection: Any) -> None:
        """Make the images of a linked clone, or mark the copies as whole, and start the domain. A step on its host."""
        domain = connection.lookupByName(self._vm)
        if domain.isActive():
            return
        template, mark = self._require_template(connection), domains.read_mark(domain)
        if mark is None:
            raise TransientProviderError("the mark of the VM is gone")
        if mark.copied is None:
            self._make_images(connection, template, mark)
        elif not mark.copied:
            domains.write_mark(domain, replace(mark, copied=True))
        self._start(connection, domain, mark)

    def _make_images(self, connection: Any, template: Any, mark: Mark) -> None:
        for disk in definitions.own_disks(domains.definition_of(template)):
            volume = self._volume(disk.target)
            if volume in mark.volumes:
                backing = volumes.backing_of(connection, template, disk)
                volumes.make_volume(connection, volume, backing.capacity_bytes, backing)

    def _require_template(self, connection: Any) -> Any:
        template = domains.find_template(connection, self._pool.template)
        if template is None:
            raise PermanentProviderError(f"template {self._pool.template} does not exist any more")
        return template

    def _start(self, connection: Any, domain: Any, mark: Mark) -> None:
        """Start the domain. If it was destroyed meanwhile, delete the volumes, which no mark lists any more."""
        try:
            domains.start(domain)
        except libvirt.libvirtError as error:
            if not has_code(error, libvirt.VIR_ERR_NO_DOMAIN):
                raise
            if domains.find_domain(connection, self._vm) is None:  # else another one has the name and the volumes
                for volume in mark.volumes:
                    volumes.delete_volume(connection, volume)
            raise TransientProviderError("the VM was destroyed while it was made") from error

    def _read_template(self, host: Host) -> str | None:
        """Return the definition of the template on this host; None if the host does not have it."""

        def read(connection: Any) -> str | None:
            template = domains.find_template(connection, self._pool.template)
            return None if template is None else domains.definition_of(template)

        return host.call(read)

    def _define(self, connection: Any) -> None:
        """Define the domain, with a mark that lists the volumes that it will have. A step on its host."""
        definition = domains.definition_of(self._require_template(connection))
        folder = volumes.folder_of(connection, self._options.storage_pool)
        own = {disk.target: self._volume(disk.target) for disk in definitions.own_disks(definition)}
        for volume in own.values():
            if volumes.has_volume(connection, volume):
                raise PermanentProviderError(
                    f"storage pool {volume.storage_pool} has a volume of the VM's name, but there is no such VM: "
                    "the volume is somebody else's, or was left behind"
                )
        mark = Mark(
            vm=self._vm,
            pool=self._pool.name,
            installation=self._installation or None,
            volumes=tuple(own.values()),
            copied=None if self._options.create_linked_clone else False,
        )
        connection.defineXML(
            definitions.clone_definition(
                definition,
                name=self._vm,
                mark=mark,
                images={target: f"{folder}/{volume.name}" for target, volume in own.items()},
                with_cloud_init=self._options.cloud_init,
            )
        )

    def _remove(self, connection: Any) -> None:
        domain = connection.lookupByName(self._vm)
        if mark := domains.read_mark(domain):
            domains.remove(connection, domain, mark)

    def _volume(self, target: str) -> Volume:
        name = volumes.volume_name(self._installation, self._vm, target)
        return Volume(self._options.storage_pool, name)
