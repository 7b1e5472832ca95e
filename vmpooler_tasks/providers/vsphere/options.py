"""The options of a vCenter in `:providers:`, of `:config:` and of its pools. VMPooler's own options load unchanged."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError, model_validator

from vmpooler_tasks.errors import PermanentProviderError
from vmpooler_tasks.providers.protocol import PoolSpec

Seconds = Annotated[float, Field(gt=0, le=3600, allow_inf_nan=False)]
Port = Annotated[int, Field(ge=0, le=65535)]


def _as_text(value: Any) -> Any:
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


Text = Annotated[str, BeforeValidator(_as_text)]
"""A text that YAML may have read as a number."""


class VsphereOptions(BaseModel):
    """A section of `:providers:`. One of `password`, `password_file` and `password_variable` is needed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    provider_class: str | None = Field(None, description="read by the registry")
    server: str = Field(min_length=1, description="name or address of the vCenter; a port may follow: `name:8443`")
    username: str = Field(min_length=1, description="login, such as `vmpooler@vsphere.local`")
    password: SecretStr | None = Field(None, description="password of the login")
    password_file: Path | None = Field(None, description="file whose first line is the password, read at each login")
    password_variable: str | None = Field(None, description="environment variable of the workers with the password")
    insecure: bool = Field(False, description="do not verify the vCenter's certificate")
    ca_file: Path | None = Field(None, description="PEM file of the authority that signed the vCenter's certificate")
    datacenter: Text | None = Field(None, description="datacenter of the pools that name none; else the only one")
    connection_pool_size: int = Field(32, ge=1, le=1000, description="calls at the same time, in one process")
    connection_pool_timeout: Seconds = Field(60, description="how long a call waits until another one has ended")
    call_timeout_seconds: Seconds = Field(30, description="how long the vCenter may take to reply to one call")
    task_timeout_seconds: Seconds = Field(900, description="how long a clone, a destruction or a snapshot may take")
    address_timeout_seconds: Seconds = Field(240, description="how long a new VM may take to report its address")
    ready_port: Port = Field(22, description="TCP port that a ready VM has open; 0 for no such check")
    ready_timeout_seconds: Seconds = Field(5, description="how long a VM may take to accept that connection")
    purge_unconfigured_folders: bool = Field(False, description="the old name of purge_unconfigured_resources")
    purge_unconfigured_resources: bool = Field(False, description="read by the workers")
    folder_whitelist: tuple[Text, ...] | None = Field(None, description="the old name of resources_allowlist")
    resources_allowlist: tuple[Text, ...] | None = Field(None, description="read by the workers")
    domain: Text | None = Field(None, description="accepted, without effect: `:dns_configs:` sets the domain")
    skip_dns_check_before_creating_vm: bool = Field(False, description="read by the workers")

    @model_validator(mode="before")
    @classmethod
    def _drop_breaker(cls, data: Any) -> Any:
        """Drop `circuit_breaker` of VMPooler: the breaker here is that of the workers. A blank option is not set."""
        if not isinstance(data, dict):
            return data
        given = {name: value for name, value in data.items() if value is not None}
        return {name: value for name, value in given.items() if not str(name).startswith("circuit_breaker")}

    @model_validator(mode="after")
    def _has_one_password(self) -> Self:
        given = [self.password, self.password_file, self.password_variable]
        if sum(value is not None for value in given) != 1:
            raise ValueError("name one of password, password_file and password_variable")
        if not self.address[0]:
            raise ValueError("server has no name")
        return self

    @property
    def address(self) -> tuple[str, int]:
        """Return host and port of the vCenter. Raise ValueError for a port that is not valid."""
        parts = urlsplit(f"//{self.server}")
        return parts.hostname or "", parts.port or 443

    def read_password(self) -> str:
        """Return the password from where it is. Raise PermanentProviderError if it is not there."""
        if self.password is not None:
            return self.password.get_secret_value()
        if self.password_variable is not None:
            found = os.environ.get(self.password_variable)
            if not found:
                raise PermanentProviderError(f"the environment variable {self.password_variable} is not set")
            return found
        try:
            return Path(str(self.password_file)).read_text(encoding="utf-8").split("\n", 1)[0].rstrip("\r")
        except (OSError, ValueError) as error:
            raise PermanentProviderError(f"password_file cannot be read: {error}") from error


class CloneDefaults(BaseModel):
    """Options of `:config:` that VMPooler's vSphere provider reads."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    create_folders: bool = Field(False, description="make the folder of a pool if it does not exist")
    create_linked_clones: bool = Field(True, description="make linked clones in pools that say nothing else")
    create_template_delta_disks: bool = Field(False, description="give a template's disks a layer to link to")
    manage_host_selection: bool = Field(False, description="put each clone on the least used host of its cluster")
    utilization_limit: float = Field(90, gt=0, le=100, description="busiest host that gets clones, in percent")
    host_selection_max_age: float = Field(
        60, gt=0, allow_inf_nan=False, description="how old figures of the hosts may be, in seconds"
    )


class VspherePool(BaseModel):
    """The options of a pool that the provider reads, beside those of every pool."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    folder: Text = Field(
        min_length=1, description="folder of the pool's VMs, below the datacenter's VMs; no other pool has it"
    )
    datastore: Text | None = Field(None, description="datastore of the clones; without it, that of the template")
    datacenter: Text | None = Field(None, description="datacenter of template, folder and cluster")
    create_linked_clone: bool | None = Field(None, description="linked clones: create_linked_clones of `:config:`")
    network: Text | None = Field(None, description="network of the clones; without it, that of the template")
    snapshot_mainMem_ioBlockPages: Text | None = Field(  # noqa: N815 - VMPooler's name
        None, description="`mainMem.ioBlockPages` of the clones: memory that a snapshot writes at once"
    )
    snapshot_mainMem_iowait: Text | None = Field(  # noqa: N815 - VMPooler's name
        None, description="`mainMem.iowait` of the clones: pause between these writes"
    )
    ready_port: Port | None = Field(None, description="as in the provider's section")
    address_timeout_seconds: Seconds | None = Field(None, description="as in the provider's section")

    @classmethod
    def of(cls, pool: PoolSpec) -> "VspherePool":
        """Return the pool's options. Raise PermanentProviderError with everything that is wrong with them."""
        chosen = {name: value for name, value in pool.options.items() if name in cls.model_fields}
        try:
            return cls.model_validate({**chosen, "folder": str(chosen.get("folder") or "").strip("/")})
        except ValidationError as error:
            raise PermanentProviderError(f"pool {pool.name}: {problems_of(error)}") from error

    @property
    def extra_config(self) -> Mapping[str, str]:
        """Return the advanced settings of a clone that the options set."""
        chosen = {
            "mainMem.ioBlockPages": self.snapshot_mainMem_ioBlockPages,
            "mainMem.iowait": self.snapshot_mainMem_iowait,
        }
        return {name: value for name, value in chosen.items() if value is not None}


def problems_of(error: ValidationError) -> str:
    """Return what is wrong, without the values."""
    details = error.errors(include_url=False, include_context=False, include_input=False)
    return "; ".join(f"{'.'.join(map(str, detail['loc']))}: {_words(detail['msg'])}" for detail in details)


def _words(message: str) -> str:
    return message.removeprefix("Value error, ").replace("Input should", "must", 1).replace("String should", "must", 1)
