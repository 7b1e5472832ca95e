"""What a Redis must be for these workers, and what to do where it is not: for `doctor` and a worker's first lines."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from vmpooler_tasks.store.server import ServerFacts

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
        "warn", "eviction", f"{facts.eviction_policy}: Redis may throw away queues, dead letters and tasks",
        "set maxmemory-policy noeviction",
    )  # fmt: skip


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
