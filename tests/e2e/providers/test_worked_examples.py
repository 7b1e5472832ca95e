"""The worked examples of docs/providers/vsphere.md, docs/providers/ec2.md and docs/dns.md, from nothing to a full pool.

Every file is written and every command is typed as the document shows it. Only names and addresses of servers, and the
folders of files, are those of this machine.
"""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import yaml

from tests.integration.providers.ec2.test_problems import documented_policy
from tests.support import moto_server, vcenter_simulator
from tests.support.dns_servers import ZONE, DnsServer
from tests.support.ec2_lab import Ec2Lab, tags_of
from tests.support.moto_server import REGION, MotoServer
from tests.support.vcenter_simulator import CLUSTER, DATASTORE, PASSWORD, USER, Vcenter
from tests.support.worked_example import WorkedExample, as_yaml, blocks, replaced, typed

pytestmark = [pytest.mark.stage(name="providers"), pytest.mark.timeout(900)]

FROM_NOTHING = "From nothing to a filled pool"
POOL, SIZE = "debian-12-x86_64", 3


@pytest.fixture
def vcenter(tmp_path: Path) -> Iterator[Vcenter]:
    folder = tmp_path / "vcenter"
    folder.mkdir()
    with vcenter_simulator.running(folder) as running:
        yield running


@pytest.fixture(scope="module")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MotoServer]:
    with moto_server.running(tmp_path_factory.mktemp("moto")) as server:
        yield server


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    own = tmp_path / "example"
    own.mkdir()
    return own


def test_vsphere(vcenter: Vcenter, folder: Path) -> None:
    document = "docs/providers/vsphere.md"
    [configuration] = blocks(document, FROM_NOTHING, "yaml")
    example = WorkedExample(folder)
    example.write("vcenter-password", f"{PASSWORD}\n")
    server = f"127.0.0.1:{vcenter.port}'\n    ca_file: '{vcenter.certificate_authority}'\n"
    here = {
        "vcenter.example.com'\n": f"{server}    ready_port: {vcenter.guest_port}\n",
        "/etc/vmpooler/": f"{folder}/",
        "cluster-1": CLUSTER,
        "vmstorage": DATASTORE,
    }
    assert USER in configuration
    example.write("vmpooler.yaml", replaced(configuration, here))
    with typed(example, blocks(document, FROM_NOTHING, "bash")) as (database, [look]):
        ready = example.wait_until_full(database, POOL, SIZE)
        assert POOL in example.type(look, second=True)
        made = {vm["name"]: json.loads(vm["annotation"]) for vm in vcenter.vms()}
        assert set(made) >= ready
        assert {(notes["pool"], notes["installation"]) for notes in made.values()} == {(POOL, "my-lab")}
        assert PASSWORD not in example.run.log


def test_ec2_with_the_documented_privileges(moto: MotoServer, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    document = "docs/providers/ec2.md"
    [configuration] = blocks(document, FROM_NOTHING, "yaml")
    for name, value in moto_server.environment().items():
        monkeypatch.setenv(name, value)
    with ExitStack() as stack:
        lab = Ec2Lab(moto, stack)
        login = lab.user_with(documented_policy())
        example = WorkedExample(folder, AWS_ENDPOINT_URL=moto.url, **moto_server.environment(login))
        example.write("vmpooler.yaml", configuration)
        with typed(example, blocks(document, FROM_NOTHING, "bash")) as (database, [look]):
            ready = example.wait_until_full(database, POOL, SIZE)
            assert POOL in example.type(look, second=True)
            moto.authenticate(on=False)
            made = [tags_of(instance) for instance in lab.instances()]
            assert {tags["Name"] for tags in made} >= ready
            assert {(tags["pool"], tags["vmpooler_tasks_installation"]) for tags in made} == {(POOL, "east")}
            assert login["AWS_SECRET_ACCESS_KEY"] not in example.run.log


def test_dns_of_both_classes(moto: MotoServer, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pool of the section rfc2136, and beside it one whose records are in Route 53."""
    document = "docs/dns.md"
    make_key, *commands = blocks(document, "rfc2136", "bash")
    [statements] = blocks(document, "rfc2136", "bind")
    [inside] = blocks(document, "rfc2136", "yaml")
    [cloud] = blocks(document, "route53", "yaml")
    for name, value in moto_server.environment().items():
        monkeypatch.setenv(name, value)
    example = WorkedExample(folder, AWS_ENDPOINT_URL=moto.url, AWS_REGION=REGION, **moto_server.environment())
    example.type(replaced(make_key, {"/etc/bind/": f"{folder}/"}))
    with ExitStack() as stack:
        client = Ec2Lab(moto, stack).client_of("route53")
        stack.callback(client.close)
        zone_id = client.create_hosted_zone(Name=ZONE, CallerReference="example")["HostedZone"]["Id"]
        server = DnsServer("bind", folder, statements=replaced(statements, _folders(folder)))
        stack.callback(server.stop)
        server.start()
        here = {"ns1.example.com": f"127.0.0.1\n    port: {server.port}", "/etc/vmpooler/": f"{folder}/"}
        second = cloud.replace("Z0123456789ABCDEFGHIJ", zone_id.removeprefix("/hostedzone/"))
        pool = yaml.safe_dump({":pools": [{"name": "aws", "size": SIZE, "provider": "dummy", "dns_plugin": "cloud"}]})
        example.write("vmpooler.yaml", as_yaml(replaced(inside, here), second, pool))
        with typed(example, commands) as (database, [look]):
            for vm in example.wait_until_full(database, "debian-12", SIZE):
                assert server.values(f"{vm}.{ZONE}", "A"), vm
            ready = example.wait_until_full(database, "aws", SIZE)
            found = client.list_resource_record_sets(HostedZoneId=zone_id)["ResourceRecordSets"]
            assert {record["Name"] for record in found if record["Type"] == "A"} >= {f"{vm}.{ZONE}." for vm in ready}
            assert "debian-12" in example.type(look, second=True)


def _folders(folder: Path) -> dict[str, str]:
    return {"/etc/bind/": f"{folder}/", "/var/lib/bind/pool.example.com": f"{folder}/zone"}
