"""How the queues were over time, thinned to what a chart can show."""

from collections.abc import Sequence
from dataclasses import replace

from vmpooler_tasks.model.health.history import KeptCheck
from vmpooler_tasks.store import Database
from vmpooler_tasks.store.health import record as health_record


def points(db: Database, since: float, max_points: int) -> list[KeptCheck]:
    """Return at most so many of the checks since that epoch, oldest first.

    Each stands for its neighbours: it is their last, with the worst status and all reasons, so that a short bad spell
    does not vanish between two points.
    """
    checks = health_record.read_history(db, since)
    size = -(-len(checks) // max_points) or 1
    return [_merged(checks[first : first + size]) for first in range(0, len(checks), size)]


def _merged(checks: Sequence[KeptCheck]) -> KeptCheck:
    return replace(
        checks[-1],
        status=max(check.status for check in checks),
        reasons=sorted({reason for check in checks for reason in check.reasons}),
    )
