"""The health status as commands and the API show it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vmpooler_tasks.model.health.assessment import Assessment


@dataclass(frozen=True, slots=True)
class HealthReport:
    """A health status; `metrics` are nested as in `vmpooler__health`. Both times are text, None for never."""

    assessment: Assessment
    last_check: str | None
    metrics: Mapping[str, Any]
    duration_seconds: float = 0.0
    last_scheduled_check: str | None = None

    def as_json(self) -> dict[str, Any]:
        errors = self.metrics.get("errors", {})
        return {
            "status": str(self.assessment.status),
            "last_check": self.last_check,
            "last_scheduled_check": self.last_scheduled_check,
            "stuck_vm_count": errors.get("stuck_vm_count", 0),
            "dlq_total_size": errors.get("dlq_total_size", 0),
            "orphaned_metadata_count": errors.get("orphaned_metadata_count", 0),
            "reasons": [reason.as_json() for reason in self.assessment.reasons],
            "metrics": self.metrics,
            "duration_seconds": round(self.duration_seconds, 6),
        }
