"""Whether the account's quota of vCPUs holds the configured pools."""

from collections import defaultdict
from collections.abc import Iterator, MutableMapping, Sequence
from typing import TYPE_CHECKING

import boto3
from botocore import exceptions as sdk

from vmpooler_tasks.errors import PermanentProviderError
from vmpooler_tasks.providers.ec2.errors import NOT_ALLOWED_CODES, code_of
from vmpooler_tasks.providers.ec2.images import ImageSource
from vmpooler_tasks.providers.ec2.options import DEFAULT_INSTANCE_TYPE, Ec2Options, options_of
from vmpooler_tasks.providers.protocol import PoolSpec, ProviderProblem

if TYPE_CHECKING:
    from types_boto3_ec2.client import EC2Client

STANDARD_FAMILIES = frozenset("acdhimrtz")
"""The families of standard instances, by the first character of their types. They share one quota."""

ON_DEMAND_QUOTA, SPOT_QUOTA = "L-1216C47A", "L-34B43A08"
"""The quotas of standard instances: docs.aws.amazon.com/ec2/latest/instancetypes/ec2-instance-quotas.html."""


FORBIDDEN = 403


def find_quota_problems(
    session: boto3.session.Session,
    client: "EC2Client",
    options: Ec2Options,
    pools: Sequence[PoolSpec],
    missing: MutableMapping[str, str],
) -> Iterator[ProviderProblem]:
    """Yield a problem for each quota that is too small for the sizes of the pools. Add missing privileges.

    Pools with other instances than standard ones, or whose launch template has the type, are not counted.
    """
    needed: dict[str, int] = defaultdict(int)
    for quota, instance_type, size in _wanted(options, pools):
        needed[quota] += size * _vcpus(client, instance_type, missing)
    for quota, vcpus in needed.items():
        allowed = _allowed(session, options, quota, missing)
        if allowed is not None and vcpus > allowed:
            kind = "spot" if quota == SPOT_QUOTA else "on-demand"
            yield ProviderProblem(
                text=f"the pools need {vcpus} vCPUs of standard {kind} instances, and the quota {quota} allows "
                f"{allowed:g}: ask AWS to raise it, or make the pools smaller"
            )


def _wanted(options: Ec2Options, pools: Sequence[PoolSpec]) -> Iterator[tuple[str, str, int]]:
    for pool in pools:
        try:
            own = options_of(options, pool)
            source = ImageSource.of(pool, own)
        except PermanentProviderError:
            continue  # reported for the pool
        instance_type = own.amisize or (None if source.launch_template else DEFAULT_INSTANCE_TYPE)
        size = pool.options.get("size")
        if instance_type and instance_type[:1] in STANDARD_FAMILIES and isinstance(size, int):
            yield (SPOT_QUOTA if own.spot else ON_DEMAND_QUOTA), instance_type, size


def _vcpus(client: "EC2Client", instance_type: str, missing: MutableMapping[str, str]) -> int:
    try:
        found = client.describe_instance_types(InstanceTypes=[instance_type])["InstanceTypes"]  # type: ignore[list-item]
    except sdk.ClientError as error:
        if code_of(error) in NOT_ALLOWED_CODES:
            missing.setdefault("ec2:DescribeInstanceTypes", "")
        return 0  # a type that does not exist is reported by the dry run
    return found[0]["VCpuInfo"]["DefaultVCpus"] if found else 0


def _allowed(
    session: boto3.session.Session, options: Ec2Options, quota: str, missing: MutableMapping[str, str]
) -> float | None:
    """Return the quota. None: it is not known, as with another service than AWS."""
    quotas = session.client("service-quotas", endpoint_url=options.endpoint_url)
    try:
        return float(quotas.get_service_quota(ServiceCode="ec2", QuotaCode=quota)["Quota"]["Value"])
    except sdk.ClientError as error:
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        if code_of(error) in NOT_ALLOWED_CODES or status == FORBIDDEN:
            missing.setdefault("servicequotas:GetServiceQuota", "")
        return None
    except sdk.BotoCoreError:
        return None
    finally:
        quotas.close()
