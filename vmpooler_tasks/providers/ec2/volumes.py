"""The EBS volumes of a VM: what was made for it vanishes with it, and nothing else does."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

from botocore import exceptions as sdk

from vmpooler_tasks.errors import PermanentProviderError, TransientProviderError
from vmpooler_tasks.providers.ec2.errors import code_of
from vmpooler_tasks.providers.ec2.instances import (
    DISK_TAG,
    INSTALLATION_TAG,
    POOL_TAG,
    VM_TAG,
    Instance,
    has_tag,
    tags_of,
)
from vmpooler_tasks.providers.ec2.options import InstanceOptions

if TYPE_CHECKING:
    from types_boto3_ec2.client import EC2Client
    from types_boto3_ec2.type_defs import FilterTypeDef, VolumeTypeDef

DISK_DEVICES = tuple(f"/dev/sd{letter}" for letter in "fghijklmnop")
"""The devices that EC2 recommends for volumes of data."""

DISK_SECONDS = 120.0
"""How long a new disk may take to be there."""

DISK_POLL_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class VmVolumes:
    """The volumes that one installation made."""

    client: "EC2Client"
    installation: str
    pause: Callable[[float], None] = time.sleep

    def find_made_for(self, vm: str, pool: str, *filters: "FilterTypeDef") -> "list[VolumeTypeDef]":
        """Return the volumes that this installation made for the VM, attached or not."""
        own = [has_tag(INSTALLATION_TAG, self.installation)] if self.installation else []
        pages = self.client.get_paginator("describe_volumes").paginate(
            Filters=[has_tag(VM_TAG, vm), has_tag(POOL_TAG, pool), *own, *filters]
        )
        return [volume for page in pages for volume in page["Volumes"]]

    def let_vanish(self, instance: Instance, made: "list[VolumeTypeDef] | None" = None) -> None:
        """Let EC2 delete the volumes that were made for this instance when it ends.

        An image or a launch template may say that they stay. A volume that somebody else attached stays. `made` are
        the volumes that were made for the VM, if the caller has read them.
        """
        stay = [volume for volume in instance.volumes if not volume.vanishes]
        if not stay:
            return
        if made is None:
            made = self.find_made_for(instance.name, instance.pool)
        own = {volume["VolumeId"] for volume in made}
        devices = [volume.device for volume in stay if volume.id in own]
        if devices:
            self.client.modify_instance_attribute(
                InstanceId=instance.id,
                BlockDeviceMappings=[
                    {"DeviceName": device, "Ebs": {"DeleteOnTermination": True}} for device in devices
                ],
            )

    def delete_loose(self, made: "list[VolumeTypeDef]") -> bool:
        """Delete those of these volumes that are attached to nothing: disks whose order was cut off.

        Return whether there was one.
        """
        loose = [volume for volume in made if volume["State"] == "available"]
        for volume in loose:
            try:
                self.client.delete_volume(VolumeId=volume["VolumeId"])
            except sdk.ClientError as error:
                if code_of(error) not in ("InvalidVolume.NotFound", "VolumeInUse"):  # an order has just attached it
                    raise
        return bool(loose)

    def delete_left(self, vm: str, pool: str) -> None:
        """Delete the volumes of a VM that is gone. An instance that is shutting down still holds them for a while.

        What it holds after DISK_SECONDS is in the inventory as soon as it lets go of it.
        """
        deadline = time.monotonic() + DISK_SECONDS
        while made := self.find_made_for(vm, pool):
            self.delete_loose(made)
            if time.monotonic() > deadline:
                return
            self.pause(DISK_POLL_SECONDS)

    def find_names_of_loose(self, pool: str) -> set[str]:
        """Return the VMs of a pool for which this installation made a volume that is attached to nothing."""
        if not self.installation:
            return set()
        pages = self.client.get_paginator("describe_volumes").paginate(
            Filters=[
                has_tag(INSTALLATION_TAG, self.installation),
                has_tag(POOL_TAG, pool),
                {"Name": "status", "Values": ["available"]},
            ]
        )
        found = [{tag["Key"]: tag["Value"] for tag in volume["Tags"]} for page in pages for volume in page["Volumes"]]
        return {tags[VM_TAG] for tags in found if VM_TAG in tags}

    def find_disk(self, instance: Instance, disk: str) -> "VolumeTypeDef | None":
        """Return the volume of this disk, attached to the instance or about to be."""
        for volume in self.find_made_for(instance.name, instance.pool, has_tag(DISK_TAG, disk)):
            owners = [attachment["InstanceId"] for attachment in volume["Attachments"]]
            if instance.id in owners or not owners:
                return volume
        return None

    def has_disk(self, instance: Instance, disk: str) -> bool:
        volume = self.find_disk(instance, disk)
        return volume is not None and _is_attached(volume)

    def create_disk(self, instance: Instance, disk: str, size_gb: int, options: InstanceOptions) -> None:
        """Make the volume and attach it, or continue where an earlier call was cut off."""
        volume = self.find_disk(instance, disk) or self._create(instance, disk, size_gb, options)
        if not volume["Attachments"]:
            self._await(instance, disk, lambda found: found["State"] == "available")
            device = self._attach(instance, volume["VolumeId"])
        else:
            device = volume["Attachments"][0]["Device"]
        self.client.modify_instance_attribute(
            InstanceId=instance.id, BlockDeviceMappings=[{"DeviceName": device, "Ebs": {"DeleteOnTermination": True}}]
        )
        self._await(instance, disk, _is_attached)

    def _create(self, instance: Instance, disk: str, size_gb: int, options: InstanceOptions) -> "VolumeTypeDef":
        tags = tags_of(instance.name, instance.pool, self.installation, {**options.tags, DISK_TAG: disk})
        created = self.client.create_volume(
            AvailabilityZone=instance.zone,
            Size=size_gb,
            TagSpecifications=[{"ResourceType": "volume", "Tags": tags}],
            ClientToken=sha256(f"{instance.id}\0{disk}".encode()).hexdigest(),
            **({"VolumeType": options.volume_type} if options.volume_type else {}),  # type: ignore[arg-type]
        )
        return {"VolumeId": created["VolumeId"], "State": created["State"], "Attachments": []}

    def _attach(self, instance: Instance, volume: str) -> str:
        """Attach the volume to the first free device, and return the device."""
        used = {volume.device for volume in instance.volumes}
        for device in DISK_DEVICES:
            if device in used:
                continue
            try:
                self.client.attach_volume(InstanceId=instance.id, VolumeId=volume, Device=device)
            except sdk.ClientError as error:
                if code_of(error) != "InvalidParameterValue" or "in use" not in str(error):
                    raise
                continue  # another order took the device at the same time
            return device
        raise PermanentProviderError(f"the instance has no free device for another disk: it has {len(used)}")

    def _await(self, instance: Instance, disk: str, condition: Callable[["VolumeTypeDef"], bool]) -> None:
        deadline = time.monotonic() + DISK_SECONDS
        while (found := self.find_disk(instance, disk)) is None or not condition(found):
            if found is not None and found["State"] == "error":
                raise PermanentProviderError("EC2 cannot make the volume: its state is error")
            if time.monotonic() > deadline:
                raise TransientProviderError(f"the disk is not there after {DISK_SECONDS:g} seconds")
            self.pause(DISK_POLL_SECONDS)


def _is_attached(volume: "VolumeTypeDef") -> bool:
    return any(attachment["State"] == "attached" for attachment in volume["Attachments"])
