"""A VM that is ready goes to its pool, or to the request that it was made for."""

from dataclasses import dataclass
from enum import StrEnum

from vmpooler_tasks.model.names import Queue
from vmpooler_tasks.store import keys
from vmpooler_tasks.store.redis.connection import Database


class Handover(StrEnum):
    """Where a VM that is ready went. `UNWANTED`: nobody waits for its request any more. `GONE`: it was not pending."""

    READY = "ready"
    DELIVERED = "delivered"
    UNWANTED = "unwanted"
    GONE = "gone"


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """What is to be known of a VM that is ready: `stamp` is now as VMPooler writes it, `day` its day.

    `waited` is how many seconds ago its clone began, as text; `token_lifetime` its lifetime if its request has a token.
    """

    stamp: bytes
    day: str
    waited: str
    request_id: bytes | None
    pool_alias: bytes | None
    token_lifetime: str

    def keys(self, vm: bytes, pool: str) -> list[bytes]:
        """Those of pools/make_ready.lua."""
        alias = (self.pool_alias or b"").decode(errors="surrogateescape")
        queues = (Queue.PENDING, Queue.READY, Queue.RUNNING, Queue.COMPLETED)
        return [
            *(keys.queue(queue, pool) for queue in queues),
            keys.vm(vm),
            keys.active(pool),
            keys.request(self.request_id or b""),
            keys.delivered(self.request_id or b"", alias, pool),
            keys.statistics("boot", self.day),
            keys.LAST_BOOT,
            keys.work(vm),
        ]

    def words(self, vm: str, pool: str) -> list[str | bytes | int]:
        return [vm, pool, self.stamp, self.waited, int(self.request_id is not None), self.token_lifetime]


def make_ready(db: Database, vm: str, pool: str, arrival: Arrival) -> Handover:
    """Hands a pending VM that is ready on to whom it was made for."""
    outcome = db.run("pools/make_ready", arrival.keys(vm.encode(), pool), arrival.words(vm, pool))
    return Handover(outcome.decode())
