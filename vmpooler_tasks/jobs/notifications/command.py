"""Run the command of a target: an argument list without a shell, the notification on its standard input."""

import os
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress

from vmpooler_tasks.errors import DeliveryError
from vmpooler_tasks.model.health.explanation import error_line

COMMAND_SECONDS = 30.0

MAX_STDERR_BYTES = 2000

INHERITED = frozenset({"HOME", "LANG", "LC_ALL", "LC_CTYPE", "LOGNAME", "PATH", "TMPDIR", "TZ", "USER"})
"""The variables that a command gets. All others may hold secrets, as REDIS_URL does."""


def run_command(command: Sequence[str], body: bytes, environ: Mapping[str, str] = os.environ) -> None:
    """Run the command and wait for its end. Raise DeliveryError unless its exit status is 0."""
    inherited = {name: value for name, value in environ.items() if name in INHERITED}
    with tempfile.TemporaryFile() as stderr:
        try:
            process = subprocess.Popen(  # noqa: S603 - a list from the configuration, without a shell
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                env=inherited,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            raise DeliveryError(f"the command could not be started: {_why(error)}") from None
        _wait(process, body)
        if process.returncode:
            stderr.seek(0)
            raise DeliveryError(_failure(process.returncode, stderr.read(MAX_STDERR_BYTES)))


def _wait(process: "subprocess.Popen[bytes]", body: bytes) -> None:
    try:
        process.communicate(body, timeout=COMMAND_SECONDS)
    except subprocess.TimeoutExpired:
        with suppress(OSError):  # its children, too
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise DeliveryError(f"the command did not end within {COMMAND_SECONDS:.0f} s and was killed") from None


def _failure(status: int, stderr: bytes) -> str:
    ended = f"was ended by signal {-status}" if status < 0 else f"ended with status {status}"
    words = error_line(stderr.decode(errors="replace").strip())
    return f"the command {ended}" + (f": {words}" if words else "")


def _why(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or type(error).__name__
