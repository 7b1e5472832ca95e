"""Nothing is done for the pools while another manager has them. It is asked for now and then, not with every task."""

import logging
import time

from vmpooler_tasks.store import other_manager
from vmpooler_tasks.tasks.database import database

_log = logging.getLogger("vmpooler_tasks.pools")

ASKED_EVERY = 5.0
TOLD_EVERY = 60.0


class Guard:
    """What this process knows of it."""

    def __init__(self) -> None:
        self._asked = self._told = float("-inf")
        self._seen = False

    def refuses(self) -> bool:
        """Whether another one was seen at work lately."""
        if time.monotonic() - self._asked >= ASKED_EVERY:
            self._keep(other_manager.sightings(database()) > 0)
        return self._seen

    def looks(self) -> bool:
        """The same after a look of its own, as one process has to take now and then."""
        self._keep(other_manager.look(database()))
        return self._seen

    def _keep(self, seen: bool) -> None:
        now = self._asked = time.monotonic()
        if seen and now - self._told >= TOLD_EVERY:
            self._told = now
            _log.error(
                "[!] [pools] Another pool manager is at work on this Redis: nothing is done until it is still for"
                " %d seconds", other_manager.REMEMBERED_SECONDS,
            )  # fmt: skip
        self._seen = seen


guard = Guard()
