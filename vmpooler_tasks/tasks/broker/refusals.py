"""What Redis refuses to the transport, in the log: when it starts, once a minute while it lasts, and when it ends."""

import logging

from vmpooler_tasks.model.names import on_one_line
from vmpooler_tasks.throttle import Throttle

_log = logging.getLogger("vmpooler_tasks.broker")

LOG_INTERVAL = 60.0


class RefusalLog:
    """The refusals that last, by what they keep the worker from."""

    def __init__(self) -> None:
        self._lasting: dict[str, tuple[str, Throttle]] = {}

    def note(self, what: str, problem: str) -> None:
        """Log that Redis refuses to do `what`, with the key and the reason; '' if it does it."""
        before, throttle = self._lasting.get(what, ("", Throttle(LOG_INTERVAL)))
        if not problem:
            if self._lasting.pop(what, None):
                _log.info("[*] [broker] Redis does not refuse any more to %s", what)
            return
        if problem != before:
            throttle = Throttle(LOG_INTERVAL)
        self._lasting[what] = (problem, throttle)
        if throttle.acquire():
            _log.error("[!] [broker] Redis refuses to %s: %s", what, on_one_line(problem))


BROKER_REFUSALS = RefusalLog()
"""Of this process: a new connection continues it."""

HAND_OVER, WAIT, RETURN_MESSAGES = (
    "hand over a message",
    "wake this worker for a message",
    "return the messages of lost workers",
)
