"""A real Prometheus scrapes a real `vmpooler-tasks web`, with the shipped rules: alerts fire when it is bad, and end.

How long each alert waits, and how far back it looks, are seconds here instead of minutes; all else is as it is shipped.
"""

import json
import re
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.commands import PROGRAM
from tests.support.fleet import let_pass, record_processes, worker
from tests.support.ports import free_port
from tests.support.processes import ROOT, Installation, Process, until
from tests.support.servers import TestServer, required
from tests.support.world import POOL, World
from vmpooler_tasks.config import Settings, load_settings
from vmpooler_tasks.jobs.deadletters.retention import keep
from vmpooler_tasks.jobs.health import check as health_check
from vmpooler_tasks.model.deadletters.entry import failed_vm
from vmpooler_tasks.model.names import DeadLetterQueue, Queue
from vmpooler_tasks.store import Database, fleet_keys, keys
from vmpooler_tasks.store.fleet import pool_lists
from vmpooler_tasks.store.health.progress import CLONES_WORK, REQUESTS_WORK, inspections_of

pytestmark = [pytest.mark.stage(name="monitoring"), pytest.mark.timeout(600)]

TOKEN = "a-token-of-prometheus"
PROVIDER = "vsphere"
REMOVED_POOL = "centos-6-x86_64"
SOUND_POOL, SOUND_PROVIDER = "debian-12-x86_64", "sound"
"""A pool that is not suspended: health expects clones of it."""

HOUR = 3600
CAP = 700
PANELS = {
    panel["title"]: [target["expr"] for target in panel.get("targets", ())]
    for panel in json.loads((ROOT / "deploy/grafana/vmpooler-tasks.json").read_text("utf-8"))["panels"]
}
OF_BEATS = {"Since the last tick"}
"""What shows nothing until a beat has run."""

SHORT = {"for": "1s", "15m": "20s", "30m": "20s", "30s": "1s"}


@dataclass(slots=True)
class Site:
    """An installation with its web process and a Prometheus that watches it."""

    server: TestServer
    installation: Installation
    web: Process
    prometheus: str

    @property
    def settings(self) -> Settings:
        return load_settings(self.installation.environment)

    def get(self, path: str, **query: str) -> Any:
        answer = httpx.get(f"{self.prometheus}/api/v1/{path}", params=query, timeout=30)
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]

    def firing(self) -> set[str]:
        return {one["labels"]["alertname"] for one in self.get("alerts")["alerts"] if one["state"] == "firing"}

    def fires(self, *alerts: str) -> None:
        until(lambda: set(alerts) <= self.firing(), lambda: f"{set(alerts) - self.firing()} fire", 90, 0.2)

    def rests(self, *alerts: str) -> None:
        until(lambda: not set(alerts) & self.firing(), lambda: f"{set(alerts) & self.firing()} end", 120, 0.2)

    def check(self) -> None:
        """A health check, with whatever verdict."""
        with closing(Database(self.server.url)) as db:
            health_check.run(db, self.settings, time.time)


