"""A provider of EC2 on moto, and a look at what is really there, past the provider."""

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, cast

import boto3

from tests.support.moto_server import IMAGE, LOGIN, REGION, MotoServer
from vmpooler_tasks.providers import PoolSpec, ProviderContext, registry
from vmpooler_tasks.providers.ec2.provider import Ec2

if TYPE_CHECKING:
    from types_boto3_ec2.client import EC2Client
    from types_boto3_ec2.type_defs import InstanceTypeDef, VolumeTypeDef

POOL = PoolSpec(name="debian-12-x86_64", template=IMAGE)
INSTALLATION = "east"


class Ec2Lab:
    """Empty at its start, but for moto's images and default network."""

    def __init__(self, server: MotoServer, stack: ExitStack) -> None:
        self.server, self.stack, self.pool = server, stack, POOL
        self.client: EC2Client = boto3.client(
            "ec2",
            region_name=REGION,
            endpoint_url=server.url,
            aws_access_key_id=LOGIN["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=LOGIN["AWS_SECRET_ACCESS_KEY"],
        )
        stack.callback(self.client.close)

    def provider(self, installation: str = INSTALLATION, **options: Any) -> Ec2:
        """Return a provider with these options, which does not pause between two looks at a new instance."""
        section = {"region": REGION, "endpoint_url": self.server.url, **options}
        context = ProviderContext(
            name="ec2", options=section, redis_url="redis://127.0.0.1", installation=installation
        )
        own = cast("Ec2", registry.load(context))
        self.stack.callback(own.close)
        return own

    def instances(self, state: str = "running") -> "list[InstanceTypeDef]":
        pages = self.client.get_paginator("describe_instances").paginate(
            Filters=[{"Name": "instance-state-name", "Values": [state]}]
        )
        return [raw for page in pages for reservation in page["Reservations"] for raw in reservation["Instances"]]

    def volumes(self) -> "list[VolumeTypeDef]":
        return self.client.describe_volumes()["Volumes"]

    def tags(self, raw: Any) -> dict[str, str]:
        return {tag["Key"]: tag["Value"] for tag in raw.get("Tags", [])}
