"""Notice that the health status changed. Any process may do so; Redis decides which change counts, and when."""

import json
import logging
import uuid

from vmpooler_tasks.clock import Clock
from vmpooler_tasks.config import Settings
from vmpooler_tasks.jobs.health.read import read_report
from vmpooler_tasks.model.notifications.message import Event, TargetType
from vmpooler_tasks.store import Database
from vmpooler_tasks.store.notifications import state
from vmpooler_tasks.store.notifications.state import NotifiedTarget, Observation

_log = logging.getLogger("vmpooler_tasks.notifications")

REMINDER_SECONDS = 60.0
"""Between two requests to Alertmanager while the status is not healthy."""

MAX_KEPT_REASONS = 100


def observe_status(db: Database, settings: Settings, clock: Clock, broker: Database | None = None) -> Event | None:
    """Compare the status that readers see with the one of which the targets know; return what happened.

    Notifications wait in Redis once the status has differed for `notify_after` seconds. A status that returns earlier
    is no change. `broker`: the Redis with Celery's messages, if it is another one.
    """
    assessment = read_report(db, settings, clock, broker).assessment
    reasons = [reason.as_json() for reason in assessment.reasons[:MAX_KEPT_REASONS]]
    seen = Observation(status=assessment.status, reasons=json.dumps(reasons), id=str(uuid.uuid4()))
    targets = [NotifiedTarget(one.name, one.type is TargetType.ALERTMANAGER) for one in settings.notify.targets]
    observed = state.observe(db, seen, targets, settings.config.notify_after, REMINDER_SECONDS)
    for target in observed.dropped_for:
        _log.error("[!] [notify] Dropped a notification for %s: too many are waiting", target)
    return observed.event
