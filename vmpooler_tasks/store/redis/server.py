"""Read the state and the settings of the server."""

import time
from dataclasses import dataclass

from vmpooler_tasks.errors import StoreRefusedError
from vmpooler_tasks.store.redis.connection import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerFacts:
    """The server. None means that it does not report a value, or that this user may not read it."""

    product: str
    version: tuple[int, ...]
    round_trip_seconds: float
    clock_ahead_seconds: float
    eviction_policy: str | None
    max_memory: int | None
    used_memory: int | None
    persistent: bool | None
    role: str | None


def facts(db: Database) -> ServerFacts:
    """Read everything. Raise StoreUnavailableError if the server does not reply."""
    started = time.time()
    db.call("PING")
    round_trip = time.time() - started
    clock = db.read_time() - time.time()
    info = _info(db)
    product, number = (
        ("Valkey", info["valkey_version"]) if "valkey_version" in info else ("Redis", info["redis_version"])
    )
    return ServerFacts(
        product=product,
        version=tuple(int(part) for part in str(number).split(".")),
        round_trip_seconds=round_trip,
        clock_ahead_seconds=clock,
        eviction_policy=info.get("maxmemory_policy"),
        max_memory=_number(info.get("maxmemory")),
        used_memory=_number(info.get("used_memory")),
        persistent=_persistent(db, info),
        role=info.get("role"),
    )


def _info(db: Database) -> dict[str, str]:
    with db.translated_errors():
        found: dict[str, str] = db.client.info()
        return found


def _persistent(db: Database, info: dict[str, str]) -> bool | None:
    if str(info.get("aof_enabled")) == "1":
        return True
    try:
        with db.translated_errors():
            return bool(db.client.config_get("save").get("save"))
    except StoreRefusedError:  # CONFIG is often forbidden
        return None


def _number(value: object) -> int | None:
    return None if value is None else int(str(value))
