"""`vmpooler-tasks config` and `doctor` as their users see them."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.support import listeners, servers
from tests.support.commands import CommandLine
from tests.support.fleet import beat, record_processes
from tests.support.listeners import NO_SUCH_HOST
from tests.support.processes import Installation, configuration, until
from tests.support.servers import TestServer
from tests.support.world import POOL, World
from vmpooler_tasks.store import Database, fleet_keys, keys
from vmpooler_tasks.store.purge import state as purge_state

NOWHERE = "redis://:s3cr3t@127.0.0.1:1/0"


def test_the_effective_values_are_shown_without_secrets(run: CommandLine) -> None:
    values = run.json("config", "show")
    assert (values["source"], values["dlq_enabled"], values["pools"]) == ("VMPOOLER_CONFIG", "true", POOL)
    secret = run("config", "show", REDIS_URL=NOWHERE, DLQ_TTL="24")
    rows = dict(re.split(r" {2,}", line, maxsplit=1) for line in secret.out.splitlines() if "  " in line)
    assert (rows["redis"], rows["dlq_ttl"]) == ("redis://127.0.0.1:1/0", "24")
    assert "s3cr3t" not in secret.out


def managed_configuration() -> str:
    whole = json.loads(configuration(manage_pools=True))
    return json.dumps({**whole, ":providers": {"dummy": {}}, ":pools": [{"name": POOL, "size": 2}]})


def doctors_findings(run: CommandLine, status: int) -> dict[str, Any]:
    return {finding["what"]: finding for finding in run.json("doctor", status=status)}


def test_doctor_shows_what_does_not_run_and_how_to_start_it(run: CommandLine) -> None:
    findings = doctors_findings(run, status=1)
    assert {what: finding["state"] for what, finding in findings.items()} == {
        "configuration": "ok",
        "Redis": "ok",
        "version": "ok",
        "role": "ok",
        "eviction": "ok",
        "memory": "ok",
        "persistence": "warn",
        "clock": "ok",
        "broker": "ok",
        "workers": "fail",
        "beat": "fail",
        "clocks": "ok",
        "last purge": "warn",
        "health": "fail",
        "pool manager": "ok",
        "brakes": "ok",
        "orders": "ok",
        "metrics": "ok",
        "notifications": "ok",
    }
    assert findings["workers"]["remedy"] == "start one: celery -A vmpooler_tasks worker"
    assert findings["beat"]["remedy"] == "start one: celery -A vmpooler_tasks beat"
    assert (findings["persistence"]["found"], findings["persistence"]["remedy"]) == (
        "none: a restart of Redis loses everything",
        "set appendonly yes",
    )
    assert findings["health"]["found"] == "unhealthy (never checked): no_beat, no_worker, stale"
    nothing_runs = "first fix workers and beat, above"
    assert (findings["last purge"]["found"], findings["last purge"]["remedy"]) == ("never", nothing_runs)
    assert findings["health"]["remedy"] == nothing_runs


def test_doctor_shows_whether_the_metrics_servers_are_reached(run: CommandLine) -> None:
    with listeners.graphite() as graphite:
        own = {"GRAPHITE_SERVER": "127.0.0.1", "GRAPHITE_PORT": str(graphite.port)}
        found = {one["what"]: one for one in run.json("doctor", status=1, **own)}["metrics"]
        assert (found["state"], found["found"]) == ("ok", f"Graphite at 127.0.0.1:{graphite.port} accepts connections")
    gone = {one["what"]: one for one in run.json("doctor", status=1, **own, STATSD_SERVER=NO_SUCH_HOST)}["metrics"]
    assert gone["state"] == "warn"
    assert f"StatsD at {NO_SUCH_HOST}:8125: " in gone["found"]
    assert f"Graphite at 127.0.0.1:{graphite.port}: " in gone["found"]
    assert "firewall" in gone["remedy"]


def test_doctor_goes_by_what_it_found_to_run(run: CommandLine, world: World) -> None:
    record_processes(world.db, beat("host:1"))
    findings = doctors_findings(run, status=1)
    assert findings["beat"]["state"] == "ok"
    assert findings["last purge"]["remedy"] == "first fix workers, above"


def test_doctor_explains_why_no_request_reaches_the_workers(run: CommandLine, tmp_path: Path) -> None:
    with servers.running("valkey", tmp_path / "full") as full:
        run.environment["REDIS_URL"] = full.url
        db = Database(full.url)
        db.call("CONFIG", "SET", "maxmemory", "1")
        workers = doctors_findings(run, status=1)["workers"]
        assert (workers["found"], workers["remedy"]) == (
            "no request can be sent to them: Redis is out of memory",
            "free memory, or raise maxmemory",
        )
        db.call("CONFIG", "SET", "maxmemory", "0")
        db.call("REPLICAOF", "127.0.0.1", "1")
        workers = doctors_findings(run, status=1)["workers"]
        assert workers["found"] == "no request can be sent to them: this Redis is a replica and refuses writes"
        assert workers["remedy"] == "connect to the primary"


def test_doctor_distinguishes_a_wrong_password_from_a_redis_that_is_not_there(run: CommandLine, tmp_path: Path) -> None:
    with servers.running("valkey", tmp_path / "locked", password="right") as locked:
        run.environment["REDIS_URL"] = locked.url.replace(":right@", ":wr0ng@")
        redis = doctors_findings(run, status=69)["Redis"]
        assert redis["found"].startswith("Redis denies access: redis://127.0.0.1:")
        assert redis["remedy"] == "set the right user and password in REDIS_URL or the :redis: section"
        Database(locked.url).call("ACL", "SETUSER", "anna", "on", ">right", "~*", "&*", "+ping", "+client")
        run.environment["REDIS_URL"] = locked.url.replace(":right@", "anna:right@")
        redis = doctors_findings(run, status=69)["Redis"]
        assert "no permissions" in redis["found"]
        assert redis["remedy"] == "give this user all commands on these keys and channels (ACL SETUSER)"


def test_doctor_names_a_key_that_another_program_overwrote_and_continues(run: CommandLine, world: World) -> None:
    world.client.set(fleet_keys.HEARTBEATS, "x")
    world.client.set(keys.HEALTH, "x")
    findings = run.json("doctor", status=1)
    found = [finding["found"] for finding in findings if finding["what"] == "keys"]
    assert any(text.startswith("vmpooler_tasks__heartbeats ") for text in found), found
    assert any(text.startswith("vmpooler__health ") for text in found), found
    assert findings[-1]["what"] == "notifications"


def test_doctor_names_a_pool_whose_vms_are_replaced_again_and_again(run: CommandLine, world: World) -> None:
    vms = {f"vm-{number}\n'vm-{number}' has mismatched hostname x": world.db.clock() for number in range(9)}
    world.client.zadd(f"vmpooler_tasks__recycled__{POOL}", vms)
    assert "recycled pool" not in doctors_findings(run, status=1), "these workers do not manage the pool"
    run.environment["VMPOOLER_CONFIG"] = managed_configuration()
    found = doctors_findings(run, status=1)["recycled pool"]
    assert found["state"] == "warn"
    assert found["found"].startswith(f"9 ready VMs of {POOL} were replaced in half an hour, more than 2. Last error ")
    assert found["found"].endswith("has mismatched hostname x")
    assert found["remedy"].startswith("fix its template or network")


def test_doctor_names_foreign_vms(run: CommandLine, world: World) -> None:
    record = json.dumps({"count": 12, "names": ["db-1", "db-2"], "since": world.db.clock()})
    world.client.hset(keys.FOREIGN_VMS, POOL, record)
    assert "foreign VMs" not in doctors_findings(run, status=1), "these workers do not manage the pool"
    run.environment["VMPOOLER_CONFIG"] = managed_configuration()
    found = doctors_findings(run, status=1)["foreign VMs"]
    assert found["state"] == "warn"
    text = f"12 VMs of {POOL} are in no queue, without the mark of this installation: db-1, db-2 and 10 more"
    assert found["found"] == text
    assert f"`vmpooler-tasks pools adopt {POOL}`" in found["remedy"]


def test_doctor_names_a_dns_server_that_fails(run: CommandLine, world: World) -> None:
    world.client.hset(
        keys.DNS_FAILURES, mapping={"failures:inside": 3, "error:inside": "REFUSED", "error_at:inside": 1}
    )
    configuration = json.loads(managed_configuration())
    configuration[":dns_configs"] = {"inside": {"domain": "pool.example.com", "dns_class": "rfc2136"}}
    run.environment["VMPOOLER_CONFIG"] = json.dumps(configuration)
    found = doctors_findings(run, status=1)["DNS records"]
    assert found["found"].startswith("3 calls in a row to the DNS server of inside failed, more than 2. Last error ")


def test_doctor_names_what_is_suspended_with_its_last_error(run: CommandLine, world: World) -> None:
    run.environment["VMPOOLER_CONFIG"] = managed_configuration()
    breaker = {"failures": "9", "open_until": world.db.clock() + 60, "error": "no datastore has room"}
    world.client.hset(keys.pool_breaker(POOL), mapping={**breaker, "error_at": world.db.clock()})
    found = doctors_findings(run, status=1)["pool manager"]
    assert (found["state"], found["found"]) == ("warn", f"suspended after failures: {POOL} (no datastore has room)")


def test_doctor_warns_of_a_redis_that_evicts_or_cannot_be_written_to(run: CommandLine, tmp_path: Path) -> None:
    options = ("--maxmemory-policy", "allkeys-lru", "--maxmemory", "100mb", "--appendonly", "yes")
    with servers.running("valkey", tmp_path / "lru", options) as evicting:
        run.environment["REDIS_URL"] = evicting.url
        findings = doctors_findings(run, status=1)
        assert findings["eviction"]["state"] == "warn"
        assert findings["eviction"]["found"].startswith("allkeys-lru: ")
        assert findings["eviction"]["remedy"] == "set maxmemory-policy noeviction"
        assert findings["persistence"]["state"] == "ok"
        Database(evicting.url).call("REPLICAOF", "127.0.0.1", "1")
        assert doctors_findings(run, status=1)["role"]["remedy"] == "connect to the primary"


@pytest.mark.slow
def test_doctor_is_content_with_a_running_installation(
    valkey: TestServer, run: CommandLine, world: World, tmp_path: Path
) -> None:
    with Installation(valkey.url, tmp_path) as installation:
        worker = installation.worker()
        installation.beat()
        worker.says("[*] [purge] Completed purge cycle").says("[*] [health] Status: HEALTHY")
        until(lambda: purge_state.read(world.db).finished, "the purge is recorded")
        result = run("doctor")
    assert (result.status, result.err) == (0, "")
    assert "fail" not in result.out
    assert re.search(r"^ok    workers: +1: worker@", result.out, re.MULTILINE)
    assert re.search(r"^ok    beat: +1: \S+:\d+$", result.out, re.MULTILINE)
    assert re.search(r"^ok    health: +healthy at \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$", result.out, re.MULTILINE)
