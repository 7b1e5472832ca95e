"""VMs as instances of EC2."""

import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from vmpooler_tasks.errors import PermanentProviderError, TransientProviderError, VmNotFoundError
from vmpooler_tasks.providers.ec2.api import client_of, session_of, translated_errors
from vmpooler_tasks.providers.ec2.images import RootDevices
from vmpooler_tasks.providers.ec2.instances import (
    INSTALLATION_TAG,
    IS_ALIVE,
    POOL_TAG,
    USER_TAG,
    VM_TAG,
    Instance,
    find,
    find_named,
    has_tag,
)
from vmpooler_tasks.providers.ec2.launch import InstanceLaunch
from vmpooler_tasks.providers.ec2.options import POOL_OPTIONS, Ec2Options, InstanceOptions, options_of
from vmpooler_tasks.providers.ec2.problems import Ec2Trial
from vmpooler_tasks.providers.ec2.volumes import VmVolumes
from vmpooler_tasks.providers.protocol import (
    Inventory,
    MarkedVm,
    PoolSpec,
    ProviderContext,
    ProviderProblem,
    Readiness,
    VirtualMachine,
)

MIN_START_POLL_SECONDS, MAX_START_POLL_SECONDS = 1.0, 5.0
"""Pauses between two queries of an instance that starts. They grow."""

TCP_CONNECT_SECONDS = 5.0
"""How long a VM may take to accept a connection, as in VMPooler."""


