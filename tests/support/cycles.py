"""Purge cycles with any options, and what they counted."""

from typing import Any

from tests.support.world import World, settings
from vmpooler_tasks.config import Settings
from vmpooler_tasks.jobs.purge import cycle as purge_cycle
from vmpooler_tasks.jobs.purge.options import PurgeOptions
from vmpooler_tasks.jobs.purge.report import PurgeReport
from vmpooler_tasks.store import fleet_keys, keys


def cycle(world: World, chosen: Settings | None = None, **options: Any) -> PurgeReport:
    """Run a purge cycle, and return its report; `options` are those of PurgeOptions."""
    wanted = PurgeOptions(**{"who": "test", "keep_entries": True, **options})
    return purge_cycle.run(world.db, chosen or settings(), world.clock, wanted)


FINER = (
    "dead_letter_bytes:",
    "dead_letter_entries:",
    "purge_seconds",
    "purge_cycles_within:",
    "dead_letters_of:",
    "dead_letter_classes:",
)
"""Counters that are more detailed than others; tests/integration/metrics/test_counters.py checks them."""


def counters(world: World) -> dict[str, int]:
    found = world.client.hgetall(keys.COUNTERS.decode())
    return {name.decode(): int(count) for name, count in found.items() if not name.decode().startswith(FINER)}


def audit(world: World) -> list[dict[str, str]]:
    """Return the entries of the audit, oldest first."""
    return [
        {name.decode(): value.decode() for name, value in fields.items()}
        for _, fields in world.client.xrange(fleet_keys.AUDIT.decode())
    ]
