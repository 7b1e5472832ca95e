"""Parse an exposition as Prometheus does."""

from dataclasses import dataclass

from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from tests.support.world import World, settings
from vmpooler_tasks.config import Settings
from vmpooler_tasks.metrics.prometheus import exposition
from vmpooler_tasks.store import Database

Key = tuple[str, frozenset[tuple[str, str]]]


@dataclass(frozen=True, slots=True)
class Exposed:
    """The samples by name and labels. Each of them occurs once."""

    text: str
    families: dict[str, Metric]
    samples: dict[Key, float]

    def __call__(self, name: str, **labels: str) -> float | None:
        return self.samples.get((name, frozenset(labels.items())))

    def labels(self, name: str) -> list[dict[str, str]]:
        return [dict(labels) for sample, labels in self.samples if sample == name]

    @property
    def names(self) -> set[str]:
        """Return the names as an alert writes them, without the parts of a histogram."""
        return {f"{one.name}_total" if one.type == "counter" else one.name for one in self.families.values()}


def parse(raw: bytes) -> Exposed:
    text = raw.decode()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    samples = [
        ((sample.name, frozenset(sample.labels.items())), sample.value)
        for family in families.values()
        for sample in family.samples
    ]
    assert len(samples) == len(dict(samples)), "no sample stands there twice"
    return Exposed(text, families, dict(samples))


def scrape(world: World, chosen: Settings | None = None, broker: Database | None = None) -> Exposed:
    return parse(exposition(world.db, chosen or settings(), world.clock, broker))
