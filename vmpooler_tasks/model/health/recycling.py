"""Ready VMs that are replaced although no user had them: because they are old, or because no user can use them."""

from dataclasses import dataclass

from vmpooler_tasks.model.pools.suspension import LastError

NOTE_SECONDS = 1800
"""How long it is noted that a VM was recycled."""

SHORT_TTL_SECONDS = 300
"""Expired VMs are noted only where `ready_ttl` is shorter: such a pool makes VMs more than it offers them."""

MIN_REPEATED = 3


@dataclass(frozen=True, slots=True)
class RecycledPool:
    """A pool whose VMs are recycled again and again: how many lately, more than `limit`, and why the last one was."""

    name: str
    count: int
    limit: int
    last_error: LastError | None


def repeated_limit(size: int) -> int:
    """Return how many VMs of a pool of this size may be recycled in NOTE_SECONDS: each once, and two in any case."""
    return max(MIN_REPEATED - 1, size)
