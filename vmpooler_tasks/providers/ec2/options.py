"""The options of EC2: of its section in `:providers:`, and of a pool.

All options of VMPooler's EC2 provider load unchanged (puppetlabs/vmpooler-provider-ec2, `vmpooler.yaml.example`).
"""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError

from vmpooler_tasks.errors import PermanentProviderError
from vmpooler_tasks.providers.protocol import PoolSpec

DEFAULT_INSTANCE_TYPE = "t3.micro"
"""Of an instance from an image, if nothing else is configured. A launch template has its own."""

MAX_USER_DATA_BYTES = 16 * 1024
"""EC2's limit, before base64."""

YEAR_SECONDS = 365 * 24 * 3600


def _as_names(value: Any) -> Any:
    """Return a list of names for a list, or for one name."""
    return [value] if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], BeforeValidator(_as_names)]
Gigabytes = Annotated[int, Field(ge=1, le=65_536)]
"""VMPooler's example writes it as text: '10'."""

Seconds = Annotated[float, Field(gt=0, le=YEAR_SECONDS, allow_inf_nan=False)]


class LaunchPlace(BaseModel):
    """Where an instance is started: a subnet, or the default subnet of a zone. Both None: EC2 chooses."""

    model_config = ConfigDict(frozen=True)

    subnet: str | None = None
    zone: str | None = None

    def __str__(self) -> str:
        return self.subnet or self.zone or "any zone"


