"""Records in Route 53. Each change is one batch, which the API makes whole or not at all.

It creates only what does not exist, and deletes only record sets that are exactly as they were read.
"""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vmpooler_tasks.dns.ownership import Ownership
from vmpooler_tasks.dns.protocol import Deletion, DnsRecord
from vmpooler_tasks.dns.route53.zone import ConflictError, HostedZone
from vmpooler_tasks.errors import PermanentDnsError, TransientDnsError

if TYPE_CHECKING:
    from types_boto3_route53.literals import ChangeActionType, RRTypeType
    from types_boto3_route53.type_defs import (
        ChangeTypeDef,
        ResourceRecordSetOutputTypeDef,
        ResourceRecordSetTypeDef,
        ResourceRecordTypeDef,
    )

    Sets = Sequence[ResourceRecordSetOutputTypeDef]


@dataclass(frozen=True, slots=True)
class _OwnRecord:
    """A record of this installation as it was read: our `text` in the set of `texts`, and the set of our address."""

    text: str
    texts: "ResourceRecordSetOutputTypeDef"
    address: "ResourceRecordSetOutputTypeDef | None"

    def deletions(self) -> "list[ChangeTypeDef]":
        """Return the changes that delete both sets, if they are exactly as they were read."""
        sets = (self.texts, self.address)
        return [_change("DELETE", one) for one in sets if one is not None]

    def other_texts(self) -> "list[str]":
        """Return what somebody else added to the set of texts."""
        return [value for value in _values(self.texts) if value != self.text]


class Route53:
    """Makes and deletes records in one hosted zone."""

    def __init__(self, zone: HostedZone, installation: str, ttl: int) -> None:
        self._zone = zone
        self._installation = installation
        self._ttl = ttl

    def is_taken(self, name: str) -> bool:
        found = self._zone.read(name)
        return bool(found) and self._own(found) is None

    def create_record(self, record: DnsRecord) -> bool:
        found = self._zone.read(record.name)
        own = self._own(found)
        if found and own is None:
            return False
        text, kind = self._text(record), _kind(record.address)
        if own is None:
            self._change(record.name, [], [text], (kind, record.address))
        elif own.text == text:
            if own.address is None:
                self._change(record.name, [], [], (kind, record.address))
        elif any(one["Type"] == kind and one != own.address for one in found):
            return False  # from IPv4 to IPv6, or back: somebody else has an address of the new kind
        else:
            self._change(record.name, own.deletions(), [*own.other_texts(), text], (kind, record.address))
        return True

    def delete_record(self, name: str) -> Deletion:
        found = self._zone.read(name)
        own = self._own(found)
        if own is None:
            return Deletion.NOT_OURS if found else Deletion.ABSENT
        self._change(name, own.deletions(), own.other_texts())
        return Deletion.DELETED

    def find_problems(self) -> Sequence[str]:
        try:
            return self._zone.find_problems()
        except PermanentDnsError as error:
            return [str(error)]

    def close(self) -> None:
        self._zone.close()

    def _own(self, found: "Sets") -> _OwnRecord | None:
        """Return the record if it is ours: our mark, and the address that our text says, or none at all."""
        texts = next((one for one in found if one["Type"] == "TXT" and _is_simple(one)), None)
        for text in _values(texts) if texts else ():
            owner = Ownership.parse(_joined(text))
            if texts is None or owner is None or owner.installation != self._installation:
                continue
            kind = _kind(owner.address)
            address = next((one for one in found if one["Type"] == kind), None)
            if address is None or (_is_simple(address) and _values(address) == [owner.address]):
                return _OwnRecord(text, texts, address)
        return None

    def _text(self, record: DnsRecord) -> str:
        strings = Ownership.of(record, self._installation).strings()
        return " ".join(f'"{string}"' for string in strings)

    def _change(
        self,
        name: str,
        deletions: "Sequence[ChangeTypeDef]",
        texts: Sequence[str],
        address: "tuple[RRTypeType, str] | None" = None,
    ) -> None:
        """Delete and create in one step. Raise TransientDnsError if the records are not as they were read."""
        creations = [_change("CREATE", self._set(name, "TXT", texts))] if texts else []
        if address is not None:
            kind, value = address
            creations.append(_change("CREATE", self._set(name, kind, [value])))
        try:
            self._zone.change([*deletions, *creations])
        except ConflictError as error:
            raise TransientDnsError(f"the DNS record {name} was changed at the same moment: {error}") from error

    def _set(self, name: str, kind: "RRTypeType", values: Sequence[str]) -> "ResourceRecordSetTypeDef":
        records: list[ResourceRecordTypeDef] = [{"Value": value} for value in values]
        return {"Name": f"{name.rstrip('.')}.", "Type": kind, "TTL": self._ttl, "ResourceRecords": records}


def _change(
    action: "ChangeActionType", what: "ResourceRecordSetTypeDef | ResourceRecordSetOutputTypeDef"
) -> "ChangeTypeDef":
    return {"Action": action, "ResourceRecordSet": what}


def _is_simple(found: "ResourceRecordSetOutputTypeDef") -> bool:
    """Return whether the set is neither an alias nor one of several by weight, place or health."""
    return "SetIdentifier" not in found and "AliasTarget" not in found


def _values(found: "ResourceRecordSetOutputTypeDef") -> list[str]:
    return [record["Value"] for record in found.get("ResourceRecords", ())]


def _joined(value: str) -> str:
    """Return the text of a TXT value. Ours has neither quotes nor blanks in its strings."""
    return "".join(part.strip('"') for part in value.split('" "'))


def _kind(address: str) -> "RRTypeType":
    try:
        return "A" if ipaddress.ip_address(address).version == 4 else "AAAA"  # noqa: PLR2004
    except ValueError:
        return "A"
