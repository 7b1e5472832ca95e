"""The VMs that were delivered to on-demand requests: the replacement of one that is gone."""

from dataclasses import dataclass

from vmpooler_tasks.store import keys
from vmpooler_tasks.store.redis.connection import Database
from vmpooler_tasks.store.vmpooler import queues


@dataclass(frozen=True, slots=True)
class Replacement:
    """The request that a VM was made for, and the alias. An empty `request_id` means that the VM has no request."""

    pool: str
    request_id: bytes = b""
    alias: str = ""

    def keys(self) -> list[bytes]:
        """Return the keys of the request, of its delivered VMs, and of the queued items."""
        delivered = keys.delivered(self.request_id, self.alias, self.pool)
        return [keys.request(self.request_id), delivered, keys.PENDING_ONDEMAND_CLONES]

    def words(self) -> list[bytes]:
        """Return the text of the item before and behind its count; two blanks for a VM without a request."""
        if not self.request_id:
            return [b"", b""]
        return [f"{self.alias}:{self.pool}:".encode(), b":" + self.request_id]


def read_replacement(db: Database, vm: bytes, pool: str) -> Replacement:
    """Return what replaces this VM, if it was delivered to a request. Metadata of the wrong type names no request."""
    ((request_id, alias),) = queues.read_fields(db, [keys.vm(vm)], b"request_id", b"pool_alias")
    try:
        return Replacement(pool, request_id or b"", (alias or b"").decode())
    except UnicodeDecodeError:  # no request has such an alias
        return Replacement(pool)
