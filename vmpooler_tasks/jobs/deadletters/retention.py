"""Keep dead letters within the configured age and count, and log each time that one is removed."""

import logging

from vmpooler_tasks.config import Settings
from vmpooler_tasks.errors import WrongTypeError
from vmpooler_tasks.model.deadletters.entry import DeadLetter
from vmpooler_tasks.model.names import DeadLetterQueue
from vmpooler_tasks.store import Database
from vmpooler_tasks.store.deadletters.push import push
from vmpooler_tasks.store.deadletters.trim import DeadLetterLimits, Trimmed, trim

_log = logging.getLogger("vmpooler_tasks.dlq")


def dead_letter_limits(settings: Settings) -> DeadLetterLimits | None:
    """Return the configured limits of the dead-letter queues; None if dead letters are switched off."""
    config = settings.config
    if not config.dlq_enabled:
        return None
    return DeadLetterLimits(config.dlq_ttl * 3600, config.dlq_max_entries, config.dlq_max_bytes)


def keep(db: Database, settings: Settings, queue: DeadLetterQueue, dead_letter: DeadLetter, now: float) -> bool:
    """Store a dead letter, and return True if it is new. Do nothing if dead letters are switched off.

    Raises VmpoolerTasksError if Redis does not take it.
    """
    limits = dead_letter_limits(settings)
    if limits is None:
        return False
    new, trimmed = push(db, queue, dead_letter, now=now, limits=limits)
    log_trimmed(queue, trimmed, limits)
    return new


def trim_all(db: Database, limits: DeadLetterLimits, now: float) -> list[str]:
    """Remove the dead letters of all queues that are too old or too many. Return the errors, one for each queue."""
    errors = []
    for queue in DeadLetterQueue:
        try:
            log_trimmed(queue, trim(db, queue, now=now, limits=limits), limits)
        except WrongTypeError as error:
            errors.append(f"Error checking dead letters '{queue}': {error}")
    return errors


def log_trimmed(queue: DeadLetterQueue, trimmed: Trimmed, limits: DeadLetterLimits) -> None:
    """Log dropped dead letters as an error, since work is lost, and expired ones as information."""
    about = {"queue": str(queue)}
    if trimmed.dropped:
        option, maximum = "dlq_max_entries", limits.max_entries
        if trimmed.is_for_bytes:
            option, maximum = "dlq_max_bytes", limits.max_bytes
        text = "[!] [dlq] Dropped the %d oldest of '%s': more than %s (%d)"
        _log.error(text, trimmed.dropped, queue, option, maximum, extra=about)
    if trimmed.expired:
        _log.info("[*] [dlq] %d dead letters of '%s' expired", trimmed.expired, queue, extra=about)
