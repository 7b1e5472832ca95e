"""A key of the wrong type fails every task that needs it, several a second: the log names it once a minute."""

import logging
from contextlib import suppress

from vmpooler_tasks.errors import VmpoolerTasksError, WrongTypeError
from vmpooler_tasks.model.names import on_one_line
from vmpooler_tasks.store import keys
from vmpooler_tasks.store.key_types import find_wrong_keys, typed_keys
from vmpooler_tasks.store.redis.locks import take_turn
from vmpooler_tasks.tasks.process import database, settings

_log = logging.getLogger("vmpooler_tasks.redis")

LOG_SECONDS = 60


def name_wrong_keys(error: WrongTypeError) -> WrongTypeError:
    """Return the error with the keys that have the wrong type, and log them at most once a minute in all workers.

    A script's error names all keys that the script uses. Return it unchanged if no key with a known name is the cause.
    """
    expected = typed_keys((pool.name for pool in settings().pools), settings().providers)
    try:
        found = find_wrong_keys(database(), expected)
    except VmpoolerTasksError:
        return error
    if not found:
        return error
    what = on_one_line("; ".join(map(str, found)))
    if _claim_log_line():
        _log.error("[!] [redis] %s: all tasks that need it fail; rename or delete it", what)
    return WrongTypeError(what)


def _claim_log_line() -> bool:
    """Return True for one caller a minute."""
    with suppress(VmpoolerTasksError):
        return take_turn(database(), keys.WRONG_KEY_LOG, LOG_SECONDS)
    return True
