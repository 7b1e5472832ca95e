"""Records by dynamic updates, on a real BIND and a real Knot."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.support.dns_servers import (
    KEY_NAME,
    KEY_SECRET,
    LEAST_NAME,
    LEAST_SECRET,
    READER_NAME,
    READER_SECRET,
    ZONE,
    DnsServer,
    running_dns,
)
from tests.support.ports import free_port
from vmpooler_tasks.dns import Deletion, DnsContext, DnsRecord, registry
from vmpooler_tasks.dns.contract import INSTALLATION, DnsContract
from vmpooler_tasks.dns.rfc2136 import Rfc2136, rfc2136
from vmpooler_tasks.errors import ConfigurationError, PermanentDnsError, TransientDnsError

pytestmark = [pytest.mark.stage(name="providers"), pytest.mark.timeout(300)]


@pytest.fixture(scope="module", params=["bind", "knot"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DnsServer]:
    with running_dns(request.param, tmp_path_factory.mktemp(request.param)) as running:
        yield running


def plugin_of(options: dict[str, Any], installation: str = INSTALLATION) -> Rfc2136:
    return rfc2136(DnsContext(name="inside", domain=ZONE, options=options, installation=installation))


class TestContract(DnsContract):
    domain = ZONE

    @pytest.fixture(autouse=True)
    def _on(self, server: DnsServer) -> None:
        self.server = server

    def plugin(self, installation: str) -> Rfc2136:
        return plugin_of(self.server.options(), installation)

    def make_foreign(self, name: str, kind: str, value: str) -> None:
        self.server.add(name, kind, value)

    def delete_foreign(self, name: str, kind: str, value: str) -> None:
        self.server.delete(name, kind, value)

    def values(self, name: str, kind: str) -> Sequence[str]:
        return self.server.values(name, kind)


def record(name: str = "one", address: str = "192.0.2.7") -> DnsRecord:
    return DnsRecord(name=f"{name}.{ZONE}", address=address, pool="debian")


def test_a_wildcard_takes_no_name(server: DnsServer) -> None:
    plugin, made = plugin_of(server.options()), record("x.wild")
    assert server.values(made.name, "A") == ["192.0.2.200"]
    assert not plugin.is_taken(made.name)
    assert plugin.delete_record(made.name) is Deletion.ABSENT
    assert plugin.create_record(made)
    assert server.values(made.name, "A") == [made.address]
    assert plugin.delete_record(made.name) is Deletion.DELETED
    assert server.values(made.name, "A") == ["192.0.2.200"]


def test_the_key_may_be_in_a_file(server: DnsServer, tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(f'key "{KEY_NAME}" {{\n\talgorithm hmac-sha256;\n\tsecret "{KEY_SECRET}";\n}};\n')
    options = {"server": "localhost", "port": server.port, "zone": ZONE, "key_file": str(file)}
    plugin = plugin_of(options)
    assert plugin.find_problems() == []
    assert plugin.create_record(record("file"))


def test_a_key_that_may_only_read_is_refused_with_the_servers_word(server: DnsServer) -> None:
    plugin = plugin_of(server.options(key_name=READER_NAME, key_secret=READER_SECRET))
    with pytest.raises(
        PermanentDnsError, match=r"refused the (update in zone pool.example.com: REFUSED|key: PeerBadKey)"
    ) as raised:
        plugin.create_record(record("forbidden"))
    assert plugin.find_problems() == [str(raised.value)]
    assert server.values(f"forbidden.{ZONE}", "A") == []


def test_the_permissions_of_the_document_are_enough(server: DnsServer) -> None:
    plugin, made = plugin_of(server.options(key_name=LEAST_NAME, key_secret=LEAST_SECRET)), record("least")
    assert plugin.find_problems() == []
    assert not plugin.is_taken(made.name)
    for address in (made.address, "2001:db8::7"):
        assert plugin.create_record(DnsRecord(name=made.name, address=address, pool="p"))
    assert plugin.delete_record(made.name) is Deletion.DELETED


@pytest.mark.parametrize(("name", "secret"), [("unknown", KEY_SECRET), (KEY_NAME, READER_SECRET)])
def test_a_wrong_key_is_refused(server: DnsServer, name: str, secret: str) -> None:
    plugin = plugin_of(server.options(key_name=name, key_secret=secret))
    with pytest.raises(PermanentDnsError, match="refused the key") as raised:
        plugin.create_record(record("wrong"))
    [problem] = plugin.find_problems()
    assert problem == str(raised.value)
    assert secret not in problem


def test_an_unsigned_update_is_refused(server: DnsServer) -> None:
    plugin = plugin_of({"server": "127.0.0.1", "port": server.port, "zone": ZONE})
    with pytest.raises(PermanentDnsError, match=r"REFUSED|NOTAUTH"):
        plugin.create_record(record("unsigned"))


def test_a_zone_that_the_server_does_not_have(server: DnsServer) -> None:
    options = server.options(zone="example.org")
    plugin = rfc2136(DnsContext(name="inside", domain="example.org", options=options, installation=INSTALLATION))
    with pytest.raises(PermanentDnsError, match=r"NOTAUTH|does not have the zone"):
        plugin.create_record(DnsRecord(name="one.example.org", address="192.0.2.7", pool="p"))
    assert len(plugin.find_problems()) == 1


def test_no_server_is_transient() -> None:
    plugin = plugin_of({"server": "127.0.0.1", "port": free_port(), "zone": ZONE, "timeout": 1})
    with pytest.raises(TransientDnsError, match=r"cannot be reached: .*refused"):
        plugin.create_record(record())
    with pytest.raises(TransientDnsError, match="cannot be reached"):
        plugin.find_problems()


LOGIN = {"key_name": KEY_NAME, "key_secret": KEY_SECRET}


@pytest.mark.parametrize(
    ("options", "problems"),
    [
        ({}, ["dns_configs.inside.server: Field required"]),
        (
            {"server": "ns", "port": 0, "ttl": -1, "colour": 1},
            [
                "dns_configs.inside.port: must be greater than or equal to 1",
                "dns_configs.inside.ttl: must be greater than or equal to 0",
                "dns_configs.inside.colour: unknown option",
            ],
        ),
        (
            {"server": "ns", "zone": "example.org"},
            ["dns_configs.inside.zone: must be the domain, or a part at its end"],
        ),
        (
            {"server": "ns", "zone": "a..b"},
            ["dns_configs.inside.zone: must be the name of a zone, such as example.com"],
        ),
        (
            {"server": "ns", "key_name": "a"},
            ["dns_configs.inside: key_name and key_secret belong together: set both, or none for unsigned updates"],
        ),
        (
            {"server": "ns", "key_name": "a", "key_secret": "no base64!"},
            ["dns_configs.inside: the key is not valid: key_name is a DNS name, and key_secret is base64"],
        ),
        (
            {"server": "ns", "key_file": "/dev/null", **LOGIN},
            ["dns_configs.inside: key_file takes the place of key_name and key_secret: set one or the other"],
        ),
        (
            {"server": "ns", "key_file": "/dev/null"},
            ["dns_configs.inside: key_file /dev/null has no key: `tsig-keygen NAME` writes such a file"],
        ),
        (
            {"server": "ns", "key_file": "/nowhere/key"},
            ["dns_configs.inside: key_file /nowhere/key cannot be read: No such file or directory"],
        ),
    ],
)
def test_all_wrong_options_are_named_at_once(options: dict[str, Any], problems: list[str]) -> None:
    with pytest.raises(ConfigurationError) as raised:
        registry.load(DnsContext(name="inside", domain=ZONE, options=options, installation="x"), "rfc2136")
    assert raised.value.problems == problems