class InstanceOptions(BaseModel):
    """What an instance is like. The section has the values for all its pools, and a pool may have its own."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    amisize: str | None = Field(
        None,
        validation_alias=AliasChoices("amisize", "instance_type"),
        description="type of the instances; `instance_type` is another name for it",
    )
    zone: str | None = Field(None, description="availability zone; its default subnet, if `subnets` has none in it")
    zones: Names = Field((), description="availability zones, used in turn; instead of `zone`")
    subnets: Names = Field((), description="ids of subnets, used in turn; instead of `zone` and `zones`")
    security_groups: Names = Field((), description="ids of security groups; else the default one of the VPC")
    key_name: str | None = Field(None, description="name of the key pair that may log in")
    iam_instance_profile: str | None = Field(None, description="name or ARN of an instance profile")
    launch_template: str | None = Field(
        None, description="id or name of a launch template, and `:VERSION`; the pool's `template` is its image"
    )
    volume_size: Gigabytes | None = Field(None, description="size of the root volume, in GB")
    volume_sizes: Mapping[str, Gigabytes] = Field({}, description="device → GB, for other volumes")
    volume_type: str | None = Field(None, description="type of the volumes, such as gp3; also of ordered disks")
    spot: bool = Field(False, description="spot instances")
    spot_max_price: str | None = Field(
        None, coerce_numbers_to_str=True, description="highest price per hour; else the on-demand price"
    )
    user_data: SecretStr | None = Field(None, description="user data; @VM@ and @POOL@ are replaced")
    user_data_file: Path | None = Field(None, description="a file with the user data, instead of `user_data`")
    tags: Mapping[str, str] = Field({}, description="tags beside those of this provider")
    address: Literal["private", "public"] = Field("private", description="which address a VM is used by")
    associate_public_ip: bool | None = Field(None, description="give a public address; else as the subnet says")
    readiness: Literal["tcp", "status", "running"] = Field(
        "tcp",
        description="`tcp`: the port accepts a connection. `status`: both status checks passed. `running`: it runs",
    )
    ready_port: int = Field(22, ge=1, le=65_535, description="the port for `readiness: tcp`")
    start_seconds: Seconds = Field(300, description="how long a new instance may take to run and have an address")
    provision: Any = Field(None, description="accepted, without effect")

    @property
    def places(self) -> tuple[LaunchPlace, ...]:
        """Return where instances may be started: subnets, else zones, else wherever EC2 likes."""
        if self.subnets:
            return tuple(LaunchPlace(subnet=subnet) for subnet in self.subnets)
        zones = self.zones or ((self.zone,) if self.zone else ())
        return tuple(LaunchPlace(zone=zone) for zone in zones) or (LaunchPlace(),)

    @cached_property
    def user_data_text(self) -> str | None:
        """Return the user data. Raise PermanentProviderError if its file cannot be read."""
        if self.user_data_file is None:
            return self.user_data.get_secret_value() if self.user_data else None
        try:
            return self.user_data_file.read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            cause = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            raise PermanentProviderError(f"user_data_file {self.user_data_file} cannot be read: {cause}") from error


class Ec2Options(InstanceOptions):
    """The section of EC2 in `:providers:`."""

    provider_class: str | None = Field(None, description="read by the registry")
    region: str | None = Field(None, description="region; else the SDK's own (AWS_REGION, the profile)")
    endpoint_url: str | None = Field(None, description="address of another service with EC2's API")
    profile: str | None = Field(None, description="profile in the SDK's files; else the SDK's own choice")
    access_key: SecretStr | None = Field(
        None,
        validation_alias=AliasChoices("ABS_AWS_ACCESS_KEY", "abs_aws_access_key"),
        description="access key as VMPooler has it; else the environment's, else the SDK's own chain",
    )
    secret_key: SecretStr | None = Field(
        None,
        validation_alias=AliasChoices("ABS_AWS_SECRET_KEY", "abs_aws_secret_key"),
        description="secret key of `ABS_AWS_ACCESS_KEY`",
    )
    retry_mode: Literal["standard", "adaptive", "legacy"] = Field(
        "standard", description="how the SDK repeats calls; `adaptive` slows down when EC2 throttles"
    )
    max_attempts: int = Field(4, ge=1, le=100, description="how often the SDK makes a call")
    connect_timeout_seconds: Seconds = Field(5, description="time limit of a connection")
    read_timeout_seconds: Seconds = Field(20, description="time limit of a reply")
    connection_pool_size: int = Field(128, ge=1, le=10_000, description="connections that a process keeps open")
    connection_pool_timeout: Any = Field(None, description="accepted, without effect")
    domain: Any = Field(None, description="accepted; DNS is configured in `:dns_configs:`")
    dns_zone_resource_name: Any = Field(None, description="accepted; DNS is configured in `:dns_configs:`")
    purge_unconfigured_resources: Any = Field(None, description="read by the pool workers")
    purge_unconfigured_folders: Any = Field(None, description="read by the pool workers")
    resources_allowlist: Any = Field(None, description="read by the pool workers")
    folder_whitelist: Any = Field(None, description="read by the pool workers")
    skip_dns_check_before_creating_vm: Any = Field(None, description="read by the pool workers")


POOL_OPTIONS = frozenset(InstanceOptions.model_fields) | {"instance_type"}
"""The options that a pool may have."""

_SAME = {"instance_type": "amisize"}
_PLACES = frozenset({"zone", "zones", "subnets"})
_USER_DATA = frozenset({"user_data", "user_data_file"})


def options_of(section: Ec2Options, pool: PoolSpec) -> InstanceOptions:
    """Return the options of a pool: its own, else those of the section.

    Raise PermanentProviderError with all problems if the pool's own are wrong.
    """
    own = {
        _SAME.get(name, name): value
        for name, value in pool.options.items()
        if name in POOL_OPTIONS and value is not None
    }
    replaced = set(own)
    for group in (_PLACES, _USER_DATA):  # a pool with a zone of its own does not use the section's subnets
        replaced |= group if own.keys() & group else frozenset()
    inherited = {name: value for name, value in _set_values(section).items() if name not in replaced}
    try:
        return InstanceOptions.model_validate({**inherited, **own})
    except ValidationError as error:
        raise PermanentProviderError("; ".join(_lines(error))) from None


def _set_values(section: Ec2Options) -> dict[str, Any]:
    return {name: getattr(section, name) for name in section.model_fields_set if name in InstanceOptions.model_fields}


def _lines(error: ValidationError) -> list[str]:
    """Return a line for each wrong option, without its value: user data may hold secrets."""
    details = error.errors(include_url=False, include_context=False, include_input=False)
    return [
        f"{'.'.join(map(str, detail['loc']))}: {detail['msg'].replace('Input should', 'must')}" for detail in details
    ]
