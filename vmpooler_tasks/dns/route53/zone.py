"""The requests to Route 53 about one hosted zone, and its refusals as errors of this package."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import boto3
import botocore.exceptions
from botocore.config import Config
from pydantic import SecretStr

from vmpooler_tasks.dns.route53.options import Route53Options
from vmpooler_tasks.errors import PermanentDnsError, TransientDnsError

if TYPE_CHECKING:
    from types_boto3_route53.type_defs import ChangeTypeDef, ResourceRecordSetOutputTypeDef

SDK_ATTEMPTS = 8
"""Attempts of the SDK's own. Route 53 takes five requests a second of an account, and throttles the others."""

MAX_SDK_CONNECTIONS = 50

MAX_ZONES = 100
"""Hosted zones that one request lists."""

_TRANSIENT = frozenset(
    {"Throttling", "ThrottlingException", "PriorRequestNotComplete", "ServiceUnavailable", "InternalFailure"}
)
"""Codes of refusals that another attempt may change. Every status of 500 and above is one, too."""


class ConflictError(Exception):
    """A change does not fit what the zone has now. Nothing was changed."""


class HostedZone:
    """One hosted zone. The SDK's client is safe for all threads; the zone is found once."""

    def __init__(self, options: Route53Options, domain: str) -> None:
        with _translated("start"):
            session = boto3.session.Session(
                aws_access_key_id=options.aws_access_key_id,
                aws_secret_access_key=_plain(options.aws_secret_access_key),
                aws_session_token=_plain(options.aws_session_token),
                profile_name=options.profile,
                region_name=options.region,
            )
            self._client = session.client(
                "route53",
                endpoint_url=options.endpoint_url,
                config=Config(
                    connect_timeout=options.timeout,
                    read_timeout=options.timeout,
                    max_pool_connections=MAX_SDK_CONNECTIONS,
                    retries={"mode": "adaptive", "total_max_attempts": SDK_ATTEMPTS},
                ),
            )
        self._domain = domain.rstrip(".").lower()
        self._zone_id = options.zone_id
        self._lock = threading.Lock()

    def read(self, name: str) -> "Sequence[ResourceRecordSetOutputTypeDef]":
        """Return all record sets of exactly this name. Raise DnsError."""
        full = f"{name.rstrip('.').lower()}."
        with _translated("ListResourceRecordSets"):
            reply = self._client.list_resource_record_sets(HostedZoneId=self._id(), StartRecordName=full)
        return [found for found in reply["ResourceRecordSets"] if found["Name"].lower() == full]

    def change(self, changes: "Sequence[ChangeTypeDef]") -> None:
        """Make all changes in one step. Raise ConflictError if one of them does not fit, and DnsError."""
        with _translated("ChangeResourceRecordSets"):
            try:
                self._client.change_resource_record_sets(HostedZoneId=self._id(), ChangeBatch={"Changes": changes})
            except self._client.exceptions.InvalidChangeBatch as error:
                raise ConflictError(str(error)) from error

    def find_problems(self) -> Sequence[str]:
        """Return what keeps the zone from being read. Raise DnsError."""
        with _translated("GetHostedZone"):
            found = self._client.get_hosted_zone(Id=self._id())["HostedZone"]
        zone = found["Name"].rstrip(".").lower()
        if f".{self._domain}".endswith(f".{zone}"):
            return []
        return [f"hosted zone {self._id()} is {zone}, which has no domain {self._domain}: set the zone_id of its zone"]

    def close(self) -> None:
        self._client.close()

    def _id(self) -> str:
        with self._lock:
            if self._zone_id is None:
                self._zone_id = self._find_zone()
            return self._zone_id

    def _find_zone(self) -> str:
        """Return the id of the zone that has the domain: of several, the one with the longest name."""
        labels = self._domain.split(".")
        for start in range(len(labels) - 1):
            wanted = f"{'.'.join(labels[start:])}."
            with _translated("ListHostedZonesByName"):
                reply = self._client.list_hosted_zones_by_name(DNSName=wanted, MaxItems=str(MAX_ZONES))
            found = [zone["Id"].removeprefix("/hostedzone/") for zone in reply["HostedZones"] if zone["Name"] == wanted]
            if len(found) > 1:
                ids = ", ".join(sorted(found))
                raise PermanentDnsError(f"Route 53 has several hosted zones {wanted[:-1]} ({ids}): set zone_id")
            if found:
                return found[0]
        raise PermanentDnsError(f"Route 53 has no hosted zone for {self._domain}: make one, or set zone_id")


def _plain(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()


@contextmanager
def _translated(operation: str) -> Iterator[None]:
    """Raise the SDK's errors as errors of this package, with the words of the API."""
    try:
        yield
    except botocore.exceptions.ClientError as error:
        about, status = (
            error.response.get("Error", {}),
            error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0),
        )
        code = about.get("Code", "")
        text = f"Route 53 refused {operation}: {code}: {about.get('Message', '')}"
        if code in _TRANSIENT or status >= 500:  # noqa: PLR2004
            raise TransientDnsError(text) from error
        raise PermanentDnsError(text) from error
    except (
        botocore.exceptions.NoCredentialsError,
        botocore.exceptions.PartialCredentialsError,
        botocore.exceptions.ProfileNotFound,
        botocore.exceptions.ParamValidationError,
    ) as error:
        raise PermanentDnsError(f"Route 53: {error}") from error
    except botocore.exceptions.BotoCoreError as error:
        raise TransientDnsError(f"Route 53 cannot be reached: {error}") from error
