"""Put what a reader of the health status sees itself over what the last check recorded."""

from collections.abc import Iterable

from vmpooler_tasks.model.health.assessment import Assessment
from vmpooler_tasks.model.health.explanation import HealthReason
from vmpooler_tasks.model.health.reasons import ReasonCode
from vmpooler_tasks.model.health.status import Status

SEEN_BY_READERS = frozenset(
    {
        ReasonCode.STALE,
        ReasonCode.DLQ_SIZE,
        ReasonCode.DLQ_NEAR_CAP,
        ReasonCode.NO_WORKER,
        ReasonCode.NO_BEAT,
        ReasonCode.NOTHING_CHECKED,
        ReasonCode.CLOCK,
        ReasonCode.CONFIGURATIONS_DIFFER,
        ReasonCode.WORKER_CHANGED,
    }
)
"""The reasons that every reader finds itself. In a record they are as old as the record, so they do not count there."""


def overlaid(recorded: Assessment, seen: Iterable[HealthReason]) -> Assessment:
    """Return the recorded assessment with the reasons that were `seen` now, instead of the recorded ones of their kind.

    A recorded status that is worse than its reasons stays: VMPooler writes a status without reasons.
    """
    explained = max((reason.severity for reason in recorded.reasons), default=Status.HEALTHY)
    floor = recorded.status if recorded.status > explained else Status.HEALTHY
    kept = [reason for reason in recorded.reasons if reason.code not in SEEN_BY_READERS]
    reasons = sorted(
        [*kept, *seen], key=lambda reason: (-reason.severity, reason.code, reason.pool or "", reason.queue or "")
    )
    return Assessment(max([floor, *(reason.severity for reason in reasons)]), tuple(reasons))
