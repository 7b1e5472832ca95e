"""A VMPooler database that a test builds, and settings for it."""

from dataclasses import dataclass, field
from typing import Any

from vmpooler_tasks.config import HealthThresholds, Options, Pool, RedisSection, Settings
from vmpooler_tasks.model.names import Queue
from vmpooler_tasks.model.staleness import TIMESTAMP_FIELD
from vmpooler_tasks.model.timestamps import moment, ruby_utc
from vmpooler_tasks.store import Database, keys

NOW = 1_705_314_600.0
"""2024-01-15T10:30:00Z"""

POOL = "centos-7-x86_64"


def settings(
    *, pools: tuple[str, ...] = (POOL,), data_ttl: float = 168, thresholds: Any = None, **options: Any
) -> Settings:
    """Return settings with every feature on, and these options of `:config:`."""
    switched_on = {"dlq_enabled": True, "purge_enabled": True, "health_check_enabled": True}
    limits = {"health_thresholds": HealthThresholds(**thresholds)} if thresholds else {}
    return Settings(
        config=Options(**{**switched_on, **options, **limits}),
        redis=RedisSection(data_ttl=data_ttl),
        pools=tuple(Pool(name=name) for name in pools),
    )


@dataclass
class World:
    """`now` is the tests' clock, in seconds since the epoch; tests move it."""

    db: Database
    now: float = NOW
    vms: list[bytes] = field(default_factory=list)

    @property
    def client(self) -> Any:
        return self.db.client

    def clock(self) -> float:
        return self.now

    def stamp(self, age: float) -> str:
        """Return the time `age` seconds ago as Ruby writes it."""
        return ruby_utc(moment(self.now - age)).decode()

    def vm(self, queue: Queue | None, name: str | bytes, age: float | None, pool: str = POOL, **metadata: Any) -> bytes:
        """Add a VM of this age (seconds) to this queue (None: to no queue), with metadata unless `age` is None."""
        raw = name if isinstance(name, bytes) else name.encode()
        if queue is not None:
            self.client.sadd(keys.queue(queue, pool), raw)
        if age is not None:
            field_name = TIMESTAMP_FIELD.get(queue, b"clone") if queue else b"clone"
            stamps = {"clone": self.stamp(age), field_name.decode(): self.stamp(age)}
            self.client.hset(keys.vm(raw), mapping={"pool": pool, "template": pool, **stamps, **metadata})
        self.vms.append(raw)
        return raw

    def members(self, queue: Queue, pool: str = POOL) -> set[bytes]:
        return set(self.client.smembers(keys.queue(queue, pool)))

    def snapshot(self) -> dict[bytes, bytes]:
        """Return the serialised value of every key, to check that nothing changed."""
        return {key: self.client.dump(key) for key in sorted(self.client.keys())}

    def snapshot_of_vmpooler(self) -> dict[bytes, bytes]:
        """Return `snapshot` without our own keys."""
        return {key: value for key, value in self.snapshot().items() if not key.startswith(b"vmpooler_tasks__")}
