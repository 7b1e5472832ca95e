"""An outage of Redis is two lines in the log of a worker, a beat or a Flower: what else it causes is left out.

Celery, kombu and Flower log each attempt, some with a traceback. `store.redis.outages` logs the start and the end.
"""

import logging
from typing import Any

from kombu.exceptions import OperationalError

from vmpooler_tasks.config.redis_address import without_login
from vmpooler_tasks.errors import SentinelsDeniedError, StoreDeniedError, StoreUnavailableError
from vmpooler_tasks.redis_client import CONNECTION_ERRORS, REFUSALS
from vmpooler_tasks.store import Database
from vmpooler_tasks.store.redis.connection import follow_outages, translated_cause
from vmpooler_tasks.store.redis.outages import LOGGER as OUTAGE_LOGGER
from vmpooler_tasks.store.redis.outages import OUTAGES
from vmpooler_tasks.tasks.broker.refusals import BROKER_REFUSALS, USE_QUEUES
from vmpooler_tasks.tasks.process import settings

LOST = "Connection to broker lost: "

_CAUSES = (*CONNECTION_ERRORS, OperationalError, StoreUnavailableError)

_OWN_ERRORS = (StoreUnavailableError, StoreDeniedError, SentinelsDeniedError)

_LOST_LINE = "consumer: Connection to broker lost"

_ATTEMPTS = (_LOST_LINE, "consumer: Cannot connect to")
"""How Celery's lines about each attempt start."""

_ACKNOWLEDGEMENTS = ("Couldn't ack", "Couldn't reject")
"""How a line starts about a task that ended while its connection was lost. The next connection acknowledges it."""

_NEVER_WANTED = ("Skipping prefetch count reduction", "Restoring ")
"""How lines start about what every lost connection does."""

_CONSEQUENCES = (
    *(text for kind in _OWN_ERRORS for text in (str(kind.__doc__), f"{kind.__name__}(")),
    *("Inspect method", "Temporarily reducing the prefetch count", "Resuming normal operations"),
)
"""What lines contain that follow from an outage: our own errors, and texts of Celery, kombu and Flower."""

_FLOWER_LOGGERS = ("flower.events", "flower.inspector", "flower.utils.broker", "kombu.mixins")


def broker_address() -> str:
    """Return the address of the broker as errors show it."""
    return without_login(settings().broker_location)


def note_broker_failure(error: BaseException, *, is_lost: bool = False) -> None:
    """Note an outage if this error of the broker is one. `is_lost`: the worker has lost its connection by it."""
    if isinstance(error, _CAUSES) and isinstance(error, Exception):
        address = broker_address()
        found = translated_cause(error, address)
        if isinstance(found, StoreUnavailableError):
            OUTAGES.note_failure(address, str(found), is_lost=is_lost)


def note_broker_connected() -> None:
    """Note that the broker replies to a new connection of this worker."""
    OUTAGES.note_connected(broker_address())


def filter_and_note(record: logging.LogRecord) -> bool:
    """Return False for a record that only repeats that Redis does not reply. Note the outage if it is the first."""
    is_own = record.name.startswith("vmpooler_tasks.")
    if record.name == OUTAGE_LOGGER or (is_own and record.levelno >= logging.CRITICAL):
        return True  # a dead letter that cannot be kept: the log is the last place that has it
    given, text = _arguments_of(record), record.getMessage()
    if text.startswith(_LOST_LINE) and any(isinstance(one, REFUSALS) for one in given):
        return False  # `tasks.broker.refusals` logs it, with key and reason
    error = next((one for one in given if isinstance(one, _CAUSES)), None)
    if text.startswith(_NEVER_WANTED) or (error is not None and text.startswith(_ACKNOWLEDGEMENTS)):
        return False
    if error is not None and not isinstance(error, StoreUnavailableError):  # a Database notes its own failures
        note_broker_failure(error)
    if text.startswith(_ATTEMPTS) and error is not None:
        return False  # also if the outage has ended meanwhile
    return not OUTAGES.is_lasting or not (error is not None or any(words in text for words in _CONSEQUENCES))


def _arguments_of(record: logging.LogRecord) -> list[Any]:
    """Return the arguments of the record, and its error."""
    given: list[Any] = list(record.args.values()) if isinstance(record.args, dict) else list(record.args or ())
    if record.exc_info:
        given.append(record.exc_info[1])
    return given


def filter_handlers(logger: logging.Logger, **_: Any) -> None:
    """Leave the consequences of an outage out of the log of a worker or beat. Receives `after_setup_logger`."""
    for handler in logger.handlers:
        handler.addFilter(filter_and_note)
    logging.getLogger("celery.worker.consumer.connection").addFilter(_is_first_connection)


def _is_first_connection(record: logging.LogRecord) -> bool:
    """Return False for Celery's line about a connection after the first: the end of an outage has its own."""
    is_later = OUTAGES.has_ended or OUTAGES.is_lasting or BROKER_REFUSALS.is_lasting(USE_QUEUES)
    return not (is_later and str(record.msg).startswith("Connected to"))


def announce_of_worker(**_: Any) -> None:
    """Log outages in a worker."""
    OUTAGES.announce(LOST)


def announce_of_beat(**_: Any) -> None:
    """Log outages in a beat."""
    OUTAGES.announce()


def silence_child(**_: Any) -> None:
    """Log no outages in a child of a worker: the worker does."""
    OUTAGES.silence()


def announce_of_flower() -> None:
    """Log outages in a Flower. Its log has no signals, and its handlers come later: the loggers get the filter."""
    follow_outages(Database(settings().broker_location))
    for name in _FLOWER_LOGGERS:
        logging.getLogger(name).addFilter(_filter_and_note_of_flower)


def _filter_and_note_of_flower(record: logging.LogRecord) -> bool:
    return _is_first_connection(record) and filter_and_note(record)
