"""The protocol of a DNS plugin: what each method returns, and which errors it raises.

A DNS plugin is found by an entry point (group `vmpooler_tasks.dns`) that names a factory. The name of the entry point
is the `dns_class` of an entry of `:dns_configs:`. The factory is called once in each process with a `DnsContext`, and
returns a `DnsPlugin`. `vmpooler_tasks.dns.contract` is the test suite that every plugin must pass. docs/dns.md has an
introduction.

- Ownership: each record has a TXT record of the same name, which says which installation made it and with which
  address (`vmpooler_tasks.dns.ownership`). A record is *ours* if the TXT record has the mark of this installation and
  the address is still the one that the TXT record says. Whoever changes the address takes the record over. A plugin
  replaces and deletes nothing else.
- Atomic steps: the server itself compares the record with what the plugin has read, in the same step that changes it.
- Thread safety: one plugin serves all threads of a worker, hundreds at once. It is created after the fork.
- Time limits: a call returns or raises within its own time limit.
- Errors: `PermanentDnsError`, `TransientDnsError` (both in `vmpooler_tasks.errors`). Any other exception counts as
  transient, unless it is a programming error.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol, runtime_checkable


@dataclass(frozen=True, slots=True, kw_only=True)
class DnsContext:
    """The entry's `name` in `:dns_configs:`, its `domain`, and its other `options`.

    `installation` is the mark of what this installation makes. It is never empty.
    """

    name: str
    domain: str
    options: Mapping[str, Any]
    installation: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DnsRecord:
    """A record to make: the full `name` of the VM without a final dot, its `address` (IPv4 or IPv6), and its pool."""

    name: str
    address: str
    pool: str


class Deletion(StrEnum):
    """Result of a deletion."""

    DELETED = "deleted"
    ABSENT = "absent"
    """There is nothing of this name."""

    NOT_OURS = "not_ours"
    """Somebody else made the record, or changed its address. It was not touched."""


@runtime_checkable
class DnsPlugin(Protocol):
    """Makes and deletes the DNS records of VMs. Every method may raise a DnsError."""

    def is_taken(self, name: str) -> bool:
        """Return whether there is a record of this name, of any type, that is not ours."""

    def create_record(self, record: DnsRecord) -> bool:
        """Make the record and its TXT record in one step. Replace them if they are ours.

        Return False, and change nothing, if the name is taken. A repeated call is harmless.
        """

    def delete_record(self, name: str) -> Deletion:
        """Delete the record of this name and its TXT record in one step, if they are ours."""

    def close(self) -> None:
        """Close all connections. The process ends after this."""


@runtime_checkable
class CheckedDnsPlugin(Protocol):
    """The optional method of a plugin that can try its options: `config check --online` and `doctor` call it."""

    def find_problems(self) -> Sequence[str]:
        """Return what does not work, each with its cause and what to do: server, zone, key, permission.

        Change nothing. Return all problems, not only the first. Raise TransientDnsError if the server does not reply.
        """
