"""A real worker and beat with a real Knot: each VM of the pool has a record for as long as it lives."""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.api_client import ApiClient
from tests.support.api_server import ApiPool
from tests.support.commands import CommandLine
from tests.support.dns_servers import READER_NAME, READER_SECRET, ZONE, DnsServer, running_dns
from tests.support.processes import Installation, configuration, until
from vmpooler_tasks.dns.ownership import Ownership
from vmpooler_tasks.model.names import Queue
from vmpooler_tasks.providers.dummy.inventory import PREFIX
from vmpooler_tasks.store import Database, keys

pytestmark = [pytest.mark.stage(name="providers"), pytest.mark.timeout(600)]

POOL, SIZE = "centos", 3


@pytest.fixture
def knot(tmp_path: Path) -> Iterator[DnsServer]:
    folder = tmp_path / "knot"
    folder.mkdir()
    with running_dns("knot", folder) as server:
        yield server


def configured(server: DnsServer, **changes: str) -> str:
    whole = json.loads(configuration(manage_pools=True, installation="prod", check_loop_delay_min=1))
    whole[":providers"] = {"dummy": {}}
    whole[":dns_configs"] = {"inside": {"dns_class": "rfc2136", "domain": ZONE, **server.options(**changes)}}
    whole[":pools"] = [{"name": POOL, "size": SIZE, "template": "t", "dns_plugin": "inside"}]
    return json.dumps(whole)


def members(database: Database, queue: Queue) -> set[str]:
    return {vm.decode() for vm in database.call("SMEMBERS", keys.queue(queue, POOL))}


def fill_pool(installation: Installation, database: Database, knot: DnsServer) -> None:
    """Start a worker and beat, and wait until the pool is full."""
    installation.environment["VMPOOLER_CONFIG"] = configured(knot)
    installation.worker("-P", "threads", worker_concurrency=8)
    installation.beat()
    until(lambda: len(members(database, Queue.READY)) == SIZE, "the pool is full")


def test_each_vm_has_a_record_for_as_long_as_it_lives(
    installation: Installation, database: Database, knot: DnsServer
) -> None:
    fill_pool(installation, database, knot)
    ready = members(database, Queue.READY)
    for vm in ready:
        [address] = knot.values(f"{vm}.{ZONE}", "A")
        assert address.encode() == database.call("HGET", keys.vm(vm.encode()), "ip")
        [text] = knot.values(f"{vm}.{ZONE}", "TXT")
        assert Ownership.parse(text) == Ownership(installation="prod", pool=POOL, address=address)

    api = ApiClient(database.client, [ApiPool(POOL)], clock=time.time)
    [used] = api.checkout({POOL: 1}).vms
    assert knot.values(f"{used}.{ZONE}", "A"), "a VM in use keeps its record"
    database.call("SMOVE", keys.queue(Queue.RUNNING, POOL), keys.queue(Queue.COMPLETED, POOL), used)
    until(lambda: not knot.values(f"{used}.{ZONE}", "TXT"), "its record is deleted")
    until(lambda: used not in members(database, Queue.COMPLETED), "it is destroyed")
    until(lambda: len(members(database, Queue.READY)) == SIZE, "the pool is full again")
    noted = {vm.decode() for vm in database.call("HKEYS", keys.dns_records(POOL))}
    assert used not in noted
    assert noted >= members(database, Queue.READY)


def test_dns_that_is_down_keeps_no_vm_and_loses_no_record(
    installation: Installation, database: Database, knot: DnsServer
) -> None:
    fill_pool(installation, database, knot)
    vm = min(members(database, Queue.READY))
    knot.stop()
    database.call("SMOVE", keys.queue(Queue.READY, POOL), keys.queue(Queue.COMPLETED, POOL), vm)
    until(lambda: not database.call("HEXISTS", PREFIX + POOL, vm), "the VM is destroyed")
    dead_letters = ("dlq", "list", "--queue", "tasks", "--json")
    until(lambda: "TransientDnsError" in installation.run("vmpooler-tasks", *dead_letters), "it is a dead letter")
    assert vm in members(database, Queue.COMPLETED)
    knot.start()
    assert knot.values(f"{vm}.{ZONE}", "A"), "the server kept its records"
    database.call("ZADD", keys.DESTROYS, 1, vm)  # the pause before the next attempt is over
    until(lambda: not knot.values(f"{vm}.{ZONE}", "TXT"), "its record is deleted")
    until(lambda: vm not in members(database, Queue.COMPLETED), "nothing of it is left")


def test_config_check_and_doctor_try_the_server(run: CommandLine, knot: DnsServer) -> None:
    check = ("config", "check", "--online")
    done = run(*check, VMPOOLER_CONFIG=configured(knot))
    assert (done.status, "  dns_configs.inside: tried with 1 pool: no problem" in done.out.splitlines()) == (0, True)
    assert run.json(*check, VMPOOLER_CONFIG=configured(knot))["dns_configs"] == [
        {"name": "inside", "pools": 1, "state": "ok"}
    ]
    reader = configured(knot, key_name=READER_NAME, key_secret=READER_SECRET)
    refused = run.json(*check, status=os.EX_CONFIG, VMPOOLER_CONFIG=reader)["problems"]
    assert len(refused) == 1
    assert refused[0].startswith(f"dns_configs.inside: DNS server 127.0.0.1:{knot.port} refused the key: ")
    told = run.json("doctor", status=1, VMPOOLER_CONFIG=reader)
    assert [one["found"] for one in told if one["what"] == "DNS"] == refused
    knot.stop()
    silent = run.json(*check, status=os.EX_UNAVAILABLE, VMPOOLER_CONFIG=configured(knot))["problems"]
    assert silent[0].startswith(
        f"dns_configs.inside: cannot be tried: DNS server 127.0.0.1:{knot.port} cannot be reached"
    )
    for problem in (*refused, *silent):
        assert READER_SECRET not in problem


def test_an_unknown_class_is_one_line_with_what_to_install(run: CommandLine, knot: DnsServer) -> None:
    whole = json.loads(configured(knot))
    whole[":dns_configs"]["inside"] = {"dns_class": "gcp", "domain": ZONE, "project": "p"}
    done = run("config", "check", VMPOOLER_CONFIG=json.dumps(whole))
    assert done.status == os.EX_CONFIG
    [line] = done.err.splitlines()[1:]
    assert line.strip().startswith("dns_configs.inside: no dns_class 'gcp' is installed (installed: rfc2136, route53")
    assert line.endswith("; install its package, e.g. pip install vmpooler-tasks-dns-gcp")
