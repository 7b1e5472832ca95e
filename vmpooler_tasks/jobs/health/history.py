"""How the queues were over time, thinned to what a chart can show."""

from collections.abc import Mapping, Sequence
from typing import Any

from vmpooler_tasks.model.health.status import Status
from vmpooler_tasks.store import Database
from vmpooler_tasks.store.health import record as health_record

_NAMES = ("pending", "pending_oldest", "ready", "ready_oldest", "completed", "stuck")
_SEVERITY = {str(status): int(status) for status in Status}


def points(db: Database, since: float, most: int) -> list[dict[str, Any]]:
    """At most so many of the checks since that epoch, oldest first.

    Each stands for its neighbours: it is their last, with the worst status and all reasons, so that a short bad spell
    does not vanish between two points.
    """
    checks = [check for check in health_record.read_history(db, since) if check.get("status") in _SEVERITY]
    size = -(-len(checks) // most) or 1
    return [_summed(checks[begin : begin + size]) for begin in range(0, len(checks), size)]


def _summed(checks: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    last = checks[-1]
    return {
        "at": last["at"],
        "status": max((check["status"] for check in checks), key=_SEVERITY.__getitem__),
        "dlq": last.get("dlq", 0),
        "stuck": last.get("stuck", 0),
        "orphaned": last.get("orphaned", 0),
        "reasons": sorted({reason for check in checks for reason in check.get("reasons", ())}),
        "pools": {name: dict(zip(_NAMES, numbers, strict=False)) for name, numbers in last.get("pools", {}).items()},
    }
