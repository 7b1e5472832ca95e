"""docs/metrics.md lists exactly the exported metrics, with their types and labels."""

import json
import re

from tests.support.cycles import cycle
from tests.support.exposition import Exposed, parse
from tests.support.processes import ROOT
from tests.support.world import POOL, World, settings
from vmpooler_tasks.config.dns import DnsConfig
from vmpooler_tasks.config.services import NotifySection
from vmpooler_tasks.jobs.health import check as health_check
from vmpooler_tasks.metrics.dotted import dotted
from vmpooler_tasks.metrics.prometheus import exposition
from vmpooler_tasks.metrics.table import METRICS
from vmpooler_tasks.model.health.assessment import Assessment
from vmpooler_tasks.model.health.metrics import HealthMetrics, PoolMetrics
from vmpooler_tasks.model.health.status import Status
from vmpooler_tasks.model.names import DeadLetterQueue, Queue
from vmpooler_tasks.store import fleet_keys, keys

TEXT = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")

NOTIFY = NotifySection.model_validate({"targets": [{"type": "command", "command": ["true"]}]})


def busy(world: World) -> Exposed:
    """A system in which every metric has something to show."""
    dns = {"inside": DnsConfig(domain="pool.example.com", dns_class="rfc2136")}
    whole = {"providers": {"dummy": {}}, "notify": NOTIFY, "dns_configs": dns}
    chosen = settings(dlq_max_entries=1).model_copy(update=whole)
    world.vm(Queue.PENDING, "a", 7201)
    cycle(world)
    world.client.zadd(keys.dead_letters(DeadLetterQueue.CLONE), {json.dumps({"error_class": "E"}): world.now})
    world.client.hset(fleet_keys.SCHEDULE, "purge", world.now)
    health_check.run(world.db, chosen, world.clock)
    return parse(exposition(world.db, chosen, world.clock))


def test_every_metric_has_its_row(world: World) -> None:
    rows = [line.split("|") for line in TEXT.splitlines() if line.startswith("| `vmpooler_")]
    named = {
        name.strip(" `"): (kind.strip(), frozenset(re.findall(r"`(\w+)`", labels)))
        for _, name, kind, labels, *_ in rows
    }
    assert len(rows) == len(named)
    found = busy(world)
    exported = {}
    for family in found.families.values():
        assert family.documentation
        assert family.samples, f"{family.name} shows nothing here"
        name = f"{family.name}_total" if family.type == "counter" else family.name
        labels = frozenset(label for sample in family.samples for label in sample.labels) - {"le"}
        exported[name] = (family.type, labels)
    assert exported == named
    assert exported == {spec.name: (str(spec.type), frozenset(spec.labels)) for spec in METRICS.values()}


def test_every_dotted_name_has_its_row() -> None:
    named = set(re.findall(r"^\| `(health\.[\w.]+)` \|", TEXT, re.MULTILINE))
    sent = dotted(HealthMetrics({POOL: PoolMetrics()}, {}), Assessment(Status.HEALTHY, ()), "")
    queues = "|".join(DeadLetterQueue)
    assert named == {re.sub(rf"\.dlq\.({queues})\.", ".dlq.QUEUE.", name.replace(POOL, "POOL")) for name in sent}