def shortened(folder: Path, port: int) -> Path:
    """The shipped files in this folder, with seconds for minutes, and the token that the web process wants."""
    shipped = ROOT / "deploy" / "prometheus"
    rules = re.sub(r"for: \w+", f"for: {SHORT['for']}", (shipped / "vmpooler-tasks.rules.yaml").read_text("utf-8"))
    rules = rules.replace("[15m]", f"[{SHORT['15m']}]").replace("[30m:]", f"[{SHORT['30m']}:]")
    (folder / "vmpooler-tasks.rules.yaml").write_text(rules, encoding="utf-8")
    (folder / "vmpooler-tasks.token").write_text(TOKEN, encoding="utf-8")
    config = (shipped / "prometheus.yaml").read_text("utf-8").replace("_interval: 30s", f"_interval: {SHORT['30s']}")
    assert "127.0.0.1:8080" in config
    (folder / "prometheus.yaml").write_text(config.replace("127.0.0.1:8080", f"127.0.0.1:{port}"), encoding="utf-8")
    return folder / "prometheus.yaml"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    program, port, web_port = required("prometheus"), free_port(), free_port()
    (tmp_path / "redis").mkdir()
    server = TestServer("valkey", tmp_path / "redis", ("--appendonly", "yes", "--appendfsync", "always")).start()
    with Installation(server.url, tmp_path) as installation:
        installation.environment |= {"VMPOOLER_CONFIG": configured(), "WEB_TOKENS": f"prometheus:read:{TOKEN}"}
        web = Process(
            [str(PROGRAM), "web", "--port", str(web_port)],
            folder=tmp_path,
            environment=installation.environment,
            log=tmp_path / "web.log",
        )
        watcher = Process(
            [
                program,
                f"--config.file={shortened(tmp_path, web_port)}",
                f"--storage.tsdb.path={tmp_path / 'tsdb'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            folder=tmp_path,
            environment={},
            log=tmp_path / "prometheus.log",
        )
        try:
            web.start().says("[web] Serving")
            watcher.start().says("Server is ready")
            yield Site(server, installation, web, f"http://127.0.0.1:{port}")
        finally:
            for process in (watcher, web):
                process.kill()
            server.stop()


def configured() -> str:
    """A purge is overdue within seconds; a verdict is not stale again before the test is over."""
    options = {
        "dlq_enabled": True,
        "purge_enabled": True,
        "health_check_enabled": True,
        "purge_interval": 1,
        "health_check_interval": HOUR,
        "manage_pools": True,
        "check_loop_delay_min": 1,
        "dlq_max_entries": CAP,
        "health_thresholds": {"dlq_max_critical": CAP - 100},
    }
    quick = {"provider_class": "dummy", "clone_seconds": 0.1, "boot_seconds": 0.1, "destroy_seconds": 0.1}
    return json.dumps(
        {
            ":config": options,
            ":providers": dict.fromkeys((PROVIDER, SOUND_PROVIDER), quick),
            ":dns_configs": {"inside": {"domain": "pool.example.com", "dns_class": "rfc2136"}},
            ":pools": [
                {"name": pool, "size": 2, "template": "t", "provider": provider}
                for pool, provider in ((POOL, PROVIDER), (SOUND_POOL, SOUND_PROVIDER))
            ],
        }
    )


ILL = (
    "VMPoolerUnhealthy",
    "VMPoolerHighDLQ",
    "VMPoolerStuckVMs",
    "VMPoolerDLQNearCap",
    "VMPoolerProviderBreakerOpen",
    "VMPoolerPoolBreakerOpen",
    "VMPoolerPoolRecycled",
    "VMPoolerPoolEmpty",
    "VMPoolerAllPoolsEmpty",
    "VMPoolerWrongTypeKey",
    "VMPoolerUnreadableKeys",
    "VMPoolerClockWrong",
    "VMPoolerConfigurationsDiffer",
    "VMPoolerWorkerChanged",
    "VMPoolerInspectionStalled",
    "VMPoolerClonesStalled",
    "VMPoolerRequestsStalled",
    "VMPoolerOrdersWaiting",
    "VMPoolerVMInTwoQueues",
    "VMPoolerBrake",
    "VMPoolerForeignVM",
    "VMPoolerDNSFailing",
    "VMPoolerRemovedPool",
)
"""Alerts that all fire at once."""


def test_alerts_fire_when_the_system_is_ill_and_end_when_it_is_well(site: Site) -> None:
    # Nobody works, and nobody has checked.
    site.fires("VMPoolerUnhealthy", "VMPoolerHealthStale", "VMPoolerNoWorker", "VMPoolerNoBeat")

    fall_ill(site)
    site.fires("VMPoolerDLQDropping", "VMPoolerDLQInflow")  # first: they end 20 s after the last dead letter
    site.check()
    record_empty_since(site, time.time() - HOUR)
    site.check()
    site.fires(*ILL)
    site.rests("VMPoolerHealthStale")
    with closing(Database(site.server.url)) as db:
        db.client.acl_setuser("default", enabled=True, nopass=True, commands=["+rename"])
    site.check()
    site.fires("VMPoolerKeySetAside")
    until(lambda: overdue(site), "a purge is overdue", pause=1)
    site.fires("VMPoolerPurgeOverdue", "VMPoolerPurgeFailed")
    panels_answer(site, set(PANELS) - OF_BEATS)

    site.server.kill()
    site.fires("VMPoolerRedisDown")
    site.server.start()
    site.rests("VMPoolerRedisDown")
    site.web.stop()
    site.fires("VMPoolerNotScraped")
    site.web.start().says("[web] Serving")
    site.rests("VMPoolerNotScraped")
    site.fires("VMPoolerHighDLQ", "VMPoolerNoWorker")  # again: they have not been mended

    get_well(site)
    site.installation.worker()
    site.installation.beat()
    until(lambda: well(site), lambda: f"{site.firing()} end", 120, 1)
    panels_answer(site, OF_BEATS)
    assert alerts_seen(site) == {rule["name"] for group in site.get("rules")["groups"] for rule in group["rules"]}


def fall_ill(site: Site) -> None:
    with closing(Database(site.server.url)) as db:
        world = World(db, now=time.time())
        fail(site, db, 0)
        counted = "sum(vmpooler_dlq_letters_total)"
        until(lambda: site.get("query", query=counted)["result"], "the first dead letter is scraped", pause=0.2)
        for number in range(1, CAP + 50):
            fail(site, db, number)
        for number in range(25):
            world.vm(Queue.PENDING, f"stuck-{number}", age=3 * HOUR)
        left_alone = {"failures": 5, "open_until": time.time() + HOUR, "pause": HOUR}
        for breaker in (keys.breaker(PROVIDER), keys.pool_breaker(POOL)):
            db.client.hset(breaker, mapping=left_alone)
        for odd in (
            worker("w@odd", ["none"], configuration="old", clock_offsets=(3600.0, 3600.0)),
            worker("w@right", ["none"], changes=("pool_shrink n=1",)),
        ):
            record_processes(db, odd)
            let_pass(db, odd, -HOUR)
            pool_lists.publish(db, odd.configuration, [POOL, SOUND_POOL])
            db.client.persist(fleet_keys.pool_list(odd.configuration))  # its next heartbeats would keep it
        stand_still(world, time.time() - HOUR)
        endanger_vms(world, time.time() - HOUR)
        for number in range(4):
            db.client.zadd(keys.recycled(POOL), {f"recycled-{number}\nhas mismatched hostname": time.time()})
        db.client.acl_setuser("default", enabled=True, nopass=True, commands=["-rename"])  # it cannot be set aside
        db.client.lpush(keys.CLONES, "x")
        db.client.lpush(keys.LAST_BOOT, "x")
        db.client.hset(
            keys.PURGE_STATE, mapping={"started": time.time(), "finished": time.time(), "failure": "provoked"}
        )


def stand_still(world: World, epoch: float) -> None:
    """Record that the work of the pool workers last ended then, and leave one clone and one request unfinished."""
    inspections = [inspections_of(pool) for pool in (POOL, SOUND_POOL)]
    ends = dict.fromkeys((*inspections, CLONES_WORK, REQUESTS_WORK), epoch)
    starts = {f"since:{work}": epoch - HOUR for work in inspections}
    world.client.hset(keys.PROGRESS, mapping={**ends, **starts})
    vm = world.vm(None, "overdue", age=world.now - epoch, pool=SOUND_POOL)
    world.client.zadd(keys.ONDEMAND_CLONES, {vm: epoch})
    world.client.zadd(keys.WAITING_REQUESTS, {"waiting": epoch})


def endanger_vms(world: World, epoch: float) -> None:
    """Leave a VM in two queues, one in a pool that nobody configures and a foreign one; an order, an engaged brake."""
    twice = world.vm(Queue.RUNNING, "twice", age=HOUR)
    world.client.sadd(keys.queue(Queue.COMPLETED, POOL), twice)
    world.vm(Queue.RUNNING, "left", age=HOUR, pool=REMOVED_POOL)
    world.client.sadd(keys.DISK_ORDERS, "twice:8")
    world.client.zadd(keys.VM_ORDERS_SEEN, {"create_disk twice:8": epoch})
    foreign = {"count": 1, "names": ["db-1"], "since": epoch}
    world.client.hset(keys.FOREIGN_VMS, POOL, json.dumps(foreign))
    world.client.hset(keys.DNS_FAILURES, mapping={"failures:inside": 9})
    world.client.hset(
        keys.BRAKES, POOL, json.dumps({"since": epoch, "strays": 9, "missing": 0, "known": 10, "limit": 2})
    )


def record_empty_since(site: Site, epoch: float) -> None:
    """Record that the checks have seen the pools empty since then."""
    with closing(Database(site.server.url)) as db:
        db.client.hset(keys.HEALTH_STATE, "empty_since", json.dumps(dict.fromkeys((POOL, SOUND_POOL), epoch)))


def fail(site: Site, db: Database, number: int) -> None:
    dead_letter = failed_vm(
        queue=DeadLetterQueue.CLONE,
        vm=f"failed-{number}".encode(),
        pool=POOL,
        error_class="StandardError",
        error_message="template does not exist",
        now=time.time(),
        identity=b"",
    )
    assert keep(db, site.settings, DeadLetterQueue.CLONE, dead_letter, time.time())


def overdue(site: Site) -> bool:
    site.check()
    return bool(site.get("query", query='vmpooler_health_reason{reason="purge_overdue"}')["result"])


def get_well(site: Site) -> None:
    with closing(Database(site.server.url)) as db:
        db.client.delete(
            keys.dead_letters(DeadLetterQueue.CLONE),
            keys.queue(Queue.PENDING, POOL),
            keys.breaker(PROVIDER),
            keys.pool_breaker(POOL),
            keys.recycled(POOL),
            *(keys.queue(queue, POOL) for queue in (Queue.RUNNING, Queue.COMPLETED)),
            *(*keys.queues(REMOVED_POOL), keys.DISK_ORDERS, keys.BRAKES, keys.DNS_FAILURES),
            *(fleet_keys.HEARTBEATS, fleet_keys.HEARTBEAT_TIMES, keys.CLONES, keys.LAST_BOOT, keys.SET_ASIDE),
            *(keys.ONDEMAND_CLONES, keys.WAITING_REQUESTS),
        )


def well(site: Site) -> bool:
    site.check()
    return not site.firing()


def alerts_seen(site: Site) -> set[str]:
    """All that fired since Prometheus runs."""
    seen = site.get("query", query='count by (alertname) (max_over_time(ALERTS{alertstate="firing"}[1h]))')["result"]
    return {one["metric"]["alertname"] for one in seen}


def panels_answer(site: Site, titles: set[str]) -> None:
    """Each expression of these panels is one that Prometheus understands, and has something to show."""
    asked = [(title, expression) for title in titles for expression in PANELS[title]]

    def silent() -> list[tuple[str, str]]:
        return [(title, one) for title, one in asked if not site.get("query", query=filled(one))["result"]]

    until(lambda: not silent(), lambda: f"each panel has something to show: {silent()}", pause=1)


def filled(expression: str) -> str:
    return expression.replace("$pool", POOL).replace("$__rate_interval", "20s")
