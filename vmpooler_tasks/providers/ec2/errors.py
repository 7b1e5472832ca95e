"""EC2's error codes, and which kind of error each is here.

The codes are those of docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html. The message is EC2's own,
with its code in front, without the name of the operation: operators search for it.
"""

import re

from botocore import exceptions as sdk

from vmpooler_tasks.errors import (
    PermanentProviderError,
    ProviderError,
    ThrottledProviderError,
    TransientProviderError,
    VmNotFoundError,
)

THROTTLED_CODES = frozenset(
    {
        "EC2ThrottledException",
        "PriorRequestNotComplete",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)

NO_CAPACITY_CODES = frozenset(
    {
        "InsufficientAddressCapacity",
        "InsufficientCapacity",
        "InsufficientFreeAddressesInSubnet",
        "InsufficientHostCapacity",
        "InsufficientInstanceCapacity",
        "InsufficientReservedInstanceCapacity",
        "InsufficientVolumeCapacity",
        "SpotMaxPriceTooLow",
        "Unsupported",  # this zone has no instances of this type
    }
)
"""Another subnet or zone may have what this one lacks."""

QUOTA_CODES = frozenset(
    {
        "InstanceLimitExceeded",
        "MaxIOPSLimitExceeded",
        "MaxSpotInstanceCountExceeded",
        "VcpuLimitExceeded",
        "VolumeLimitExceeded",
        "AddressLimitExceeded",
        "NetworkInterfaceLimitExceeded",
        "AttachmentLimitExceeded",
    }
)
"""The account has as much as it may have. What is destroyed makes room."""

TRANSIENT_CODES = frozenset(
    {
        "IdempotentParameterMismatch",  # started by an earlier call with other options, and not shown yet
        "IncorrectInstanceState",
        "IncorrectState",
        "InternalError",
        "InternalFailure",
        "RequestExpired",
        "RequestTimeout",
        "ResourceCountExceeded",
        "ServiceUnavailable",
        "ServiceUnavailableException",
        "Unavailable",
        "VolumeInUse",
    }
)

NO_INSTANCE_CODES = frozenset({"InvalidInstanceID.NotFound", "InvalidInstanceID.Malformed"})

NOT_ALLOWED_CODES = frozenset({"AccessDenied", "AccessDeniedException", "UnauthorizedOperation"})

WRONG_LOGIN_CODES = frozenset(
    {
        "AuthFailure",
        "ExpiredToken",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidToken",
        "MissingAuthenticationToken",
        "OptInRequired",
        "RequestExpired",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)

_UNIQUE = re.compile(r"\s*Encoded authorization failure message: \S+")
"""What EC2 adds to each refusal, and only its administrators can decode."""

SERVER_ERROR = 500
"""HTTP statuses from here on: EC2 failed, and may succeed later."""


def code_of(error: sdk.ClientError) -> str:
    """Return EC2's code, without `Client.` or `Server.` in front."""
    code = str(error.response.get("Error", {}).get("Code", ""))
    return code.removeprefix("Client.").removeprefix("Server.")


def text_of(error: sdk.ClientError) -> str:
    """Return EC2's code and message on one line, without what differs in each call."""
    message = " ".join(str(error.response.get("Error", {}).get("Message", "")).split())
    return f"{code_of(error)}: {_UNIQUE.sub('', message).rstrip()}"


def translated(error: sdk.ClientError | sdk.BotoCoreError) -> ProviderError:
    """Return the error of this project for one of the SDK."""
    if not isinstance(error, sdk.ClientError):
        return _without_reply(error)
    code, text = code_of(error), text_of(error)
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    if code in THROTTLED_CODES:
        return ThrottledProviderError(text)
    if code in NO_INSTANCE_CODES:
        return VmNotFoundError(text)
    if code in TRANSIENT_CODES or code in NO_CAPACITY_CODES or code in QUOTA_CODES or status >= SERVER_ERROR:
        return TransientProviderError(text)
    return PermanentProviderError(text)


def _without_reply(error: sdk.BotoCoreError) -> ProviderError:
    """Return the error for a call that got no reply: no connection, no credentials, wrong parameters."""
    permanent = (
        sdk.PartialCredentialsError,
        sdk.ParamValidationError,
        sdk.ProfileNotFound,
        sdk.NoRegionError,
        sdk.InvalidRegionError,
    )
    kind = PermanentProviderError if isinstance(error, permanent) else TransientProviderError
    return kind(" ".join(str(error).split()))
