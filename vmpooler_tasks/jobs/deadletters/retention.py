"""Keeping dead letters: how many and for how long, and saying so when one has to go."""

import logging

from vmpooler_tasks.config import Settings
from vmpooler_tasks.errors import WrongTypeError
from vmpooler_tasks.model.deadletters.entry import DeadLetter
from vmpooler_tasks.model.names import DeadLetterQueue
from vmpooler_tasks.store import Database
from vmpooler_tasks.store.deadletters import queue as deadletters
from vmpooler_tasks.store.deadletters.queue import Limits, Trimmed

_log = logging.getLogger("vmpooler_tasks.dlq")


def dead_letter_limits(settings: Settings) -> Limits | None:
    """What the configuration lets the dead-letter queues grow to; None where they are switched off."""
    config = settings.config
    return Limits(config.dlq_ttl * 3600, config.dlq_max_entries) if config.dlq_enabled else None


def keep(db: Database, settings: Settings, queue: DeadLetterQueue, letter: DeadLetter, now: float) -> bool:
    """Whether it is kept and was not before; not if dead letters are switched off.

    Raises what kept it from being written.
    """
    limits = dead_letter_limits(settings)
    if limits is None:
        return False
    new, trimmed = deadletters.push(db, queue, letter, now=now, limits=limits)
    say_trimmed(queue, trimmed, limits)
    return new


def trim(db: Database, limits: Limits, now: float) -> list[str]:
    """Lets the letters of all queues go that are too old or too many; answers what kept a queue from it."""
    troubles = []
    for queue in DeadLetterQueue:
        try:
            say_trimmed(queue, deadletters.trim(db, queue, now=now, limits=limits), limits)
        except WrongTypeError as error:
            troubles.append(f"Error checking dead letters '{queue}': {error}")
    return troubles


def say_trimmed(queue: DeadLetterQueue, trimmed: Trimmed, limits: Limits) -> None:
    """Dropping a letter is a loss, expiring one is not."""
    about = {"queue": str(queue)}
    if trimmed.dropped:
        text = "[!] [dlq] Dropped the %d oldest of '%s': more than dlq_max_entries (%d)"
        _log.error(text, trimmed.dropped, queue, limits.max_entries, extra=about)
    if trimmed.expired:
        _log.info("[*] [dlq] %d dead letters of '%s' expired", trimmed.expired, queue, extra=about)
