"""Beat's schedule, kept in Redis: a second beat is a standby, and a restarted one goes on where the last stopped."""

import logging
import math
import time
from datetime import UTC, datetime
from typing import Any

from celery.beat import ScheduleEntry, Scheduler

from vmpooler_tasks.errors import VmpoolerTasksError
from vmpooler_tasks.store.fleet import schedule
from vmpooler_tasks.store.redis.numbers import finite
from vmpooler_tasks.tasks.celery import defaults
from vmpooler_tasks.tasks.celery.signals import beat_name
from vmpooler_tasks.tasks.database import database
from vmpooler_tasks.tasks.messages import waiting
from vmpooler_tasks.tasks.observe.liveness import pulse
from vmpooler_tasks.tasks.observe.log_filter import QUIET

_log = logging.getLogger("vmpooler_tasks.beat")

MOST_WAITING = 100
"""Messages that may wait before a beat adds no more: an expired one stays in Redis until a worker meets it."""

SKEW_SECONDS = 60
"""How far ahead another beat's clock may be."""


class RedisScheduler(Scheduler):
    """Each tick is claimed in Redis before it is sent, so that of any number of beats one sends it.

    An entry that never ran is due at once; one that is overdue runs once, not once for each interval missed.
    """

    def setup_schedule(self) -> None:
        self.install_default_entries(self.data)
        self.merge_inplace(self.app.conf.beat_schedule)
        if not self.schedule:
            _log.warning(
                "[!] [beat] Nothing is scheduled: purge_enabled, health_check_enabled and manage_pools are all off"
            )

    def tick(self, *_: Any, **__: Any) -> float:
        """Sends what is due; answers the seconds until it should be called again."""
        pulse()
        try:
            last_ticks = schedule.last_ticks(database())
            schedule.beat_is_alive(database(), beat_name(), time.time())
            waits = [self._send_if_due(entry, last_ticks.get(entry.name, "")) for entry in self.schedule.values()]
        except VmpoolerTasksError as error:
            _log.error("[!] [beat] %s; trying again in %ss", error, self.max_interval)
            return float(self.max_interval)
        return float(min([*waits, self.max_interval]))

    def _send_if_due(self, entry: ScheduleEntry, last_tick: str) -> float:
        due, wait = _is_due(entry, last_tick)
        if not due:
            return wait
        now = time.time()  # not earlier: what is recorded as a tick shall be a whole interval after the last
        if waiting(defaults.task_default_queue, self.producer.channel) >= MOST_WAITING:
            _log.warning(
                "[!] [beat] %s is not sent: %d messages wait, and no worker takes them", entry.name, MOST_WAITING
            )
            return float(self.max_interval)
        claimed = schedule.claim(database(), entry.name, last_tick, now)
        if claimed is None:
            return wait  # another beat sends it
        try:
            self.apply_async(entry, producer=self.producer, advance=False)
        except Exception as error:  # noqa: BLE001 - whatever kept it from being sent, the tick is not lost
            _log.error("[!] [beat] %s could not be sent: %s", entry.name, error, extra={"task": entry.task})
            schedule.give_back(database(), entry.name, claimed)
            return float(self.max_interval)
        schedule.confirm(database(), entry.name, claimed, now)
        _log.log(
            logging.DEBUG if entry.task in QUIET else logging.INFO,
            "[*] [beat] Sent %s",
            entry.task,
            extra={"task": entry.task},
        )
        return wait

    def close(self) -> None:
        super().close()
        try:
            schedule.beat_stopped(database(), beat_name())
        except VmpoolerTasksError:
            _log.debug("the beat's name expires by itself")


def _is_due(entry: ScheduleEntry, last_tick: str) -> tuple[bool, float]:
    """(whether it is due, seconds until it is due again or for the first time)."""
    epoch = finite(last_tick) or 0.0  # what is no number counts as never
    if epoch > time.time() + SKEW_SECONDS:
        epoch = 0.0  # told by a clock that was wrong: nobody shall wait until then
    last = datetime.fromtimestamp(epoch, UTC)
    due, wait = entry.schedule.is_due(last)
    return due, wait if math.isfinite(wait) else 0
