"""Choose the ports of a local run. A port that is taken is reported with the process that listens on it."""

import re
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from vmpooler_tasks.errors import VmpoolerTasksError
from vmpooler_tasks.local.printing import print_or_stop

LOOPBACK = "127.0.0.1"
_PROCESSES = Path("/proc")
_LISTENING = "0A"
"""The state of a listening socket in /proc/net/tcp."""


class NoFreePortError(VmpoolerTasksError):
    """No port is free"""


def choose_port(wanted: int, user: str) -> int:
    """Return the wanted port, or a free one if it is taken. Print a line that names the taken port and its holder.

    `user` is the program that needs the port, for that line.
    """
    if _is_free(wanted):
        return wanted
    port = _free_port()
    print_or_stop(f"Port {wanted} is taken by {find_holder(wanted)}. {user} uses {port} instead.\n")
    return port


def find_holder(port: int) -> str:
    """Return the name and number of the process that listens on the port, as far as the system shows it."""
    sockets = {f"socket:[{inode}]" for inode in _inodes_listening_on(port)}
    for process in _PROCESSES.iterdir() if sockets else ():
        with suppress(OSError):  # it has ended, or belongs to another user
            if process.name.isdecimal() and any(str(file.readlink()) in sockets for file in (process / "fd").iterdir()):
                return f"{(process / 'comm').read_text().strip()} (process {process.name})"
    return "another program"


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def _free_port() -> int:
    with socket.socket() as probe:
        try:
            probe.bind((LOOPBACK, 0))
        except OSError as error:
            raise NoFreePortError(str(error.strerror)) from error
        return int(probe.getsockname()[1])


def _inodes_listening_on(port: int) -> Iterator[str]:
    for table in ("tcp", "tcp6"):
        with suppress(OSError):  # not Linux
            for line in (_PROCESSES / "net" / table).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == _LISTENING and re.fullmatch(rf"[0-9A-F]+:{port:04X}", fields[1]):
                    yield fields[9]
