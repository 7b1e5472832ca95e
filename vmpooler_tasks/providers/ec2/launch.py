"""How an instance is started: the request, the client token, and the subnets and zones in turn."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from botocore import exceptions as sdk

from vmpooler_tasks.errors import PermanentProviderError, TransientProviderError
from vmpooler_tasks.providers.ec2.errors import NO_CAPACITY_CODES, code_of, text_of
from vmpooler_tasks.providers.ec2.images import ImageSource, RootDevices
from vmpooler_tasks.providers.ec2.instances import ALIVE_STATES, Instance, tags_of
from vmpooler_tasks.providers.ec2.options import (
    DEFAULT_INSTANCE_TYPE,
    MAX_USER_DATA_BYTES,
    InstanceOptions,
    LaunchPlace,
)
from vmpooler_tasks.providers.protocol import PoolSpec

if TYPE_CHECKING:
    from types_boto3_ec2.client import EC2Client
    from types_boto3_ec2.type_defs import BlockDeviceMappingTypeDef, RunInstancesRequestTypeDef

MAX_GENERATIONS = 100
"""How often a name may be used again while EC2 remembers its client tokens: a day after the last instance's end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceLaunch:
    """An instance to be started. Calls with equal values start one instance, whichever worker makes them."""

    vm: str
    pool: PoolSpec
    installation: str
    options: InstanceOptions

    def start(self, client: "EC2Client", roots: RootDevices, known: Sequence[Instance]) -> str:
        """Start an instance and return its id, or the id of the one that an equal call has started.

        `known` are the instances that had this name. The first subnet or zone with capacity takes it.
        """
        base, refused = self.request(client, roots), []
        used = {instance.token for instance in known if not instance.is_alive}
        for place in self.places():
            try:
                return self._start_in(client, place, base, used)
            except sdk.ClientError as error:
                if code_of(error) not in NO_CAPACITY_CODES:
                    raise
                refused.append((place, error))
        text = "; ".join(f"{place}: {text_of(error)}" for place, error in refused)
        if all(code_of(error) == "Unsupported" for _, error in refused):
            raise PermanentProviderError(text)
        raise TransientProviderError(text)

    def places(self) -> list[LaunchPlace]:
        """Return the places in the order in which they are tried: the same for each call, another for each VM."""
        places = self.options.places
        first = int.from_bytes(hashlib.sha256(self.vm.encode()).digest()[:4]) % len(places)
        return [*places[first:], *places[:first]]

    def _start_in(
        self, client: "EC2Client", place: LaunchPlace, base: "RunInstancesRequestTypeDef", used: set[str | None]
    ) -> str:
        """Start an instance in this place.

        EC2 remembers a client token for a day after the instance has ended, and then returns what has ended. The next
        generation of the token starts a new instance.
        """
        for token in self._tokens(place):
            if token in used:
                continue
            request: RunInstancesRequestTypeDef = {**base, **self.network(place), "ClientToken": token}
            instance = client.run_instances(**request)["Instances"][0]
            if instance["State"]["Name"] in ALIVE_STATES:
                return instance["InstanceId"]
        raise PermanentProviderError(f"the name was used {MAX_GENERATIONS} times within a day; use another one")

    def _tokens(self, place: LaunchPlace) -> Iterator[str]:
        for generation in range(MAX_GENERATIONS):
            text = "\0".join((self.installation, self.pool.name, self.vm, str(place), str(generation)))
            yield hashlib.sha256(text.encode()).hexdigest()  # 64 characters, EC2's maximum

    def request(self, client: "EC2Client", roots: RootDevices) -> "RunInstancesRequestTypeDef":
        """Return the request, without the place and the token."""
        options, source = self.options, ImageSource.of(self.pool, self.options)
        tags = tags_of(self.vm, self.pool.name, self.installation, options.tags)
        request: RunInstancesRequestTypeDef = {
            "MinCount": 1,
            "MaxCount": 1,
            "TagSpecifications": [
                {"ResourceType": kind, "Tags": tags} for kind in ("instance", "volume", "network-interface")
            ],
        }
        if source.image:
            request["ImageId"] = source.image
        if source.launch_template:
            request["LaunchTemplate"] = source.launch_template
        instance_type = options.amisize or (None if source.launch_template else DEFAULT_INSTANCE_TYPE)
        if instance_type:
            request["InstanceType"] = instance_type  # type: ignore[typeddict-item]  # EC2 checks it
        if options.key_name:
            request["KeyName"] = options.key_name
        if options.iam_instance_profile:
            kind = "Arn" if options.iam_instance_profile.startswith("arn:") else "Name"
            request["IamInstanceProfile"] = {kind: options.iam_instance_profile}  # type: ignore[misc]
        if user_data := self.user_data():
            request["UserData"] = user_data
        if volumes := self._volumes(client, roots, source):
            request["BlockDeviceMappings"] = volumes
        return {**request, **self._market()}

    def user_data(self) -> str:
        """Return the user data with the VM's name. Raise PermanentProviderError if it is too long for EC2."""
        text = (self.options.user_data_text or "").replace("@VM@", self.vm).replace("@POOL@", self.pool.name)
        if len(text.encode()) > MAX_USER_DATA_BYTES:
            raise PermanentProviderError(f"user_data has more than {MAX_USER_DATA_BYTES} bytes")
        return text

    def network(self, place: LaunchPlace) -> "RunInstancesRequestTypeDef":
        """Return the part of the request that says where the instance is."""
        groups, public = list(self.options.security_groups), self.options.associate_public_ip
        request: RunInstancesRequestTypeDef = {}  # type: ignore[typeddict-item]  # a part of one
        if place.zone:
            request["Placement"] = {"AvailabilityZone": place.zone}
        if public is None:
            if place.subnet:
                request["SubnetId"] = place.subnet
            if groups:
                request["SecurityGroupIds"] = groups
            return request
        request["NetworkInterfaces"] = [
            {
                "DeviceIndex": 0,
                "AssociatePublicIpAddress": public,
                "DeleteOnTermination": True,
                **({"SubnetId": place.subnet} if place.subnet else {}),
                **({"Groups": groups} if groups else {}),
            }
        ]
        return request

    def _market(self) -> "RunInstancesRequestTypeDef":
        if not self.options.spot:
            # A user who shuts the VM down is done with it. A spot instance is terminated then in any case.
            return {"InstanceInitiatedShutdownBehavior": "terminate"}  # type: ignore[typeddict-item]
        price = self.options.spot_max_price
        return {  # type: ignore[typeddict-item]  # a part of a request
            "InstanceMarketOptions": {
                "MarketType": "spot",
                "SpotOptions": {
                    "SpotInstanceType": "one-time",
                    "InstanceInterruptionBehavior": "terminate",
                    **({"MaxPrice": price} if price else {}),
                },
            }
        }

    def _volumes(
        self, client: "EC2Client", roots: RootDevices, source: ImageSource
    ) -> "list[BlockDeviceMappingTypeDef]":
        options = self.options
        sizes: dict[str, int | None] = dict(options.volume_sizes)
        if options.volume_size or options.volume_type:
            sizes.setdefault(roots.of(client, source), options.volume_size)
        return [
            {
                "DeviceName": device,
                "Ebs": {
                    "DeleteOnTermination": True,
                    **({"VolumeSize": size} if size else {}),
                    **({"VolumeType": options.volume_type} if options.volume_type else {}),  # type: ignore[typeddict-item]
                },
            }
            for device, size in sizes.items()
        ]
