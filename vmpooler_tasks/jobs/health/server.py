"""What these workers need from a Redis, and how to fix it: for `doctor` and the first lines of a worker's log."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from vmpooler_tasks.errors import (
    SentinelsDeniedError,
    StoreDeniedError,
    StoreUnavailableError,
    VmpoolerTasksError,
    WrongTypeError,
)
from vmpooler_tasks.store.redis.server import ServerFacts

MIN_VERSION = (7, 0)
MAX_SERVER_SKEW_SECONDS = 5
NEARLY_FULL = 0.9


class FindingState(StrEnum):
    """How serious a finding is: `doctor` exits with 1 if one failed."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


OK, WARN, FAIL = FindingState.OK, FindingState.WARN, FindingState.FAIL


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check: what was checked, what was found, and what to do."""

    state: FindingState
    what: str
    found: str
    remedy: str = ""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def check_server(facts: ServerFacts) -> Iterator[Finding]:
    """Return a finding for each property of the server that matters."""
    for check in (_version, _role, _eviction, _memory, _persistence, _clock):
        yield check(facts)


def remedy(error: VmpoolerTasksError, named_by: str) -> str:
    """Return what to do about an error of Redis; `named_by` is where its address is configured."""
    if isinstance(error, SentinelsDeniedError):
        return f"set sentinel_username and sentinel_password in {named_by}: sentinel://…/0?master=…&sentinel_password=…"
    for words, what in _SENTINELS.items():
        if words in str(error):
            return what.format(named_by)
    if isinstance(error, StoreDeniedError):
        return f"set the right user and password in {named_by}"
    if refused := refused_write(error):
        return refused[1]
    if "certificate" in str(error):
        return f"add the CA or your own certificate to {named_by}: ?ssl_ca_certs=/path&ssl_certfile=/path&…"
    if isinstance(error, StoreUnavailableError):
        return f"check that it is running there; the address is from {named_by}"
    if isinstance(error, WrongTypeError):
        return "check what wrote this key; delete or rename it if nobody needs it"
    return "see Redis's own log"


_SENTINELS = {
    "know no master of this name": "set the right name in {}: sentinel://…/0?master=NAME",
    "none of its Sentinels replies": "check that the Sentinels are running there; their addresses are from {}",
    "its Sentinels report that": "start the master, or wait for the Sentinels to name another one",
    "denies access, its Sentinels do not": "set the master's user and password in {}: sentinel://user:password@…",
}
"""Words of an error of `redis_client` → what to do."""


def refused_write(error: VmpoolerTasksError) -> tuple[str, str] | None:
    """Return (why Redis refuses writes, what to do) if the error says so, else None."""
    return next((texts for words, texts in _REFUSALS.items() if words in str(error)), None)


_REFUSALS = {
    "maxmemory": ("Redis is out of memory", "free memory, or raise maxmemory"),
    "read only replica": ("this Redis is a replica and refuses writes", "connect to the primary"),
    "NOREPLICAS": ("Redis has too few replicas to accept writes", "start its replicas, or lower min-replicas-to-write"),
    "MISCONF": (
        "Redis cannot save to its disk and refuses writes",
        "see Redis's own log, and check the free space on its disk",
    ),
    "stop-writes-on-bgsave-error": (
        "Redis cannot save to its disk and refuses writes",
        "see Redis's own log, and check the free space on its disk",
    ),
    **dict.fromkeys(
        ("No permissions", "no permissions", "The user executing the script can't"),
        (
            "this user does not have the permission",
            "give this user all commands on these keys and channels (ACL SETUSER)",
        ),
    ),
}


def _version(facts: ServerFacts) -> Finding:
    found = f"{facts.product} {'.'.join(map(str, facts.version))}"
    if facts.version < MIN_VERSION:
        return Finding(FAIL, "version", found, "upgrade: these scripts need Redis 7.0 or Valkey")
    return Finding(OK, "version", found)


def _role(facts: ServerFacts) -> Finding:
    if facts.role not in (None, "master"):
        return Finding(FAIL, "role", f"{facts.role}: it refuses writes", "connect to the primary")
    return Finding(OK, "role", facts.role or "unknown")


def _eviction(facts: ServerFacts) -> Finding:
    if facts.eviction_policy in (None, "noeviction"):
        return Finding(OK, "eviction", facts.eviction_policy or "unknown")
    return Finding(
        WARN,
        "eviction",
        f"{facts.eviction_policy}: Redis may delete queues, dead letters and tasks",
        "set maxmemory-policy noeviction",
    )


def _memory(facts: ServerFacts) -> Finding:
    used, maximum = facts.used_memory or 0, facts.max_memory or 0
    found = f"{used / 2**20:.0f} MiB used" + (f" of {maximum / 2**20:.0f} MiB" if maximum else ", no limit set")
    if maximum and used > NEARLY_FULL * maximum:
        return Finding(WARN, "memory", found, "raise maxmemory: a full Redis refuses writes")
    return Finding(OK, "memory", found)


def _persistence(facts: ServerFacts) -> Finding:
    if facts.persistent is None:
        return Finding(OK, "persistence", "unknown: this user may not run CONFIG")
    if not facts.persistent:
        return Finding(WARN, "persistence", "none: a restart of Redis loses everything", "set appendonly yes")
    return Finding(OK, "persistence", "on")


def _clock(facts: ServerFacts) -> Finding:
    skew = facts.clock_ahead_seconds
    if abs(skew) > MAX_SERVER_SKEW_SECONDS:
        return Finding(WARN, "clock", f"Redis is {skew:+.1f} s away from here", "run NTP on both machines")
    return Finding(OK, "clock", f"Redis is {round(skew, 2) + 0.0:+.2f} s away from here")  # + 0.0: never -0.00
