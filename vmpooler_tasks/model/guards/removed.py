"""A pool that left the configuration with VMs: how many it has, and what becomes of them, in words."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from vmpooler_tasks.model.guards.managed import RemovedPool
from vmpooler_tasks.model.names import Queue
from vmpooler_tasks.model.timestamps import iso_utc


@dataclass(frozen=True, slots=True, kw_only=True)
class DrainRules:
    """What decides whether a removed pool is drained: `manage_pools`, the providers, `removed_pool_grace`."""

    is_managed: bool
    providers: Collection[str]
    grace_seconds: float


NO_DRAIN = DrainRules(is_managed=False, providers=(), grace_seconds=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class RemovedPoolState:
    """One removed pool at one instant.

    `removed`: since when, and whether it is kept; None if no tick has seen it yet. `provider`: as its record names it,
    '' if it is not known.
    """

    name: str
    vms: Mapping[Queue, int]
    removed: RemovedPool | None
    provider: str

    @property
    def count(self) -> int:
        return sum(self.vms.values())

    @property
    def counts_text(self) -> str:
        """Return the VMs by queue: `2 ready, 3 running`."""
        return ", ".join(f"{count} {queue}" for queue, count in self.vms.items() if count) or "no VMs"

    def drained_from(self, rules: DrainRules) -> float | None:
        """Return the epoch from which its VMs are drained, None if they are not, or if that is not known."""
        removed = self.removed
        if not rules.is_managed or removed is None or removed.kept or self.provider not in rules.providers:
            return None
        return removed.since + rules.grace_seconds

    def fate(self, rules: DrainRules) -> str:
        """Return in words what becomes of its VMs."""
        kept = self.removed.kept if self.removed else None
        start = self.drained_from(rules)
        if not rules.is_managed:
            return "they are not drained: manage_pools is off"
        if kept:
            return f"kept by {kept.who} since {iso_utc(kept.since)}{f': {kept.why}' if kept.why else ''}"
        if not self.provider:
            return "they are not drained: its provider is not known"
        if self.provider not in rules.providers:
            return f"they are not drained: its provider {self.provider!r} is not configured"
        return "they will be drained" if start is None else f"drained from {iso_utc(start)} on"
