"""A provider of EC2 on moto, and a view of what is really there, past the provider."""

import json
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Any

import boto3

from tests.support.moto_server import IMAGE, LOGIN, REGION, MotoServer
from vmpooler_tasks.providers import PoolSpec, ProviderContext
from vmpooler_tasks.providers.ec2.provider import Ec2

if TYPE_CHECKING:
    from types_boto3_ec2.client import EC2Client
    from types_boto3_ec2.type_defs import InstanceTypeDef, VolumeTypeDef

POOL = PoolSpec(name="debian-12-x86_64", template=IMAGE)
INSTALLATION = "east"
ALIVE = ("pending", "running", "stopping", "stopped")


def wait_shortly(seconds: float) -> None:
    time.sleep(min(seconds, 0.05))


class Ec2Lab:
    """Empty at its start, but for moto's images and default network."""

    def __init__(self, server: MotoServer, stack: ExitStack) -> None:
        self.server, self.stack, self.pool = server, stack, POOL
        self.login = {"aws_access_key_id": LOGIN["AWS_ACCESS_KEY_ID"]}
        self.login["aws_secret_access_key"] = LOGIN["AWS_SECRET_ACCESS_KEY"]
        self.client: EC2Client = self.client_of("ec2")
        stack.callback(self.client.close)

    def provider(
        self, installation: str = INSTALLATION, sleep: Callable[[float], None] = wait_shortly, **options: Any
    ) -> Ec2:
        section = {"region": REGION, "endpoint_url": self.server.url, "readiness": "running", **options}
        context = ProviderContext(name="ec2", options=section, redis_url="redis://127.0.0.1", installation=installation)
        own = Ec2(context, sleep=sleep)
        self.stack.callback(own.close)
        return own

    def spec(self, template: str | None = IMAGE, **options: Any) -> PoolSpec:
        return PoolSpec(name=self.pool.name, template=template, options=options)

    def instances(self, *states: str) -> "list[InstanceTypeDef]":
        pages = self.client.get_paginator("describe_instances").paginate(
            Filters=[{"Name": "instance-state-name", "Values": list(states or ALIVE)}]
        )
        return [raw for page in pages for reservation in page["Reservations"] for raw in reservation["Instances"]]

    def only_instance(self) -> "InstanceTypeDef":
        [instance] = self.instances()
        return instance

    def volumes(self) -> "list[VolumeTypeDef]":
        return self.client.describe_volumes()["Volumes"]

    def start(self, **tags: str) -> str:
        """Start an instance past the provider, as a person does, and return its id."""
        started = self.client.run_instances(
            ImageId=IMAGE,
            InstanceType="t3.micro",
            MinCount=1,
            MaxCount=1,
            TagSpecifications=[
                {"ResourceType": kind, "Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}
                for kind in ("instance", "volume")
            ],
        )
        return started["Instances"][0]["InstanceId"]

    def subnets(self, count: int, network: str = "10.77.0.0/16") -> list[str]:
        """Make subnets in as many zones, and return their ids."""
        vpc = self.client.create_vpc(CidrBlock=network)["Vpc"]["VpcId"]
        start = network.rsplit(".", 2)[0]
        return [
            self.client.create_subnet(
                VpcId=vpc, CidrBlock=f"{start}.{number}.0/24", AvailabilityZone=f"{REGION}{'abcdef'[number]}"
            )["Subnet"]["SubnetId"]
            for number in range(count)
        ]

    def user_with(self, policy: dict[str, Any]) -> dict[str, str]:
        """Make a user with this policy, check every login from now on, and return the user's variables."""
        with self._iam() as iam:
            iam.create_user(UserName="vmpooler")
            key = iam.create_access_key(UserName="vmpooler")["AccessKey"]
        self.set_policy(policy)
        self.stack.callback(self.server.authenticate, on=False)
        return {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}

    def set_policy(self, policy: dict[str, Any]) -> None:
        self.server.authenticate(on=False)
        with self._iam() as iam:
            iam.put_user_policy(UserName="vmpooler", PolicyName="own", PolicyDocument=json.dumps(policy))
        self.server.authenticate(on=True)

    def client_of(self, service: str) -> Any:
        """Return a client of another service of the same server, with the login of the tests."""
        untyped: Any = boto3  # the stubs of IAM are not installed
        return untyped.client(service, region_name=REGION, endpoint_url=self.server.url, **self.login)

    def _iam(self) -> Any:
        return closing(self.client_of("iam"))


def tags_of(raw: Any) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in raw.get("Tags", [])}
