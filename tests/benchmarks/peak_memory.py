"""The maximum of memory that this process had since it was reset."""

import resource
from contextlib import suppress
from pathlib import Path


def peak_bytes() -> int:
    """Return the maximum.

    On Linux, getrusage counts the memory of the parent at the start of this process, too.
    """
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def reset_peak() -> None:
    """Forget the maximum, so that memory of before, such as that of imports, does not hide what follows."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
