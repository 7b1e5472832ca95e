"""A sign of life from the main loop of a worker or a beat, which whoever watches over it can see without Redis.

Celery's own ping goes through Redis: with Redis down it would have every worker killed in mid-clone, for nothing.
"""

import logging
import os
import socket
from pathlib import Path

FILE_VARIABLE = "VMPOOLER_PULSE_FILE"
"""Names the file to touch, for a container's probe."""

SECONDS = 5.0

_log = logging.getLogger("vmpooler_tasks.pulse")


def pulse() -> None:
    """The loop turns. A sign that cannot be given is no reason to end: it is missed, and that is what it is for."""
    try:
        if file := os.environ.get(FILE_VARIABLE):
            Path(file).touch()
        if address := os.environ.get("NOTIFY_SOCKET"):  # systemd's, of a unit with Type=notify
            _tell_systemd(address)
    except OSError as error:
        _log.debug("no sign of life: %s", error)


def _tell_systemd(address: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        line.setblocking(False)
        line.sendto(b"READY=1\nWATCHDOG=1", "\0" + address[1:] if address.startswith("@") else address)
