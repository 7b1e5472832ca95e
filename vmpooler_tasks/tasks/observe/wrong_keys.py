"""Log keys of the wrong type, each at most once a minute, whichever process sees them."""

import logging
from contextlib import suppress

from vmpooler_tasks.errors import VmpoolerTasksError, WrongTypeError
from vmpooler_tasks.model.names import on_one_line, readable
from vmpooler_tasks.store import Database, keys
from vmpooler_tasks.store.key_types import OWN_KEYS_PREFIX, typed_keys
from vmpooler_tasks.store.redis.locks import take_turn
from vmpooler_tasks.store.redis.wrong_keys import find_wrong_keys, read_set_aside, set_aside
from vmpooler_tasks.tasks.process import database, settings

_log = logging.getLogger("vmpooler_tasks.redis")

LOG_SECONDS = 60

MAX_LINES = 10
"""Lines about keys that were set aside at the same time."""


def set_aside_wrong_keys(error: WrongTypeError) -> WrongTypeError | None:
    """Set aside our own keys of a wrong type. Return None if they were the cause of the error, and are gone.

    Otherwise return the error with VMPooler's keys that are the cause, and log these at most once a minute: a script's
    error names all keys that the script uses. Return it unchanged if no key with a known name is the cause.
    """
    expected = typed_keys((pool.name for pool in settings().pools), settings().providers)
    try:
        found = find_wrong_keys(database(), expected)
        set_aside(database(), found)
        log_set_aside_keys(database())
    except VmpoolerTasksError:
        return error
    if not found:
        return error
    foreign = [wrong for wrong in found if not wrong.is_own]
    if not foreign:
        return None
    what = on_one_line("; ".join(map(str, foreign)))
    if _claim_log_line():
        _log.error("[!] [redis] %s: all tasks that need it fail; rename or delete it", what)
    return WrongTypeError(what)


def log_set_aside_keys(db: Database) -> None:
    """Log the keys that were set aside within the last minute, unless another process has.

    Raises VmpoolerTasksError.
    """
    found = read_set_aside(db)[:MAX_LINES]
    now = db.clock() if found else 0.0
    for one in found:
        turn = b"__".join([keys.WRONG_KEY_LOG, one.key.removeprefix(OWN_KEYS_PREFIX)])
        if now - one.at < LOG_SECONDS and take_turn(db, turn, LOG_SECONDS):
            text = "[!] [redis] %s: renamed to %s; work goes on with a new key"
            _log.error(text, on_one_line(str(one)), on_one_line(readable(one.copy)))


def _claim_log_line() -> bool:
    """Return True for one caller a minute."""
    with suppress(VmpoolerTasksError):
        return take_turn(database(), keys.WRONG_KEY_LOG, LOG_SECONDS)
    return True
