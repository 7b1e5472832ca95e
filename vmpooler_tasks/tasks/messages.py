"""Send the pool workers' tasks, so that no pool waits for another's flood, and count the messages that wait.

A worker takes the urgent messages of a queue first: kombu keeps a list for each priority. Inspections and clones are
urgent. Of the other work that an inspection finds, a share goes before the rest of all pools.
"""

from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from enum import IntEnum
from typing import Any

from celery import current_app

from vmpooler_tasks.errors import VmpoolerTasksError
from vmpooler_tasks.jobs.pools.context import Work
from vmpooler_tasks.model.pools.lifecycle import Step
from vmpooler_tasks.store import broker_keys
from vmpooler_tasks.tasks import registry
from vmpooler_tasks.tasks.process import broker, settings
from vmpooler_tasks.tasks.registry import TaskSpec

MAX_WAITING_CHECKS = 1_000
"""With more messages waiting in their queue, only the share of each pool is sent."""

SHARE = 50
"""Checks of one step, and destructions, that each inspection sends before the rest of all pools."""

MIN_EXPIRY_SECONDS = 10.0

INSPECTION_EXPIRY_SECONDS = 60.0
"""Inspections of a tick wait for so long: no others are sent while they wait."""


class Priority(IntEnum):
    """The priorities of messages. Redis has the urgent ones at 0, which is also that of a message without one."""

    URGENT = 0
    SHARE = 3
    REST = 6


def send_work(work: Iterable[Work]) -> int:
    """Send a task for each piece of work, and return how many were sent.

    Checks beyond the pool's share are left out while many messages wait: the next inspection finds them again.
    """
    interval = max(settings().config.check_loop_delay_min, MIN_EXPIRY_SECONDS)
    taken, sent, room = Counter[tuple[Step, str]](), 0, dict[str, int]()
    with current_app.producer_or_acquire() as producer, producer.batch():
        for one in work:
            task = registry.BY_STEP[one.step]
            taken[one.step, one.pool] += 1
            priority = _priority_of(one, taken[one.step, one.pool])
            if task.is_repeated and priority is Priority.REST:
                if task.queue not in room:
                    room[task.queue] = MAX_WAITING_CHECKS - count_waiting(task.queue)
                if room[task.queue] <= 0:
                    continue
                room[task.queue] -= 1
            _send(task, one.as_kwargs(), producer, interval, priority)
            sent += 1
    return sent


def send_inspections(pools: Iterable[str]) -> None:
    """Send an inspection for each pool."""
    task = registry.TASKS[registry.CHECK_POOL]
    with current_app.producer_or_acquire() as producer, producer.batch():
        for pool in pools:
            _send(task, {"pool": pool}, producer, INSPECTION_EXPIRY_SECONDS, Priority.URGENT)


def send_unconfigured(providers: Iterable[str]) -> None:
    """Send a round for the unconfigured VMs of each provider."""
    task = registry.TASKS[registry.PURGE_UNCONFIGURED]
    with current_app.producer_or_acquire() as producer:
        for provider in providers:
            _send(task, {"provider": provider}, producer, INSPECTION_EXPIRY_SECONDS, Priority.SHARE)


def has_waiting_inspections() -> bool:
    """Return whether inspections of an earlier tick wait. Nothing else is urgent in their queue."""
    with suppress(VmpoolerTasksError):  # no broker: to send will fail then
        return bool(broker().call("LLEN", broker_keys.messages(registry.CHECK_QUEUE)[0]))
    return False


def _priority_of(work: Work, number: int) -> Priority:
    """Return the priority of the inspection's `number`th piece of work of this step."""
    if registry.BY_STEP[work.step].queue == registry.CLONE_QUEUE:
        return Priority.URGENT
    return Priority.SHARE if number <= SHARE else Priority.REST


def _send(task: TaskSpec, kwargs: dict[str, Any], producer: Any, expires: float, priority: Priority) -> None:
    """Publish the task. A repeated one expires after so many seconds, since the next inspection sends it again."""
    current_app.send_task(
        task.name,
        kwargs=kwargs,
        producer=producer,
        expires=expires if task.is_repeated else None,
        ignore_result=True,
        queue=task.queue,
        priority=priority,
        headers={"tick": True} if task.is_repeated else None,
    )


def count_waiting(queue: str, channel: Any = None) -> int:
    """Return the number of messages, of any priority, that no worker has taken; 0 if the broker does not reply."""
    if channel is None:
        with current_app.producer_or_acquire() as producer:
            return count_waiting(queue, producer.channel)
    try:
        return int(channel.queue_declare(queue, passive=True).message_count)
    except Exception:  # noqa: BLE001 - no such queue yet, or no broker: sending will fail then
        return 0
