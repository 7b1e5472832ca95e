"""Nothing is done for the pools while another manager has them. It is asked for now and then, not with every task."""

import logging

from vmpooler_tasks.store.pools import other_manager
from vmpooler_tasks.tasks.database import database
from vmpooler_tasks.throttle import Sparingly

_log = logging.getLogger("vmpooler_tasks.pools")

ASKED_EVERY = 5.0
TOLD_EVERY = 60.0


class Guard:
    """What this process knows of it."""

    def __init__(self) -> None:
        self._asking, self._telling = Sparingly(ASKED_EVERY), Sparingly(TOLD_EVERY)
        self._seen = False

    def refuses(self) -> bool:
        """Whether another one was seen at work lately."""
        if self._asking.is_time():
            self._keep(other_manager.sightings(database()) > 0)
        return self._seen

    def looks(self) -> bool:
        """The same after a look of its own, as one process has to take now and then."""
        self._keep(other_manager.look(database()))
        return self._seen

    def _keep(self, seen: bool) -> None:
        if seen and self._telling.is_time():
            _log.error(
                "[!] [pools] Another pool manager is at work on this Redis: nothing is done until it is still for"
                " %d seconds",
                other_manager.REMEMBERED_SECONDS,
            )
        self._seen = seen


guard = Guard()
