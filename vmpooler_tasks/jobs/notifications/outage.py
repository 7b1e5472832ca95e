"""Notify people that Redis does not reply. Nothing can be written then: each process remembers what it sent."""

import logging
import time
import uuid
from collections.abc import Callable

from vmpooler_tasks.config import Settings
from vmpooler_tasks.config.services import NotifyTarget
from vmpooler_tasks.errors import DeliveryError
from vmpooler_tasks.jobs.notifications.send import retry_delay, send
from vmpooler_tasks.model.health.explanation import default_reason, error_line
from vmpooler_tasks.model.health.reasons import ReasonCode
from vmpooler_tasks.model.health.status import Status
from vmpooler_tasks.model.notifications.alerts import active_alerts
from vmpooler_tasks.model.notifications.message import Event, Notification, TargetType
from vmpooler_tasks.store import Database
from vmpooler_tasks.store.notifications import state

_log = logging.getLogger("vmpooler_tasks.notifications")


class RedisOutage:
    """Follows an outage of Redis, and notifies each target once it has lasted for `notify_after`.

    Each process that has one sends its own notifications. Their end is noticed through Redis, like every other change.
    """

    def __init__(self, db: Database, settings: Settings, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._db, self._settings, self._monotonic = db, settings, monotonic
        self._since: float | None = None
        self._notification: Notification | None = None
        self._waiting: dict[str, tuple[int, float]] = {}
        """Target → attempts that failed, and when the next one is due."""

    def record_failure(self, error: str) -> None:
        """Record that Redis does not reply, and send what is due."""
        now = self._monotonic()
        self._since = now if self._since is None else self._since
        lasted = now - self._since
        if self._notification is None and lasted >= self._settings.config.notify_after:
            self._notification = self._describe(lasted, error)
            self._waiting = {target.name: (0, now) for target in self._settings.notify.targets}
        if self._notification is not None:
            for target in self._settings.notify.targets:
                self._attempt(target, self._notification, now)

    def record_end(self) -> None:
        """Record in Redis that the targets know of an unhealthy status, so that they learn of its end."""
        if self._notification is not None:
            alerts = active_alerts(self._notification, {})
            named = [one.name for one in self._settings.notify.targets if one.type is TargetType.ALERTMANAGER]
            state.record_known(self._db, self._notification.status, dict.fromkeys(named, alerts))
        self._since, self._notification, self._waiting = None, None, {}

    def _describe(self, lasted: float, error: str) -> Notification:
        now = time.time()
        reason = default_reason(ReasonCode.NO_REDIS, lasted, error=error_line(error))
        return Notification(
            id=str(uuid.uuid4()),
            event=Event.STATUS_CHANGED,
            status=reason.severity,
            previous=Status.HEALTHY,
            since=now - lasted,
            epoch=now,
            reasons=(reason,),
            redis=self._db.address,
            web=self._settings.notify.web,
        )

    def _attempt(self, target: NotifyTarget, notification: Notification, now: float) -> None:
        failed, due = self._waiting.get(target.name, (0, float("inf")))
        if due > now:
            return
        try:
            send(target, notification, {})
        except DeliveryError as error:
            self._waiting[target.name] = (failed + 1, now + retry_delay(failed, 1))
            _log.warning("[!] [notify] Could not notify %s of the outage of Redis: %s", target.name, error)
        else:
            del self._waiting[target.name]
            _log.info("[*] [notify] Notified %s of the outage of Redis (id %s)", target.name, notification.id)
