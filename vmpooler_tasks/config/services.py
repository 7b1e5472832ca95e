"""The sections of metrics servers and of the web process: `:statsd:`, `:graphite:` and `:web:`."""

from enum import StrEnum
from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, Field

from vmpooler_tasks.config.types import NotBlank, Number, Secret, Section, Text

Port = Annotated[int, Number, Field(ge=1, le=65535)]


class _MetricsServer(Section):
    server: Text | None = Field(None, description="host name or address; nothing is sent without one")
    prefix: Annotated[Text, NotBlank] = Field("vmpooler", description="start of the name of every metric")


class StatsdSection(_MetricsServer):
    """`:statsd:`: gauges are sent there by UDP after each health check."""

    port: Port = Field(8125, description="port, UDP")


class GraphiteSection(_MetricsServer):
    """`:graphite:`: gauges are sent there by TCP after each health check."""

    port: Port = Field(2003, description="port, TCP")


class Role(StrEnum):
    """The rights of a user or program on the web page and in the API."""

    READ = "read"
    OPERATE = "operate"
    """`read`, and also redrive, delete and purge."""


class Credential(Section):
    """One entry of `users:` or `tokens:` in `:web:`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[Text, NotBlank, Field(min_length=1)] = Field(description="name of the user or program in the audit")
    role: Role = Field(Role.READ, description="`read`, or `operate` (also redrive, delete and purge)")
    secret: Annotated[Secret, NotBlank, Field(min_length=8)] = Field(
        description="the password or the token; at least 8 characters"
    )


def _as_credentials(value: Any) -> Any:
    """Parse `name:role:secret,…` from the environment. A secret may contain colons, but no comma."""
    if not isinstance(value, str):
        return value
    names = ("name", "role", "secret")
    return [dict(zip(names, one.strip().split(":", 2), strict=False)) for one in value.split(",") if one.strip()]


Credentials = Annotated[tuple[Credential, ...], BeforeValidator(_as_credentials)]


class WebSection(Section):
    """`:web:`, the page and the API."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: Annotated[Text, NotBlank] = Field(
        "127.0.0.1", description="address to listen on; any address but loopback needs credentials"
    )
    port: Port = Field(8080, description="port")
    users: Credentials = Field((), description="who may log in, each with `name`, `role` and `secret`")
    tokens: Credentials = Field((), description="bearer tokens of programs, each with `name`, `role` and `secret`")
    tls_certificate: Text | None = Field(None, description="file with the certificate chain, PEM; serves HTTPS")
    tls_key: Text | None = Field(None, description="file with its key, PEM")
    hosts: Annotated[tuple[Text, ...], BeforeValidator(lambda v: v.split(",") if isinstance(v, str) else v)] = Field(
        (), description="host names that requests may use; default: those of loopback on loopback, else any"
    )
