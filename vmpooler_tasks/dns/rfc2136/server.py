"""The exchange of messages with the server, and its refusals as errors of this package."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import dns.exception
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdataclass
import dns.rdataset
import dns.rdatatype
import dns.tsig
import dns.update

from vmpooler_tasks.dns.rfc2136.options import Rfc2136Options
from vmpooler_tasks.errors import DnsError, PermanentDnsError, TransientDnsError

IN_USE = (dns.rcode.YXDOMAIN, dns.rcode.YXRRSET, dns.rcode.NXRRSET, dns.rcode.NXDOMAIN)
"""Replies to an update whose prerequisites do not hold. Nothing was changed."""

_PERMANENT = {
    dns.rcode.FORMERR: "it does not understand the message",
    dns.rcode.NOTIMP: "it takes no updates",
    dns.rcode.REFUSED: "the key or address has no permission for this name",
    dns.rcode.NOTAUTH: "it is not the primary server of the zone, or does not know the key",
    dns.rcode.NOTZONE: "the name is not in the zone",
}
"""Replies that another attempt does not change → what they mean."""


class UpdateServer:
    """The primary server of a zone. Each message has a TCP connection of its own, so that any thread may send one."""

    def __init__(self, options: Rfc2136Options) -> None:
        self._options = options
        self.zone = dns.name.from_text(options.zone)
        self.address = f"{options.server}:{options.port}"

    def new_update(self) -> dns.update.UpdateMessage:
        """Return an update without prerequisites and changes."""
        key = self._options.key
        return dns.update.UpdateMessage(self.zone, keyring=key, keyalgorithm=key.algorithm if key else "hmac-sha256")

    def send(self, update: dns.update.UpdateMessage) -> dns.rcode.Rcode:
        """Send the update. Return NOERROR, or one of IN_USE if its prerequisites do not hold. Raise DnsError."""
        rcode = self._exchange(update).rcode()
        if rcode != dns.rcode.NOERROR and rcode not in IN_USE:
            raise self._refused("the update", rcode)
        return rcode

    def read(self, name: dns.name.Name, kind: dns.rdatatype.RdataType) -> dns.rdataset.Rdataset:
        """Return the records of this name and type, none if there are none. Raise DnsError."""
        query = dns.message.make_query(name, kind, flags=0)
        key = self._options.key
        if key:
            query.use_tsig(key)
        response = self._exchange(query)
        if response.rcode() not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
            raise self._refused(f"a query for {kind.name}", response.rcode())
        found = response.get_rrset(response.answer, name, dns.rdataclass.IN, kind)
        return dns.rdataset.Rdataset(dns.rdataclass.IN, kind) if found is None else found.to_rdataset()

    def _exchange(self, message: dns.message.Message) -> dns.message.Message:
        with self._translated():
            return dns.query.tcp(message, self._resolve(), timeout=self._options.timeout, port=self._options.port)

    def _resolve(self) -> str:
        """Return the first address of the server."""
        found = socket.getaddrinfo(self._options.server, self._options.port, type=socket.SOCK_STREAM)
        return str(found[0][-1][0])

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except dns.tsig.PeerBadTime as error:
            text = "BADTIME: the clocks of this machine and of the server differ by more than five minutes"
            raise PermanentDnsError(f"DNS server {self.address} refused the key: {text}") from error
        except (dns.tsig.PeerError, dns.tsig.BadSignature, dns.tsig.BadAlgorithm, dns.message.UnknownTSIGKey) as error:
            text = f"{type(error).__name__}: name, algorithm and secret of the key must be those of the server"
            raise PermanentDnsError(f"DNS server {self.address} refused the key: {text}") from error
        except dns.exception.FormError as error:
            if self._options.key is None:
                raise TransientDnsError(f"DNS server {self.address} sent no valid reply: {error}") from error
            text = "it does not have the zone, or does not know the key"
            raise PermanentDnsError(f"DNS server {self.address} sent a reply without a signature: {text}") from error
        except dns.exception.Timeout as error:
            seconds = f"{self._options.timeout:g} seconds"
            raise TransientDnsError(f"DNS server {self.address} did not reply within {seconds}") from error
        except (OSError, EOFError, dns.exception.DNSException) as error:
            what = str(error) or type(error).__name__
            raise TransientDnsError(f"DNS server {self.address} cannot be reached: {what}") from error

    def _refused(self, what: str, rcode: dns.rcode.Rcode) -> DnsError:
        text = f"DNS server {self.address} refused {what} in zone {self._options.zone}: {dns.rcode.to_text(rcode)}"
        if rcode in _PERMANENT:
            return PermanentDnsError(f"{text}: {_PERMANENT[rcode]}")
        return TransientDnsError(text)
