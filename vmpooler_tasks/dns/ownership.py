"""The TXT record beside each record: which installation made it, for which pool, and with which address.

Its text has the form that external-dns uses:

    heritage=vmpooler-tasks,vmpooler-tasks/installation=prod,vmpooler-tasks/pool=debian,vmpooler-tasks/address=10.0.0.7
"""

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote, unquote

from vmpooler_tasks.dns.protocol import DnsRecord

MAX_STRING_BYTES = 255
"""Maximum length of one string of a TXT record."""

_HERITAGE = "heritage=vmpooler-tasks"
_PREFIX = "vmpooler-tasks/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ownership:
    """Who made a record, and what it was."""

    installation: str
    pool: str
    address: str

    @classmethod
    def of(cls, record: DnsRecord, installation: str) -> "Ownership":
        return cls(installation=installation, pool=record.pool, address=record.address)

    @classmethod
    def parse(cls, text: str) -> "Ownership | None":
        """Return what the text of a TXT record says; None if it is about something else."""
        heritage, *parts = text.split(",")
        if heritage != _HERITAGE:
            return None
        found = dict(part.removeprefix(_PREFIX).partition("=")[::2] for part in parts if part.startswith(_PREFIX))
        values = {name: unquote(found.get(name, "")) for name in ("installation", "pool", "address")}
        return cls(**values) if values["installation"] and values["address"] else None

    def strings(self) -> Sequence[str]:
        """Return the text as the strings of one TXT record. They are ASCII, without quotes, blanks and backslashes."""
        values = {"installation": self.installation, "pool": self.pool, "address": self.address}
        parts = [f"{_PREFIX}{name}={quote(value, safe=':')}" for name, value in values.items()]
        text = ",".join([_HERITAGE, *parts])
        return [text[start : start + MAX_STRING_BYTES] for start in range(0, len(text), MAX_STRING_BYTES)]
