"""Names the channels that Redis refuses to this user. They carry events and remote control: no task needs them."""

import logging
from collections.abc import Iterable

from vmpooler_tasks.model.names import on_one_line
from vmpooler_tasks.throttle import Throttle

_log = logging.getLogger("vmpooler_tasks.broker")

LOG_INTERVAL = 60.0

_throttles: dict[tuple[str, str], Throttle] = {}


def log_refused(verb: str, channels: Iterable[str]) -> None:
    """Log that this user may not `verb` (publish or subscribe to) these channels: once a minute for each purpose."""
    names = list(channels)
    purpose = "remote control" if any("pidbox" in name for name in names) else "the display of events"
    if _throttles.setdefault((verb, purpose), Throttle(LOG_INTERVAL)).acquire():
        _log.error(
            "[!] [broker] Redis does not let this user %s the channel %s. Tasks run, but %s does not work. "
            "Grant it as deploy/redis/users.acl does, then restart this process",
            verb,
            on_one_line(", ".join(names)),
            purpose,
        )
