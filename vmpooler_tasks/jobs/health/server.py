"""What a Redis must be for these workers, and what to do where it is not: for `doctor` and a worker's first lines."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from vmpooler_tasks.errors import StoreDeniedError, StoreUnavailableError, VmpoolerTasksError, WrongTypeError
from vmpooler_tasks.store.redis.server import ServerFacts

OLDEST_VERSION = (7, 0)
SKEW_SECONDS = 5
FULL = 0.9


@dataclass(frozen=True, slots=True)
class Finding:
    """`state` is ok, warn or fail; `remedy` says what to do."""

    state: str
    what: str
    found: str
    remedy: str = ""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def check_server(facts: ServerFacts) -> Iterator[Finding]:
    """A finding for each property that matters."""
    for check in (_version, _role, _eviction, _memory, _persistence, _clock):
        yield check(facts)


def remedy(error: VmpoolerTasksError, named_by: str) -> str:
    """What to do about an error of Redis; `named_by` says what its address comes from."""
    if isinstance(error, StoreDeniedError):
        return f"set the right user and password in {named_by}"
    if refused := refused_write(error):
        return refused[1]
    if "certificate" in str(error):
        return f"name its authority, or your own certificate, in {named_by}: ?ssl_ca_certs=/path&ssl_certfile=/path&…"
    if isinstance(error, StoreUnavailableError):
        return f"is it running there? {named_by} names it"
    if isinstance(error, WrongTypeError):
        return "see what wrote this key; delete or rename it if nobody needs it"
    return "Redis's own log may say more"


def refused_write(error: VmpoolerTasksError) -> tuple[str, str] | None:
    """(why Redis takes no writes, what to do), if that is what the error says."""
    return next((answer for words, answer in _REFUSALS.items() if words in str(error)), None)


_REFUSALS = {
    "maxmemory": ("Redis is out of memory", "free memory, or raise maxmemory"),
    "read only replica": ("this Redis is a replica and takes no writes", "connect to the primary"),
    "NOREPLICAS": ("Redis has too few replicas to take writes", "start its replicas, or lower min-replicas-to-write"),
    "MISCONF": ("Redis cannot save to its disk and takes no writes", "see Redis's own log, and the room on its disk"),
    "stop-writes-on-bgsave-error": (
        "Redis cannot save to its disk and takes no writes",
        "see Redis's own log, and the room on its disk",
    ),
    **dict.fromkeys(
        ("No permissions", "no permissions", "The user executing the script can't"),
        ("this user may not", "give this user all commands on these keys and channels (ACL SETUSER)"),
    ),
}


def _version(facts: ServerFacts) -> Finding:
    found = f"{facts.product} {'.'.join(map(str, facts.version))}"
    if facts.version < OLDEST_VERSION:
        return Finding("fail", "version", found, "Redis 7.0 or Valkey is the oldest that these scripts run on")
    return Finding("ok", "version", found)


def _role(facts: ServerFacts) -> Finding:
    if facts.role not in (None, "master"):
        return Finding("fail", "role", f"{facts.role}: it takes no writes", "connect to the primary")
    return Finding("ok", "role", facts.role or "unknown")


def _eviction(facts: ServerFacts) -> Finding:
    if facts.eviction_policy in (None, "noeviction"):
        return Finding("ok", "eviction", facts.eviction_policy or "unknown")
    return Finding(
        "warn",
        "eviction",
        f"{facts.eviction_policy}: Redis may throw away queues, dead letters and tasks",
        "set maxmemory-policy noeviction",
    )


def _memory(facts: ServerFacts) -> Finding:
    used, most = facts.used_memory or 0, facts.max_memory or 0
    found = f"{used / 2**20:.0f} MiB used" + (f" of {most / 2**20:.0f} MiB" if most else ", no limit set")
    if most and used > FULL * most:
        return Finding("warn", "memory", found, "raise maxmemory: when it is full, Redis refuses writes")
    return Finding("ok", "memory", found)


def _persistence(facts: ServerFacts) -> Finding:
    if facts.persistent is None:
        return Finding("ok", "persistence", "unknown: CONFIG may not be asked")
    if not facts.persistent:
        return Finding("warn", "persistence", "none: a restart of Redis loses everything", "set appendonly yes")
    return Finding("ok", "persistence", "on")


def _clock(facts: ServerFacts) -> Finding:
    skew = facts.clock_ahead_seconds
    if abs(skew) > SKEW_SECONDS:
        return Finding("warn", "clock", f"Redis is {skew:+.1f} s away from here", "run NTP on both machines")
    return Finding("ok", "clock", f"Redis is {skew:+.2f} s away from here")
