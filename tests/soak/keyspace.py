"""The families of keys, and which of them may grow under a steady load."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from tests.support.documented_keys import OURS, documented_keys
from tests.support.vmpooler_keys import VMPOOLER_KEYS
from vmpooler_tasks.store import Database
from vmpooler_tasks.store.broker_keys import CELERY_KEYS


class Fate(Enum):
    """Why a family may grow, or that it may not."""

    BOUNDED = "does not grow under a steady load"
    RECORD = "one for each thing made: the books compare them"
    TIMED = "kept for a time that is longer than a short soak, then it expires"
    HYPERVISOR = "the state of the dummy provider, which stands for a hypervisor"


GROWING: Mapping[str, Fate] = {
    "vmpooler__vm__VM": Fate.RECORD,
    "vmpooler__odrequest__REQUEST": Fate.RECORD,
    "vmpooler__boot__DAY": Fate.RECORD,
    "vmpooler__clone__DAY": Fate.RECORD,
    "vmpooler__dlq__QUEUE": Fate.RECORD,
    "vmpooler_tasks__requested_at": Fate.RECORD,
    "vmpooler_tasks__dead_letter_ids": Fate.RECORD,
    "vmpooler_tasks__health_history": Fate.RECORD,
    "vmpooler_tasks__audit": Fate.RECORD,
    "vmpooler_tasks__redrives": Fate.RECORD,
    "vmpooler_tasks__redrive__RUN": Fate.RECORD,
    "vmpooler_tasks__redrive__RUN__dead_letters": Fate.RECORD,
    "vmpooler_tasks__recycled__POOL": Fate.TIMED,
    "vmpooler_tasks__counters__failures__STEP": Fate.TIMED,
    "vmpooler_tasks__dummy": Fate.HYPERVISOR,
}
"""Family → fate. Every other family is bounded."""

BOUND_FLOOR, BOUND_SHARE = 60.0, 0.5
"""Elements by which a bounded family may grow in the second half: its queues and leases go up and down."""

WORDS = re.compile(r"[A-Z][A-Z_]*")
OTHER_FAMILIES = ("vmpooler_tasks__dummy",)


@dataclass(frozen=True)
class _Family:
    name: str
    pattern: re.Pattern[str]


def _families() -> Sequence[_Family]:
    """Return the documented families, those with the most fixed text first: they decide where two of them match."""
    documented = [key.name for key in VMPOOLER_KEYS]
    documented += [key.name for key in documented_keys() if key.name.startswith(OURS)]
    families = [_Family(name, re.compile(WORDS.sub(".+", re.escape(name)) + "$", re.DOTALL)) for name in documented]
    families += [_Family(name, re.compile(re.escape(name), re.DOTALL)) for name in OTHER_FAMILIES]
    families += [_Family(name, re.compile(re.escape(name).replace(r"\*", ".*") + "$")) for name in CELERY_KEYS]
    return sorted(families, key=lambda family: -len(WORDS.sub("", family.name)))


FAMILIES = _families()

SIZE_COMMANDS = {b"hash": "HLEN", b"set": "SCARD", b"zset": "ZCARD", b"list": "LLEN", b"stream": "XLEN"}


def family_of(key: str) -> str | None:
    """Return the family of a key; None for a key that no document names."""
    return next((family.name for family in FAMILIES if family.pattern.match(key)), None)


def fate_of(family: str) -> Fate:
    return GROWING.get(family, Fate.BOUNDED)


def count_elements(db: Database) -> Counter[str]:
    """Return how many elements each family holds: members, fields, entries; a string is one.

    A family with a key for each VM or request counts its keys: the metadata of a VM has a fixed set of fields. A key
    without a family counts under its own name.
    """
    found: Counter[str] = Counter()
    keys: list[tuple[bytes, str]] = []
    for key in db.client.scan_iter(count=1000):
        name = key.decode(errors="replace")
        family = family_of(name) or f"unknown: {name}"
        found[family] += 1
        if fate_of(family) is Fate.BOUNDED:
            keys.append((key, family))
    for (_, family), size in zip(keys, _sizes(db, [key for key, _ in keys]), strict=True):
        found[family] += max(0, size - 1)
    return found


def _sizes(db: Database, keys: Sequence[bytes]) -> list[int]:
    """Return the number of elements of each key; 0 for a key that is gone, 1 for a string."""
    pipe = db.client.pipeline(transaction=False)
    for key in keys:
        pipe.type(key)
    kinds = pipe.execute()
    for key, kind in zip(keys, kinds, strict=True):
        if kind in SIZE_COMMANDS:
            pipe.execute_command(SIZE_COMMANDS[kind], key)
    sizes = iter(pipe.execute(raise_on_error=False))
    return [
        (size if isinstance(size := next(sizes), int) else 0) if kind in SIZE_COMMANDS else int(kind == b"string")
        for kind in kinds
    ]
