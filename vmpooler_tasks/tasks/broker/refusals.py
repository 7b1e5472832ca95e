"""What Redis refuses to the transport, in the log: when it starts, once a minute while it lasts, and when it ends."""

import logging

from vmpooler_tasks.model.names import on_one_line
from vmpooler_tasks.throttle import RepeatThrottle

_log = logging.getLogger("vmpooler_tasks.broker")

LOG_INTERVAL = 60.0


class RefusalLog:
    """The refusals that last, by what they keep the worker from."""

    def __init__(self) -> None:
        self._lasting: dict[str, RepeatThrottle] = {}

    def is_lasting(self, what: str) -> bool:
        """Return True while Redis refuses to do `what`."""
        return what in self._lasting

    def note(self, what: str, problem: str) -> None:
        """Log that Redis refuses to do `what`, with the key and the reason; '' if it does it."""
        if not problem:
            if self._lasting.pop(what, None):
                _log.info("[*] [broker] Redis does not refuse any more to %s", what)
            return
        if self._lasting.setdefault(what, RepeatThrottle(LOG_INTERVAL)).acquire(problem):
            _log.error("[!] [broker] Redis refuses to %s: %s", what, on_one_line(problem))


BROKER_REFUSALS = RefusalLog()
"""Of this process: a new connection continues it."""

USE_QUEUES, HAND_OVER, WAIT, RETURN_MESSAGES = (
    "let this worker use its queues",
    "hand over a message",
    "wake this worker for a message",
    "return the messages of lost workers",
)