class Ec2:
    """A Provider with marks, disks and a check of its options. protocol.py documents its methods.

    It has no snapshots of a VM: EC2 can replace the root volume of a running instance and nothing else. A revert would
    leave the other disks as they are.
    """

    pool_options = POOL_OPTIONS
    """The options of a pool that this provider reads, beside those of every pool."""

    def __init__(self, context: ProviderContext, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self._options = Ec2Options.model_validate(dict(context.options))
        self._session = session_of(self._options)
        self._client = client_of(self._session, self._options)
        self._installation, self._sleep = context.installation, sleep
        self._volumes = VmVolumes(self._client, self._installation, sleep)
        self._roots = RootDevices()

    def list_vms(self, pool: PoolSpec) -> Inventory:
        with translated_errors():
            loose = self._volumes.find_names_of_loose(pool.name)
            found = find(self._client, has_tag(POOL_TAG, pool.name), IS_ALIVE)
        # A VM of which only a volume is left is in no queue, and so it is destroyed.
        left: dict[str, str | None] = dict.fromkeys(loose, self._installation)
        # Names are not unique in EC2. Of two with one name, the one with the mark of this installation counts.
        return left | {instance.name: instance.mark for instance in sorted(found, key=self._is_ours)}

    def find_vm(self, pool: PoolSpec, vm: str) -> VirtualMachine | None:
        with translated_errors():
            found = self._find(pool, vm)
        return self._machine(pool, found[0]) if found else None

    def create_vm(self, pool: PoolSpec, vm: str) -> VirtualMachine:
        options = options_of(self._options, pool)
        with translated_errors():
            known = find_named(self._client, vm)
            alive = [instance for instance in known if instance.is_alive]
            if any(not self._is_made_for(instance, pool) for instance in alive):
                return replace(self._machine(pool, alive[0]), existed=True)  # somebody else's, or another pool's
            if not alive:
                launch = InstanceLaunch(vm=vm, pool=pool, installation=self._installation, options=options)
                launch.start(self._client, self._roots, known)
            past = {instance.id for instance in known if not instance.is_alive}
            return replace(self._started(pool, vm, options, past), existed=bool(alive))

    def is_ready(self, pool: PoolSpec, vm: str) -> Readiness:
        options = options_of(self._options, pool)
        with translated_errors():
            found = self._find(pool, vm)
            if not found:
                return Readiness(False, "the VM does not exist", "VmNotFoundError")
            instance = found[0]
            if instance.state != "running":
                return Readiness(False, f"the instance is {instance.state}")
            match options.readiness:
                case "status":
                    return self._status_checks(instance)
                case "tcp":
                    return _connection(_address(instance, options), options.ready_port)
            return Readiness(True)

    def destroy_vm(self, pool: PoolSpec, vm: str) -> bool:
        with translated_errors():
            return self._terminate(self._find_unless_foreign(pool, vm), vm, pool.name)

    def mark_vm(self, pool: PoolSpec, vm: str) -> bool:
        with translated_errors():
            found = self._find_unless_foreign(pool, vm)
            unmarked = [instance for instance in found if not instance.mark]
            if unmarked and self._installation:
                self._client.create_tags(
                    Resources=[
                        *(instance.id for instance in unmarked),
                        # What stays after the instance's end was not made for it alone.
                        *(volume.id for instance in unmarked for volume in instance.volumes if volume.vanishes),
                    ],
                    Tags=[
                        {"Key": INSTALLATION_TAG, "Value": self._installation},
                        {"Key": VM_TAG, "Value": vm},
                        {"Key": POOL_TAG, "Value": pool.name},
                    ],
                )
            return bool(found)

    def tag_vm_user(self, pool: PoolSpec, vm: str, user: str) -> bool:
        with translated_errors():
            found = self._find_unless_foreign(pool, vm)
            if found:
                self._client.create_tags(
                    Resources=[instance.id for instance in found], Tags=[{"Key": USER_TAG, "Value": user}]
                )
            return bool(found)

    def list_marked(self) -> Sequence[MarkedVm]:
        if not self._installation:
            return []
        with translated_errors():
            found = find(self._client, has_tag(INSTALLATION_TAG, self._installation), IS_ALIVE)
        return [MarkedVm(name=instance.name, pool=instance.pool) for instance in found]

    def destroy_marked(self, marked: MarkedVm) -> bool:
        with translated_errors():
            found = [
                instance
                for instance in find_named(self._client, marked.name, IS_ALIVE)
                if instance.pool == marked.pool and self._is_ours(instance)
            ]
            return self._terminate(found, marked.name, marked.pool)

    def has_disk(self, pool: PoolSpec, vm: str, disk: str) -> bool:
        with translated_errors():
            return self._volumes.has_disk(self._require(pool, vm), disk)

    def create_disk(self, pool: PoolSpec, vm: str, disk: str, size_gb: int) -> None:
        options = options_of(self._options, pool)
        with translated_errors():
            try:
                self._volumes.create_disk(self._require(pool, vm), disk, size_gb, options)
            finally:
                # A destruction that started meanwhile has not seen the volume.
                if not self._find(pool, vm):
                    self._volumes.delete_left(vm, pool.name)
                    raise VmNotFoundError("the VM does not exist")

    def find_problems(self, pools: Sequence[PoolSpec]) -> Sequence[ProviderProblem]:
        return Ec2Trial(self._session, self._client, self._options, self._installation).find_problems(pools)

    def close(self) -> None:
        self._client.close()

    def _find(self, pool: PoolSpec, vm: str) -> list[Instance]:
        """Return the instances of a VM, those of this installation first. There is one, unless somebody copied tags."""
        found = find_named(self._client, vm, has_tag(POOL_TAG, pool.name), IS_ALIVE)
        return sorted(found, key=self._is_ours, reverse=True)

    def _find_unless_foreign(self, pool: PoolSpec, vm: str) -> list[Instance]:
        """Return the instances of a VM that this installation made; if there are none, those without a mark.

        Raise PermanentProviderError if one of them has the mark of another installation.
        """
        found = self._find(pool, vm)
        found = [instance for instance in found if self._is_ours(instance)] or found
        if any(instance.mark not in (None, self._installation) for instance in found):
            raise PermanentProviderError("the instance has the mark of another installation")
        return found

    def _require(self, pool: PoolSpec, vm: str) -> Instance:
        found = self._find(pool, vm)
        if not found:
            raise VmNotFoundError("the VM does not exist")
        return found[0]

    def _is_ours(self, instance: Instance) -> bool:
        return bool(self._installation) and instance.mark == self._installation

    def _is_made_for(self, instance: Instance, pool: PoolSpec) -> bool:
        """Return whether a call of `create_vm` of this installation and pool started the instance."""
        return instance.pool == pool.name and (instance.mark or "") == self._installation

    def _machine(self, pool: PoolSpec, instance: Instance) -> VirtualMachine:
        return VirtualMachine(
            name=instance.name,
            ip=_address(instance, options_of(self._options, pool)),
            host=f"{instance.zone}/{instance.id}",
        )

    def _started(self, pool: PoolSpec, vm: str, options: InstanceOptions, past: set[str]) -> VirtualMachine:
        """Return the VM when it runs and has an address, or without one after `start_seconds`.

        `past` are the ids of instances that had this name and ended before.
        """
        deadline, pause = time.monotonic() + options.start_seconds, MIN_START_POLL_SECONDS
        while True:
            instance = self._only(pool, vm, past)
            if instance and instance.state != "pending" and _address(instance, options):
                self._volumes.let_vanish(instance)
                return self._machine(pool, instance)
            if time.monotonic() > deadline:
                if instance is None:
                    raise TransientProviderError(f"EC2 shows no instance after {options.start_seconds:g} seconds")
                return replace(self._machine(pool, instance), ip=None)
            self._sleep(pause)
            pause = min(pause * 1.5, MAX_START_POLL_SECONDS)

    def _only(self, pool: PoolSpec, vm: str, past: set[str]) -> Instance | None:
        """Return the instance of a VM that starts. None: EC2 does not show it yet. Raise if it ended.

        If a subnet had no capacity for one call and had it for the next, and EC2 did not show the first instance to the
        second call, then there are two. Each call keeps the oldest one, and terminates the others.
        """
        known = [
            found for found in find_named(self._client, vm) if self._is_made_for(found, pool) and found.id not in past
        ]
        alive = [instance for instance in known if instance.is_alive]
        if known and not alive:
            raise TransientProviderError(f"the instance ended while it started: {known[-1].reason}")
        if len(alive) > 1 and self._installation:
            self._terminate(alive[1:], vm, pool.name)
        return alive[0] if alive else None

    def _terminate(self, instances: Sequence[Instance], vm: str, pool: str) -> bool:
        """Terminate the instances with the volumes that were made for them. Return False if there was nothing."""
        made = self._volumes.find_made_for(vm, pool)
        if not instances:
            return self._volumes.delete_loose(made)  # an earlier call may have been cut off after the instance's end
        for instance in instances:
            self._volumes.let_vanish(instance, made)
        ended = self._client.terminate_instances(InstanceIds=[instance.id for instance in instances])
        self._volumes.delete_loose(made)
        return any(
            change["PreviousState"]["Name"] not in ("shutting-down", "terminated")
            for change in ended["TerminatingInstances"]
        )

    def _status_checks(self, instance: Instance) -> Readiness:
        found = self._client.describe_instance_status(InstanceIds=[instance.id])["InstanceStatuses"]
        checks = {
            "instance": found[0]["InstanceStatus"]["Status"] if found else "unknown",
            "system": found[0]["SystemStatus"]["Status"] if found else "unknown",
        }
        failed = [f"{name}: {status}" for name, status in checks.items() if status != "ok"]
        return Readiness(not failed, f"status checks have not passed: {', '.join(failed)}" if failed else "")


def _address(instance: Instance, options: InstanceOptions) -> str | None:
    return instance.public_ip if options.address == "public" else instance.private_ip


def _connection(address: str | None, port: int) -> Readiness:
    if address is None:
        return Readiness(False, "the instance has no address")
    try:
        socket.create_connection((address, port), timeout=TCP_CONNECT_SECONDS).close()
    except OSError as error:
        cause = error.strerror or str(error) or type(error).__name__
        return Readiness(False, f"port {port} accepts no connection: {cause}", type(error).__name__)
    return Readiness(True)
