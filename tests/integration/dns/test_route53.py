"""Records in Route 53, on moto's HTTP server."""

from collections.abc import Iterator, Sequence
from typing import Any
from uuid import uuid4

import boto3
import pytest

from tests.support import moto_server
from tests.support.moto_server import LOGIN, MotoServer
from vmpooler_tasks.dns import DnsContext, DnsRecord, registry
from vmpooler_tasks.dns.contract import INSTALLATION, DnsContract
from vmpooler_tasks.dns.route53 import Route53, route53
from vmpooler_tasks.errors import ConfigurationError, PermanentDnsError, TransientDnsError

pytestmark = [pytest.mark.stage(name="providers"), pytest.mark.timeout(300)]

DOMAIN = "pool.example.com"


@pytest.fixture(scope="module")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MotoServer]:
    with moto_server.running(tmp_path_factory.mktemp("moto")) as server:
        yield server


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in moto_server.environment({}).items():
        monkeypatch.setenv(name, value)
    for name in LOGIN:
        monkeypatch.delenv(name, raising=False)


def client(moto: MotoServer) -> Any:
    return boto3.client(
        "route53",
        endpoint_url=moto.url,
        region_name="us-east-1",
        aws_access_key_id=LOGIN["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=LOGIN["AWS_SECRET_ACCESS_KEY"],
    )


def make_zone(moto: MotoServer, name: str) -> str:
    made = client(moto).create_hosted_zone(Name=name, CallerReference=uuid4().hex)
    return str(made["HostedZone"]["Id"]).removeprefix("/hostedzone/")


@pytest.fixture(scope="module")
def zone(moto: MotoServer) -> str:
    return make_zone(moto, "example.com")


def options(moto: MotoServer, **changes: Any) -> dict[str, Any]:
    login = {name.lower(): value for name, value in LOGIN.items()}
    return {"endpoint_url": moto.url, **login, **changes}


def plugin_of(given: dict[str, Any], installation: str = INSTALLATION, domain: str = DOMAIN) -> Route53:
    return route53(DnsContext(name="cloud", domain=domain, options=given, installation=installation))


class TestContract(DnsContract):
    domain = DOMAIN

    @pytest.fixture(autouse=True)
    def _on(self, moto: MotoServer, zone: str) -> None:
        self.moto, self.zone, self.client = moto, zone, client(moto)

    def plugin(self, installation: str) -> Route53:
        return plugin_of(options(self.moto, zone_id=self.zone), installation)

    def make_foreign(self, name: str, kind: str, value: str) -> None:
        self._set(name, kind, [*self._values(name, kind), f'"{value}"' if kind == "TXT" else value])

    def delete_foreign(self, name: str, kind: str, value: str) -> None:
        self._set(name, kind, [one for one in self._values(name, kind) if one != value])

    def values(self, name: str, kind: str) -> Sequence[str]:
        return ["".join(value.strip('"').split('" "')) for value in self._values(name, kind)]

    def _values(self, name: str, kind: str) -> list[str]:
        return [one["Value"] for found in self._sets(name, kind) for one in found["ResourceRecords"]]

    def _sets(self, name: str, kind: str) -> list[dict[str, Any]]:
        sets = self.client.list_resource_record_sets(HostedZoneId=self.zone, StartRecordName=name)["ResourceRecordSets"]
        return [one for one in sets if (one["Name"], one["Type"]) == (f"{name}.", kind)]

    def _set(self, name: str, kind: str, values: list[str]) -> None:
        changes = [{"Action": "DELETE", "ResourceRecordSet": one} for one in self._sets(name, kind)]
        if values:
            records = [{"Value": value} for value in values]
            new = {"Name": f"{name}.", "Type": kind, "TTL": 60, "ResourceRecords": records}
            changes.append({"Action": "CREATE", "ResourceRecordSet": new})
        self.client.change_resource_record_sets(HostedZoneId=self.zone, ChangeBatch={"Changes": changes})


def record(name: str = "one") -> DnsRecord:
    return DnsRecord(name=f"{name}.{DOMAIN}", address="192.0.2.7", pool="debian")


def test_the_zone_is_the_longest_that_has_the_domain(moto: MotoServer, zone: str) -> None:
    longer = make_zone(moto, "deep.example.com")
    plugin = plugin_of(options(moto), domain="vms.deep.example.com")
    made = DnsRecord(name="one.vms.deep.example.com", address="192.0.2.7", pool="p")
    assert plugin.find_problems() == []
    assert plugin.create_record(made)
    sets = client(moto).list_resource_record_sets(HostedZoneId=longer)["ResourceRecordSets"]
    assert f"{made.name}." in [one["Name"] for one in sets]
    assert plugin_of(options(moto)).create_record(record("found")), zone


def test_a_domain_without_a_zone_or_with_two(moto: MotoServer) -> None:
    for _ in range(2):
        make_zone(moto, "twice.example.net")
    for domain, words in (
        ("nowhere.test", "has no hosted zone for nowhere.test"),
        ("twice.example.net", "set zone_id"),
    ):
        plugin = plugin_of(options(moto), domain=domain)
        with pytest.raises(PermanentDnsError, match=words) as raised:
            plugin.create_record(DnsRecord(name=f"one.{domain}", address="192.0.2.7", pool="p"))
        assert plugin.find_problems() == [str(raised.value)]


def test_a_zone_of_another_domain_is_named(moto: MotoServer, zone: str) -> None:
    [problem] = plugin_of(options(moto, zone_id=zone), domain="example.org").find_problems()
    assert problem == f"hosted zone {zone} is example.com, which has no domain example.org: set the zone_id of its zone"


def test_a_zone_that_does_not_exist(moto: MotoServer) -> None:
    plugin = plugin_of(options(moto, zone_id="/hostedzone/ZNOWHERE"))
    with pytest.raises(PermanentDnsError, match="NoSuchHostedZone"):
        plugin.delete_record(f"one.{DOMAIN}")
    assert len(plugin.find_problems()) == 1


def test_no_login(moto: MotoServer) -> None:
    plugin = plugin_of({"endpoint_url": moto.url, "zone_id": "Z1"})
    with pytest.raises(PermanentDnsError, match="Unable to locate credentials"):
        plugin.create_record(record())


def test_no_server_is_transient() -> None:
    login = {name.lower(): value for name, value in LOGIN.items()}
    plugin = plugin_of({"endpoint_url": "http://127.0.0.1:9", "zone_id": "Z1", "timeout": 1, **login})
    with pytest.raises(TransientDnsError, match="cannot be reached"):
        plugin.create_record(record())


@pytest.mark.parametrize(
    ("given", "problems"),
    [
        (
            {"ttl": "long", "colour": 1},
            [
                "dns_configs.cloud.ttl: must be a valid integer, unable to parse string as an integer",
                "dns_configs.cloud.colour: unknown option",
            ],
        ),
        (
            {"aws_access_key_id": "AKIA"},
            ["dns_configs.cloud: aws_access_key_id and aws_secret_access_key belong together: set both, or none"],
        ),
    ],
)
def test_all_wrong_options_are_named_at_once(given: dict[str, Any], problems: list[str]) -> None:
    with pytest.raises(ConfigurationError) as raised:
        registry.load(DnsContext(name="cloud", domain=DOMAIN, options=given, installation="x"), "Route53")
    assert raised.value.problems == problems
