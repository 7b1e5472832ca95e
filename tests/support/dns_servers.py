"""Real DNS servers that take signed updates, for the tests: BIND and Knot, each with one zone on a port of loopback."""

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dns.exception
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.tsig
import dns.update

from tests.support.ports import free_port
from tests.support.processes import until
from tests.support.servers import required

ZONE = "pool.example.com"
KEY_NAME, KEY_SECRET = "pooler", "c2VjcmV0LW9mLXRoZS10ZXN0cy1vbmx5LTEyMzQ1Njc="
LEAST_NAME, LEAST_SECRET = "least", "b25seS13aGF0LXRoZS1kb2N1bWVudC1wZXJtaXRzISE="
"""A key with no more than the permissions of docs/dns.md."""
READER_NAME, READER_SECRET = "reader", "YW5vdGhlci1zZWNyZXQtdGhhdC1tYXktbm90LXdyaXRl"

_ZONE_FILE = f"""$ORIGIN {ZONE}.
$TTL 60
@ IN SOA ns.{ZONE}. admin.{ZONE}. 1 3600 600 86400 60
@ IN NS ns.{ZONE}.
ns IN A 127.0.0.1
*.wild IN A 192.0.2.200
"""

_BIND = """
options {{
  directory "{folder}"; pid-file "{folder}/named.pid"; session-keyfile "{folder}/session.key";
  listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }};
  recursion no; allow-query {{ any; }}; dnssec-validation no; notify no; managed-keys-directory "{folder}";
}};
controls {{ }};
"""

_BIND_ZONE = """
key "{key}" {{ algorithm hmac-sha256; secret "{secret}"; }};
key "{reader}" {{ algorithm hmac-sha256; secret "{reader_secret}"; }};
key "{least}" {{ algorithm hmac-sha256; secret "{least_secret}"; }};
zone "{zone}" {{
  type primary; file "{folder}/zone";
  update-policy {{ grant "{key}" zonesub ANY; grant {least} zonesub A AAAA TXT; }};
}};
"""

_KNOT = """
server:
  rundir: {folder}
  listen: 127.0.0.1@{port}
database:
  storage: {folder}
key:
  - id: {key}
    algorithm: hmac-sha256
    secret: {secret}
  - id: {reader}
    algorithm: hmac-sha256
    secret: {reader_secret}
  - id: {least}
    algorithm: hmac-sha256
    secret: {least_secret}
acl:
  - id: least
    key: {least}
    action: update
    update-type: [A, AAAA, TXT]
  - id: writer
    key: {key}
    action: [update, transfer]
template:
  - id: default
    storage: {folder}
    zonefile-sync: -1
    journal-content: changes
zone:
  - domain: {zone}
    file: {folder}/zone
    acl: [writer, least]
log:
  - target: stderr
    any: warning
"""


@dataclass
class DnsServer:
    """A running server. Its methods are what a person does with it, by messages of their own.

    `statements` are BIND's keys and zone, instead of those of the tests.
    """

    kind: str
    folder: Path
    statements: str | None = None
    port: int = field(default_factory=free_port)
    process: "subprocess.Popen[bytes] | None" = None

    def options(self, **changes: Any) -> dict[str, Any]:
        """Return the options of an entry of `:dns_configs:` for it."""
        login = {"key_name": KEY_NAME, "key_secret": KEY_SECRET}
        return {"server": "127.0.0.1", "port": self.port, "zone": ZONE, **login, **changes}

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(self._command(), stdout=log, stderr=log)
        until(self._replies, f"{self.kind} serves its zone")

    def stop(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None

    def add(self, name: str, kind: str, value: str) -> None:
        update = self._update()
        update.add(dns.name.from_text(name), 60, kind, f'"{value}"' if kind == "TXT" else value)
        self._send(update)

    def delete(self, name: str, kind: str, value: str) -> None:
        update = self._update()
        update.delete(dns.name.from_text(name), kind, f'"{value}"' if kind == "TXT" else value)
        self._send(update)

    def values(self, name: str, kind: str) -> list[str]:
        """Return the values of the records of this name and type, a TXT record as one text."""
        full, of = dns.name.from_text(name), dns.rdatatype.from_text(kind)
        response = dns.query.tcp(dns.message.make_query(full, of), "127.0.0.1", timeout=20, port=self.port)
        found = response.get_rrset(response.answer, full, dns.rdataclass.IN, of) or ()
        return [_text(rdata) for rdata in found]

    def _update(self) -> dns.update.UpdateMessage:
        return dns.update.UpdateMessage(ZONE, keyring=dns.tsig.Key(KEY_NAME, KEY_SECRET, "hmac-sha256"))

    def _send(self, update: dns.update.UpdateMessage) -> None:
        rcode = dns.query.tcp(update, "127.0.0.1", timeout=20, port=self.port).rcode()
        assert rcode == dns.rcode.NOERROR, dns.rcode.to_text(rcode)

    def _replies(self) -> bool:
        assert self.process
        assert self.process.poll() is None, (self.folder / "log").read_text()
        try:
            return bool(self.values(ZONE, "SOA"))
        except (OSError, EOFError, dns.exception.DNSException):
            return False

    def _command(self) -> Sequence[str]:
        given = {"folder": self.folder, "port": self.port, "zone": ZONE, "key": KEY_NAME, "secret": KEY_SECRET}
        reader = {"reader": READER_NAME, "reader_secret": READER_SECRET}
        templates, program = ((_BIND, _BIND_ZONE), "named") if self.kind == "bind" else ((_KNOT,), "knotd")
        texts = [text.format(**given, **reader, least=LEAST_NAME, least_secret=LEAST_SECRET) for text in templates]
        if self.statements is not None:
            texts[1:] = [self.statements]
        file = self.folder / f"{program}.conf"
        file.write_text("".join(texts))
        zone = self.folder / "zone"
        if not zone.exists():
            zone.write_text(_ZONE_FILE)
        in_sbin = Path("/usr/sbin", program)  # which is not on the path of every user
        path = str(in_sbin) if in_sbin.exists() else required(program)
        return [path, *(["-g"] if self.kind == "bind" else []), "-c", str(file)]


def _text(rdata: dns.rdata.Rdata) -> str:
    strings = getattr(rdata, "strings", None)
    return rdata.to_text() if strings is None else b"".join(strings).decode()


@contextmanager
def running_dns(kind: str, folder: Path) -> Iterator[DnsServer]:
    """Start the server. Skip the test here, and fail it in CI, if it is not installed."""
    server = DnsServer(kind, folder)
    try:
        server.start()
        yield server
    finally:
        server.stop()
