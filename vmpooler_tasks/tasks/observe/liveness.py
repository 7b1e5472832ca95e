"""Show that the main loop of a worker or a beat turns, to whoever watches the process without Redis.

Celery's own ping goes through Redis. With Redis down it would have every worker killed in the middle of a clone.
"""

import logging
import os
import socket
from pathlib import Path

FILE_VARIABLE = "VMPOOLER_PULSE_FILE"
"""Names the file to touch, for a container's probe."""

INTERVAL_SECONDS = 5.0

_log = logging.getLogger("vmpooler_tasks.liveness")


def signal_alive() -> None:
    """Touch the file and notify systemd, where they are configured. A failure is only logged: the watcher sees it."""
    try:
        if file := os.environ.get(FILE_VARIABLE):
            Path(file).touch()
        if address := os.environ.get("NOTIFY_SOCKET"):  # systemd's, of a unit with Type=notify
            _notify_systemd(address)
    except OSError as error:
        _log.debug("could not signal that this process is alive: %s", error)


def _notify_systemd(address: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        line.setblocking(False)
        line.sendto(b"READY=1\nWATCHDOG=1", "\0" + address[1:] if address.startswith("@") else address)
