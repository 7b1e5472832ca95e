"""What in Redis still mentions VMs whose life is over."""

from collections.abc import Collection, Iterator
from typing import Any

STATISTICS = (b"vmpooler__boot__", b"vmpooler__clone__", b"vmpooler__tag__")
"""Prefixes of VMPooler's statistics by day, which stay."""

RECORDS = (b"vmpooler__dlq__", b"vmpooler_tasks__audit", b"vmpooler_tasks__failures", b"vmpooler_tasks__health_history")
"""Prefixes of keys that tell afterwards what happened, each bounded by its own age or size."""


def leftovers(client: Any, vms: Collection[str], *, kept: Collection[bytes] = (*STATISTICS, *RECORDS)) -> list[str]:
    """Return `KEY: MEMBER` for all that mentions a VM and never expires. Keys with a prefix in `kept` may do so."""
    found = []
    names = {vm.encode() for vm in vms}
    for key in sorted(client.scan_iter(count=1000)):
        if key.startswith(tuple(kept)) or client.ttl(key) > 0:
            continue
        parts = [key, *_members(client, key)]
        found += [f"{key!r}: {part[:200]!r}" for part in parts if any(name in part for name in names)]
    return found


def _members(client: Any, key: bytes) -> Iterator[bytes]:
    match client.type(key).decode():
        case "string":
            yield client.get(key) or b""
        case "set":
            yield from client.smembers(key)
        case "zset":
            yield from client.zrange(key, 0, -1)
        case "list":
            yield from client.lrange(key, 0, -1)
        case "hash":
            for name, value in client.hgetall(key).items():
                yield name + b" = " + value
        case "stream":
            for _, fields in client.xrange(key):
                yield repr(fields).encode()
