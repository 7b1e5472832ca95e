"""Keep beat's schedule in Redis: a second beat is a standby, a restarted one continues where the last stopped."""

import logging
import math
from collections import defaultdict
from datetime import UTC, datetime
from functools import cache
from typing import Any

from celery.beat import ScheduleEntry, Scheduler

from vmpooler_tasks.clock import MAX_DRIFT_SECONDS
from vmpooler_tasks.errors import StoreRefusedError, VmpoolerTasksError, WrongTypeError
from vmpooler_tasks.model.fleet import HEARTBEAT_SECONDS, ProcessKind
from vmpooler_tasks.model.names import on_one_line
from vmpooler_tasks.store.fleet import schedule
from vmpooler_tasks.store.redis.numbers import finite
from vmpooler_tasks.tasks.celery import defaults
from vmpooler_tasks.tasks.celery.signals import beat_name
from vmpooler_tasks.tasks.messages import count_waiting
from vmpooler_tasks.tasks.observe.heartbeat import HeartbeatSender
from vmpooler_tasks.tasks.observe.liveness import signal_alive
from vmpooler_tasks.tasks.process import database, settings
from vmpooler_tasks.tasks.registry import OWN_LINES
from vmpooler_tasks.throttle import RepeatThrottle, Throttle

_log = logging.getLogger("vmpooler_tasks.beat")
_throttle = Throttle(60.0)
_repeats: defaultdict[str, RepeatThrottle] = defaultdict(lambda: RepeatThrottle(60.0))
"""Of each entry, and of the tick: what fails is tried again each few seconds, and is one line a minute."""

MAX_WAITING_MESSAGES = 100
"""A beat adds no message beyond these: an expired one stays in Redis until a worker takes it."""


class RedisScheduler(Scheduler):
    """Claim each tick in Redis before sending it, so that one of any number of beats sends it.

    An entry that never ran is due at once. An overdue entry runs once, not once for each interval missed.
    """

    def setup_schedule(self) -> None:
        self.install_default_entries(self.data)
        self.merge_inplace(self.app.conf.beat_schedule)
        if not self.schedule:
            _log.warning(
                "[!] [beat] Nothing is scheduled: purge_enabled, health_check_enabled and manage_pools are all off"
            )

    def tick(self, *_: Any, **__: Any) -> float:
        """Send what is due, and return the seconds until the next call."""
        signal_alive()
        try:
            last_ticks = schedule.read_last_ticks(database())
            _send_heartbeat()
            waits = [self._send_if_due(entry, last_ticks.get(entry.name, "")) for entry in self.schedule.values()]
        except VmpoolerTasksError as error:
            if _repeats["tick"].acquire(str(error)):
                _log.error("[!] [beat] %s; trying again in %ss", error, self.max_interval)
            return float(self.max_interval)
        return float(min([*waits, self.max_interval, HEARTBEAT_SECONDS]))

    def _send_if_due(self, entry: ScheduleEntry, last_tick: str) -> float:
        due, wait = _is_due(entry, last_tick)
        if not due:
            return wait
        now = database().clock()  # not earlier: the recorded tick has to be a whole interval after the last one
        if count_waiting(defaults.task_default_queue, self.producer.channel) >= MAX_WAITING_MESSAGES:
            if _repeats[entry.name].acquire("no worker"):
                what = "[!] [beat] %s is not sent: %d messages wait, and no worker takes them"
                _log.warning(what, entry.name, MAX_WAITING_MESSAGES)
            return float(self.max_interval)
        claimed = schedule.claim_tick(database(), entry.name, last_tick, now)
        if claimed is None:
            return wait  # another beat sends it
        try:
            self.apply_async(entry, producer=self.producer, advance=False)
        except Exception as error:  # noqa: BLE001 - whatever kept it from being sent, the tick is not lost
            if _repeats[entry.name].acquire(str(error)):
                _log.error("[!] [beat] %s could not be sent: %s", entry.name, error, extra={"task": entry.task})
            schedule.release_tick(database(), entry.name, claimed)
            return float(self.max_interval)
        schedule.confirm_tick(database(), entry.name, claimed, now)
        _log.log(
            logging.DEBUG if entry.task in OWN_LINES else logging.INFO,
            "[*] [beat] Sent %s",
            entry.task,
            extra={"task": entry.task},
        )
        return wait

    def close(self) -> None:
        super().close()
        try:
            _heartbeat().say_goodbye()
        except VmpoolerTasksError:
            _log.debug("could not record the goodbye of this beat; its record expires by itself")


def _send_heartbeat() -> None:
    """Record that this beat is alive. If Redis refuses that, log it: the schedule goes on."""
    try:
        _heartbeat().send()
    except (StoreRefusedError, WrongTypeError) as error:
        if _throttle.acquire():
            _log.error("[!] [beat] This beat could not record that it is alive: %s", on_one_line(str(error)))


@cache
def _heartbeat() -> HeartbeatSender:
    return HeartbeatSender(database(), settings(), ProcessKind.BEAT, beat_name())


def _is_due(entry: ScheduleEntry, last_tick: str) -> tuple[bool, float]:
    """Return (True if the entry is due, seconds until it is due again or for the first time), by the server's clock."""
    now, epoch = database().clock(), finite(last_tick) or 0.0  # an unreadable time counts as never
    if epoch > now + MAX_DRIFT_SECONDS:
        epoch = 0.0  # recorded while a clock was wrong: do not wait until then
    entry.schedule.nowfun = lambda: datetime.fromtimestamp(now, UTC)
    due, wait = entry.schedule.is_due(datetime.fromtimestamp(epoch, UTC))
    return due, wait if math.isfinite(wait) else 0
