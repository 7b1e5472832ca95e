"""The note of each DNS record: written before the record is made, removed after the record is deleted."""

import json
from dataclasses import asdict, dataclass

from vmpooler_tasks.store import keys
from vmpooler_tasks.store.redis.connection import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class NotedRecord:
    """A record that exists, or may exist: the entry of `:dns_configs:` that made it, its full name and address."""

    plugin: str
    name: str
    address: str


def note(db: Database, vm: str, pool: str, record: NotedRecord, *, fence: int) -> bool:
    """Note the record of a VM that is cloned. Return False if another worker took the lease over."""
    return bool(db.run("dns/note", [keys.work(vm.encode()), keys.dns_records(pool)], [vm, fence, _text_of(record)]))


def forget(db: Database, vm: str, pool: str, *, fence: int) -> bool:
    """Remove the note of a record that is deleted. Return False if another worker took the lease over."""
    return bool(db.run("dns/forget", [keys.work(vm.encode()), keys.dns_records(pool)], [vm, fence]))


def forget_unchanged(db: Database, vm: str, pool: str, record: NotedRecord) -> bool:
    """Remove the note of a deleted record of a VM on which nobody works. Return False if it has another note now."""
    return bool(db.run("dns/forget_unchanged", [keys.dns_records(pool)], [vm, _text_of(record)]))


def _text_of(record: NotedRecord) -> str:
    return json.dumps(asdict(record))


def read(db: Database, vm: str, pool: str) -> NotedRecord | None:
    """Return the note of this VM's record; None without one, and for one that cannot be read. Raise WrongTypeError."""
    raw = db.call("HGET", keys.dns_records(pool), vm)
    try:
        found = json.loads(raw or b"null")
        texts = {field: found[field] for field in ("plugin", "name", "address")}
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return NotedRecord(**texts) if all(isinstance(text, str) for text in texts.values()) else None


def read_names(db: Database, pool: str) -> frozenset[bytes]:
    """Return the VMs of the pool that have a note. Raise WrongTypeError."""
    return frozenset(db.call("HKEYS", keys.dns_records(pool)))
