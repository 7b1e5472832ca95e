"""The options of libvirt in `:providers:`, and those that it reads from a pool."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, NamedTuple, Self
from urllib.parse import parse_qsl, urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator

from vmpooler_tasks.errors import PermanentProviderError
from vmpooler_tasks.providers.protocol import PoolSpec

READ_ELSEWHERE = frozenset(
    {
        "folder_whitelist",
        "purge_unconfigured_folders",
        "purge_unconfigured_resources",
        "resources_allowlist",
        "skip_dns_check_before_creating_vm",
    }
)
"""Options of every provider that the workers read themselves."""

DEFAULT_URI = "qemu:///system"

AddressSource = Literal["lease", "agent", "arp"]


def _require_scheme(uri: str) -> str:
    parts = urlsplit(uri)
    if not parts.scheme:
        raise ValueError("must be a URI of libvirt, such as qemu:///system or qemu+ssh://root@host/system")
    if parts.password:
        raise ValueError("must not have a password: use username and password, or libvirt's auth.conf")
    return uri


Uri = Annotated[str, AfterValidator(_require_scheme)]
Port = Annotated[int, Field(ge=1, le=65535, strict=True)]
Seconds = Annotated[float, Field(gt=0, le=3600, allow_inf_nan=False, strict=True)]


class LibvirtSection(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class LibvirtOptions(LibvirtSection):
    """The section of libvirt. A pool can set the options of `PoolOptions` for itself."""

    provider_class: str | None = Field(None, description="read by the registry")
    uri: Uri | None = Field(None, description="the URI of the only host; `qemu:///system` if there are no `hosts`")
    hosts: dict[str, Uri] = Field({}, description="several hosts: name → URI. `clone_target` of a pool is such a name")
    username: str | None = Field(None, description="user, for hosts with SASL; else libvirt's auth.conf is read")
    password: SecretStr | None = Field(None, description="password of this user")
    storage_pool: str = Field("default", min_length=1, description="the storage pool for the volumes of VMs")
    cloud_init: bool = Field(False, strict=True, description="give the VM its name through SMBIOS, for cloud-init")
    create_linked_clone: bool = Field(
        True, strict=True, description="base disks on those of the template; without it: create_linked_clones"
    )
    address_sources: tuple[AddressSource, ...] = Field(
        ("lease", "agent", "arp"), min_length=1, description="where the address of a VM is found, in this order"
    )
    address_seconds: Seconds = Field(300, description="how long a clone waits for the address of the VM")
    ready_port: Port | None = Field(22, description="TCP port of a VM that is ready; null: an address is enough")
    ready_seconds: Seconds = Field(5, description="how long a connection to this port may take")
    call_seconds: Seconds = Field(20, description="how long a query of a host may take, with its connection")
    change_seconds: Seconds = Field(120, description="how long a change on a host may take, such as a start")
    copy_seconds: Seconds = Field(600, description="how long the full copy of a disk may take")
    snapshot_seconds: Seconds = Field(540, description="how long a snapshot or a revert may take")

    @model_validator(mode="before")
    @classmethod
    def _drop_options_of_every_provider(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        return {name: value for name, value in data.items() if name not in READ_ELSEWHERE}

    @model_validator(mode="after")
    def _require_one_kind_of_address(self) -> Self:
        if self.uri and self.hosts:
            raise ValueError("must have uri or hosts, not both")
        if self.password and not self.username:
            raise ValueError("must have a username if it has a password")
        return self

    def uris(self) -> Mapping[str, str]:
        """Return the hosts: name → URI. The name of a single host is that of its machine."""
        if self.hosts:
            return {name: without_prompt(uri) for name, uri in self.hosts.items()}
        uri = self.uri or DEFAULT_URI
        return {urlsplit(uri).hostname or "localhost": without_prompt(uri)}


class PoolOptions(BaseModel):
    """The options that libvirt reads from a pool. One that is not set has the value of the section."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    ready_port: Port | None = Field(None, description="TCP port of a VM that is ready; null: an address is enough")
    storage_pool: str = Field("", min_length=1, description="the storage pool for the volumes of VMs")
    cloud_init: bool = Field(False, strict=True, description="give the VM its name through SMBIOS, for cloud-init")
    create_linked_clone: bool = Field(True, strict=True, description="base disks on those of the template")

    @classmethod
    def of(cls, pool: PoolSpec) -> Self:
        """Return the pool's options. One without a value is not set, but `ready_port` may be null.

        Raise PermanentProviderError with all wrong ones, without their values.
        """
        own = {name: pool.options.get(name) for name in cls.model_fields}
        chosen = {name: value for name, value in own.items() if value is not None}
        if "ready_port" in pool.options:
            chosen["ready_port"] = own["ready_port"]
        try:
            return cls.model_validate(chosen)
        except ValidationError as error:
            found = error.errors(include_url=False, include_context=False, include_input=False)
            text = "; ".join(f"{detail['loc'][0]}: {detail['msg']}" for detail in found)
            raise PermanentProviderError(f"wrong options of pool {pool.name}: {text}") from None


class EffectiveOptions(NamedTuple):
    """The options in effect for a pool."""

    ready_port: int | None
    storage_pool: str
    cloud_init: bool
    create_linked_clone: bool

    @classmethod
    def of(cls, section: LibvirtOptions, pool: PoolSpec) -> Self:
        """Return the pool's own options, and the section's where it has none. Raise PermanentProviderError."""
        own = PoolOptions.of(pool)
        return cls(*(getattr(own if name in own.model_fields_set else section, name) for name in cls._fields))


def without_prompt(uri: str) -> str:
    """Return the URI with `no_tty=1` if it is one of ssh: a worker must not wait for somebody to type a password."""
    parts = urlsplit(uri)
    if not parts.scheme.endswith("+ssh") or "no_tty" in dict(parse_qsl(parts.query)):
        return uri
    return parts._replace(query="&".join(filter(None, (parts.query, "no_tty=1")))).geturl()
