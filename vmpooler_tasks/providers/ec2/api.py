"""The connection to EC2: one client of the SDK in a process, for all its threads."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import boto3
from botocore import exceptions as sdk
from botocore.config import Config
from botocore.parsers import ResponseParserError

from vmpooler_tasks.errors import TransientProviderError
from vmpooler_tasks.providers.ec2.errors import translated
from vmpooler_tasks.providers.ec2.options import Ec2Options

if TYPE_CHECKING:
    from types_boto3_ec2.client import EC2Client

ACCESS_KEY, SECRET_KEY = "ABS_AWS_ACCESS_KEY", "ABS_AWS_SECRET_KEY"
"""The variables of VMPooler's EC2 provider. They come before its options, as in VMPooler."""


def session_of(options: Ec2Options) -> boto3.session.Session:
    """Return a session with the configured login, else that of the SDK's own chain. Raise ValueError if incomplete."""
    access, secret = (
        os.environ.get(name) or (value.get_secret_value() if value else None)
        for name, value in ((ACCESS_KEY, options.access_key), (SECRET_KEY, options.secret_key))
    )
    if bool(access) != bool(secret):
        raise ValueError(f"{ACCESS_KEY} and {SECRET_KEY} must both be set, or neither")
    try:
        return boto3.session.Session(
            aws_access_key_id=access,
            aws_secret_access_key=secret,
            profile_name=options.profile,
            region_name=options.region,
        )
    except sdk.BotoCoreError as error:
        raise ValueError(str(error)) from error


def client_of(session: boto3.session.Session, options: Ec2Options) -> "EC2Client":
    """Return a client. It is safe for threads; each of its calls is bounded. Raise ValueError if no region is set."""
    config = Config(
        connect_timeout=options.connect_timeout_seconds,
        read_timeout=options.read_timeout_seconds,
        max_pool_connections=options.connection_pool_size,
        retries={"mode": options.retry_mode, "total_max_attempts": options.max_attempts},
        tcp_keepalive=True,
        user_agent_extra="vmpooler-tasks",
    )
    try:
        return session.client("ec2", endpoint_url=options.endpoint_url, config=config)
    except sdk.NoRegionError:
        raise ValueError("region is not set: set it here, or AWS_REGION in the environment") from None
    except (sdk.BotoCoreError, ValueError) as error:
        raise ValueError(str(error)) from error


@contextmanager
def translated_errors() -> Iterator[None]:
    """Raise the errors of this project in place of the SDK's."""
    try:
        yield
    except (sdk.ClientError, sdk.BotoCoreError) as error:
        raise translated(error) from error
    except ResponseParserError as error:  # of a proxy, or of a server that fails
        raise TransientProviderError("EC2's reply is not XML") from error
