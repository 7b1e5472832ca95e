"""Records by dynamic updates. Each change is one message, whose prerequisites the server checks in the same step.

RFC 2136: a new record requires that nothing has its name. A change or deletion requires that the TXT record and the
address are exactly those that were read.
"""

import ipaddress
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import dns.exception
import dns.name
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdataset
import dns.rdatatype
import dns.rdtypes.ANY.TXT
import dns.update

from vmpooler_tasks.dns.ownership import Ownership
from vmpooler_tasks.dns.protocol import Deletion, DnsRecord
from vmpooler_tasks.dns.rfc2136.server import UpdateServer
from vmpooler_tasks.errors import PermanentDnsError, TransientDnsError

_IN, _TXT = dns.rdataclass.IN, dns.rdatatype.TXT


@dataclass(frozen=True, slots=True)
class _OwnRecord:
    """A record of this installation as it was read: all texts of its name, ours among them, and our address, if any."""

    texts: dns.rdataset.Rdataset
    text: dns.rdata.Rdata
    kind: dns.rdatatype.RdataType
    address: dns.rdata.Rdata | None

    def require_unchanged(self, update: dns.update.UpdateMessage, name: dns.name.Name) -> None:
        """Let the server refuse the update if the record is not as it was read."""
        for text in self.texts:
            update.present(name, text)
        if self.address is None:
            update.absent(name, self.kind)
        else:
            update.present(name, self.address)

    def delete(self, update: dns.update.UpdateMessage, name: dns.name.Name) -> None:
        """Add the deletion of our text and address, and of nothing else, to the update."""
        update.delete(name, self.text)
        if self.address is not None:
            update.delete(name, self.address)


class Rfc2136:
    """Makes and deletes records on one server."""

    def __init__(self, server: UpdateServer, installation: str, ttl: int) -> None:
        self._server = server
        self._installation = installation
        self._ttl = ttl

    def is_taken(self, name: str) -> bool:
        full = _full(name)
        return self._exists(full) and self._read_own(full) is None

    def create_record(self, record: DnsRecord) -> bool:
        name, new = _full(record.name), self._rdatas(record)
        update = self._server.new_update()
        update.absent(name)
        self._add(update, name, new)
        if self._server.send(update) == dns.rcode.NOERROR:
            return True
        own = self._read_own(name)
        if own is None:
            return False
        return self._replace(name, own, new)

    def _replace(self, name: dns.name.Name, own: _OwnRecord, new: Sequence[dns.rdata.Rdata]) -> bool:
        address, text = new
        if (own.address, own.text) == (address, text):
            return True
        update = self._server.new_update()
        own.require_unchanged(update, name)
        if address.rdtype != own.kind:  # from IPv4 to IPv6, or back: nobody else may have an address of the new kind
            update.absent(name, address.rdtype)
        own.delete(update, name)
        self._add(update, name, new)
        self._require_done(update, name)
        return True

    def delete_record(self, name: str) -> Deletion:
        try:
            full = _full(name)
        except dns.exception.DNSException:  # such as a label that is too long: no record can have this name
            return Deletion.ABSENT
        own = self._read_own(full)
        if own is None:
            return Deletion.NOT_OURS if self._exists(full) else Deletion.ABSENT
        update = self._server.new_update()
        own.require_unchanged(update, full)
        own.delete(update, full)
        self._require_done(update, full)
        return Deletion.DELETED

    def find_problems(self) -> Sequence[str]:
        return list(self._problems())

    def close(self) -> None:
        """Nothing is open between two calls."""

    def _problems(self) -> Iterator[str]:
        try:
            if not self._server.read(self._server.zone, dns.rdatatype.SOA):
                yield f"DNS server {self._server.address} has no zone {self._server.zone.to_text(omit_final_dot=True)}"
                return
            # The deletion of nothing: a server checks the permission for it all the same.
            update, name = self._server.new_update(), f"check-{secrets.token_hex(8)}.{self._server.zone}"
            for kind in (_TXT, dns.rdatatype.A, dns.rdatatype.AAAA):
                update.delete(_full(name), kind)
            self._server.send(update)
        except PermanentDnsError as error:
            yield str(error)

    def _exists(self, name: dns.name.Name) -> bool:
        """Return whether anything has this name. An update without changes compares no wildcard with it."""
        update = self._server.new_update()
        update.absent(name)
        return self._server.send(update) != dns.rcode.NOERROR

    def _read_own(self, name: dns.name.Name) -> _OwnRecord | None:
        """Return the record if it is ours: our mark, and the address that our text says, or none at all."""
        texts = self._server.read(name, _TXT)
        for text in texts:
            found = Ownership.parse(_joined(text))
            if found is None or found.installation != self._installation:
                continue
            expected = _address(found.address)
            addresses = self._server.read(name, expected.rdtype) if expected else ()
            if expected and list(addresses) in ([], [expected]):
                return _OwnRecord(texts, text, expected.rdtype, expected if addresses else None)
        return None

    def _rdatas(self, record: DnsRecord) -> Sequence[dns.rdata.Rdata]:
        address = _address(record.address)
        if address is None:
            raise ValueError(f"{record.address!r} is no address")
        strings = Ownership.of(record, self._installation).strings()
        return address, dns.rdtypes.ANY.TXT.TXT(_IN, _TXT, [string.encode() for string in strings])

    def _add(self, update: dns.update.UpdateMessage, name: dns.name.Name, rdatas: Sequence[dns.rdata.Rdata]) -> None:
        for rdata in rdatas:
            update.add(name, self._ttl, rdata)

    def _require_done(self, update: dns.update.UpdateMessage, name: dns.name.Name) -> None:
        rcode = self._server.send(update)
        if rcode != dns.rcode.NOERROR:
            shown, why = name.to_text(omit_final_dot=True), dns.rcode.to_text(rcode)
            raise TransientDnsError(f"the DNS record {shown} was changed at the same moment: {why}")


def _full(name: str) -> dns.name.Name:
    return dns.name.from_text(name)


def _address(text: str) -> dns.rdata.Rdata | None:
    """Return the address as an A or AAAA record; None if the text is something else."""
    try:
        version = ipaddress.ip_address(text).version
    except ValueError:
        return None
    kind = dns.rdatatype.A if version == 4 else dns.rdatatype.AAAA  # noqa: PLR2004
    return dns.rdata.from_text(_IN, kind, text)


def _joined(rdata: dns.rdata.Rdata) -> str:
    strings: Sequence[bytes] = getattr(rdata, "strings", ())
    return b"".join(strings).decode("ascii", errors="replace")
