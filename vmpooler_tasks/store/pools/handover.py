"""The handover of a ready VM to its pool, or to the request that it was made for."""

from dataclasses import dataclass

from vmpooler_tasks.model.names import Queue
from vmpooler_tasks.model.pools.results import HandoverResult
from vmpooler_tasks.store import keys
from vmpooler_tasks.store.redis.connection import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class Handover:
    """What a script has to know of a pending VM that is ready.

    `stamp` is the current time as VMPooler writes it, `day` the local date. `waited` is the number of seconds since the
    clone started, as text; blank if unknown. `token_lifetime` is the VM's lifetime in hours if its request has a token;
    blank for none.
    """

    vm: str
    pool: str
    stamp: bytes
    day: str
    waited: str
    request_id: bytes | None
    pool_alias: bytes | None
    token_lifetime: str

    def keys(self) -> list[bytes]:
        """Return the KEYS of pools/make_ready.lua."""
        alias = (self.pool_alias or b"").decode(errors="surrogateescape")
        queues = (Queue.PENDING, Queue.READY, Queue.RUNNING, Queue.COMPLETED)
        return [
            *(keys.queue(queue, self.pool) for queue in queues),
            keys.vm(self.vm.encode()),
            keys.active(self.pool),
            keys.request(self.request_id or b""),
            keys.delivered(self.request_id or b"", alias, self.pool),
            keys.statistics("boot", self.day),
            keys.LAST_BOOT,
            keys.work(self.vm.encode()),
            keys.OWN_BOOTS,
        ]

    def words(self) -> list[str | bytes | int]:
        """Return the ARGV of pools/make_ready.lua."""
        before = b"%b:%b:" % (self.pool_alias or b"", self.pool.encode())
        return [
            *(self.vm, self.pool, self.stamp, self.waited, int(self.request_id is not None), self.token_lifetime),
            before,
        ]


def make_ready(db: Database, handover: Handover) -> HandoverResult:
    """Hand a pending VM over to its pool or its request."""
    return HandoverResult(db.run("pools/make_ready", handover.keys(), handover.words()).decode())
