"""One kept health check: the record of the history, and its form as JSON."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Self

from vmpooler_tasks.model.health.assessment import Assessment
from vmpooler_tasks.model.health.metrics import HealthMetrics, PoolMetrics
from vmpooler_tasks.model.health.status import Status


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolCheck:
    """What a check counted in one pool; the ages of the oldest VMs in seconds."""

    pending: int = 0
    pending_oldest: int = 0
    ready: int = 0
    ready_oldest: int = 0
    completed: int = 0
    stuck: int = 0

    @classmethod
    def measured(cls, pool: PoolMetrics) -> Self:
        """Return what the history keeps of these metrics."""
        return cls(
            pending=pool.pending.size,
            pending_oldest=pool.pending.oldest_age,
            ready=pool.ready.size,
            ready_oldest=pool.ready.oldest_age,
            completed=pool.completed,
            stuck=pool.pending.stuck_count,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptCheck:
    """One check of the history; `at` in seconds since the epoch, `reasons` are the codes of its reasons."""

    at: float
    status: Status
    dlq: int = 0
    stuck: int = 0
    orphaned: int = 0
    reasons: Sequence[str] = ()
    pools: Mapping[str, PoolCheck] = field(default_factory=dict)

    @classmethod
    def measured(cls, at: float, metrics: HealthMetrics, assessment: Assessment) -> Self:
        """Return what the history keeps of a check."""
        return cls(
            at=at,
            status=assessment.status,
            dlq=metrics.dlq_total_size,
            stuck=metrics.stuck_vm_count,
            orphaned=metrics.orphaned_metadata,
            reasons=sorted({reason.code for reason in assessment.reasons}),
            pools={name: PoolCheck.measured(pool) for name, pool in metrics.pools.items()},
        )

    @classmethod
    def from_json(cls, text: str | bytes) -> Self | None:
        """Return the check, or None if the text is not one. A number that is missing in it is 0."""
        try:
            found = json.loads(text)
            json.dumps(found, ensure_ascii=False).encode()  # text that cannot be shown raises a ValueError
            return cls(
                at=_epoch(found["at"]),
                status=_STATUSES[found["status"]],
                **{name: int(_finite(found.get(name, 0))) for name in ("dlq", "stuck", "orphaned")},
                reasons=_texts(found.get("reasons", [])),
                pools={name: _pool(numbers) for name, numbers in found.get("pools", {}).items()},
            )
        except (AttributeError, KeyError, OverflowError, RecursionError, TypeError, ValueError):
            return None

    def as_json(self) -> dict[str, Any]:
        """Return it with every field under its name."""
        return {
            **{one.name: getattr(self, one.name) for one in fields(self)},
            "status": str(self.status),
            "reasons": list(self.reasons),
            "pools": {name: asdict(pool) for name, pool in self.pools.items()},
        }

    def as_record(self) -> str:
        """Return the text that Redis keeps. Zeros of pools are left out: a week of checks is kept."""
        pools = {
            name: {key: value for key, value in asdict(pool).items() if value} for name, pool in self.pools.items()
        }
        return json.dumps({**self.as_json(), "pools": pools}, ensure_ascii=False, separators=(",", ":"))


YEAR_10000 = 253_402_300_800
"""The first epoch that has no date any more."""

_STATUSES = {str(status): status for status in Status}
_NAMES = tuple(one.name for one in fields(PoolCheck))


def _pool(numbers: Mapping[str, Any]) -> PoolCheck:
    return PoolCheck(**{name: int(_finite(numbers.get(name, 0))) for name in _NAMES})


def _finite(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError("not a number")
    return value


def _epoch(value: Any) -> float:
    if not 0 <= _finite(value) < YEAR_10000:
        raise ValueError("not a time")
    return float(value)


def _texts(value: Any) -> Sequence[str]:
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise ValueError("not a list of texts")
    return value
