"""The entries of `:dns_configs:`."""

from collections.abc import Mapping
from typing import Any

from pydantic import ConfigDict, Field

from vmpooler_tasks.config.types import Section, Text

NO_RECORDS_CLASS = "dynamic-dns"
"""The `dns_class` with which nobody writes records: the VMs do it themselves."""


class DnsConfig(Section):
    """One entry of `:dns_configs:`. Its DNS plugin validates the options that are no field here."""

    model_config = ConfigDict(frozen=True, extra="allow")

    domain: Text | None = Field(None, description="the domain of the pools that name this entry as `dns_plugin`")
    dns_class: Text | None = Field(
        None,
        description="what writes the DNS records of the VMs: `rfc2136`, `route53`, or that of an installed package; "
        "`dynamic-dns` or nothing: the VMs do it themselves ([DNS](dns.md))",
    )

    @property
    def writes_records(self) -> bool:
        """Return whether these workers write DNS records for the pools of this entry."""
        return bool(self.dns_class) and (self.dns_class or "").casefold() != NO_RECORDS_CLASS

    @property
    def options(self) -> Mapping[str, Any]:
        """Return the options of the DNS plugin."""
        return self.model_extra or {}
