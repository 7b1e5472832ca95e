"""Instances as this provider sees them, and the tags that say whose they are.

The name of a VM is the tag `vm_name` of its instance, as in VMPooler's EC2 provider, else its `Name`. Its pool is the
tag `pool`. An instance that is being terminated is no VM any more: that cannot be undone.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types_boto3_ec2.client import EC2Client
    from types_boto3_ec2.type_defs import FilterTypeDef, InstanceTypeDef, TagTypeDef

NAME_TAG, VM_TAG, POOL_TAG = "Name", "vm_name", "pool"
INSTALLATION_TAG = "vmpooler_tasks_installation"
DISK_TAG = "vmpooler_tasks_disk"
"""The tag with the name of a disk that was ordered."""

USER_TAG = "token-user"
"""The tag with the user of a running VM, as in VMPooler's EC2 provider."""

ALIVE_STATES = ("pending", "running", "stopping", "stopped")

INSTANCES_PAGE_SIZE = 1000
"""EC2's maximum."""


@dataclass(frozen=True, slots=True)
class AttachedVolume:
    """A volume of an instance: its device, its id, and whether it is deleted with the instance."""

    device: str
    id: str
    vanishes: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """An instance: `token` is the client token that started it, `reason` why it is in its state."""

    id: str
    state: str
    tags: Mapping[str, str]
    private_ip: str | None
    public_ip: str | None
    zone: str
    launched: datetime
    token: str | None
    volumes: Sequence[AttachedVolume]
    reason: str

    @classmethod
    def of(cls, raw: "InstanceTypeDef") -> "Instance":
        return cls(
            id=raw["InstanceId"],
            state=raw["State"]["Name"],
            tags={tag["Key"]: tag["Value"] for tag in raw.get("Tags", [])},
            private_ip=raw.get("PrivateIpAddress"),
            public_ip=raw.get("PublicIpAddress"),
            zone=raw["Placement"]["AvailabilityZone"],
            launched=raw["LaunchTime"],
            token=raw.get("ClientToken"),
            volumes=tuple(
                AttachedVolume(entry["DeviceName"], entry["Ebs"]["VolumeId"], entry["Ebs"]["DeleteOnTermination"])
                for entry in raw.get("BlockDeviceMappings", [])
                if "Ebs" in entry
            ),
            reason=raw.get("StateReason", {}).get("Message") or raw.get("StateTransitionReason", ""),
        )

    @property
    def name(self) -> str:
        return self.tags.get(VM_TAG) or self.tags.get(NAME_TAG) or self.id

    @property
    def pool(self) -> str:
        return self.tags.get(POOL_TAG, "")

    @property
    def mark(self) -> str | None:
        return self.tags.get(INSTALLATION_TAG) or None

    @property
    def is_alive(self) -> bool:
        return self.state in ALIVE_STATES


def tags_of(vm: str, pool: str, installation: str, more: Mapping[str, str] | None = None) -> "list[TagTypeDef]":
    """Return the tags of whatever is made for a VM. `more` never replaces those that say whose it is."""
    own = {NAME_TAG: vm, VM_TAG: vm, POOL_TAG: pool, **({INSTALLATION_TAG: installation} if installation else {})}
    return [{"Key": key, "Value": value} for key, value in {**(more or {}), **own}.items()]


def has_tag(key: str, *values: str) -> "FilterTypeDef":
    """Return a filter. EC2 reads `*`, `?` and a backslash in values as patterns, so that they are escaped."""
    return {"Name": f"tag:{key}", "Values": [_escaped(value) for value in values]}


def _escaped(value: str) -> str:
    return value.translate({ord(character): f"\\{character}" for character in "\\*?"})


IS_ALIVE: "FilterTypeDef" = {"Name": "instance-state-name", "Values": list(ALIVE_STATES)}


def find(client: "EC2Client", *filters: "FilterTypeDef") -> list[Instance]:
    """Return all instances that pass the filters, the oldest first. All pages are read, or an error is raised."""
    pages = client.get_paginator("describe_instances").paginate(
        Filters=list(filters), PaginationConfig={"PageSize": INSTANCES_PAGE_SIZE}
    )
    return _oldest_first(
        Instance.of(raw) for page in pages for reservation in page["Reservations"] for raw in reservation["Instances"]
    )


def find_named(client: "EC2Client", vm: str, *filters: "FilterTypeDef") -> list[Instance]:
    """Return all instances of this name that pass the filters, in any pool and of anybody, the oldest first."""
    found = find(client, has_tag(VM_TAG, vm), *filters)
    return found or [other for other in find(client, has_tag(NAME_TAG, vm), *filters) if other.name == vm]


def _oldest_first(instances: Iterable[Instance]) -> list[Instance]:
    return sorted(instances, key=lambda instance: (instance.launched, instance.id))
