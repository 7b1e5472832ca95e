"""Find the keys that have another type than they must have, and set aside those of this project.

Every script does the same for the keys that it uses, before it acts (lua/redis/type_guard.lua).
"""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import redis

from vmpooler_tasks.errors import StoreRefusedError, WrongTypeError
from vmpooler_tasks.model.names import readable
from vmpooler_tasks.store import keys
from vmpooler_tasks.store.key_types import OWN_KEYS_PREFIX, KeyType, own_key_type
from vmpooler_tasks.store.redis.chunks import chunks
from vmpooler_tasks.store.redis.connection import Database
from vmpooler_tasks.store.redis.numbers import finite

_NAMES = {**{str(one): f"a {one}" for one in KeyType}, str(KeyType.SORTED_SET): "a sorted set"}
"""Types by their name in Redis, as a text shows them."""

SCAN_PAGE = 1000
SCAN_SECONDS = 1.0
"""How long a search through all keys may take. A million keys take about half of it."""

MAX_TYPES_READ = 5000
"""Keys whose types one round trip reads."""


@dataclass(frozen=True, slots=True)
class WrongKey:
    """A key of another type than it must have."""

    key: bytes
    found: str
    expected: KeyType

    @property
    def is_own(self) -> bool:
        return self.key.startswith(OWN_KEYS_PREFIX)

    @property
    def mismatch(self) -> str:
        """Return what is wrong in words: `a string, not a sorted set`."""
        return f"{_NAMES.get(self.found, self.found)}, not {_NAMES[self.expected]}"

    def __str__(self) -> str:
        return f"{readable(self.key)} is {self.mismatch}"


@dataclass(frozen=True, slots=True)
class SetAsideKey(WrongKey):
    """One of our own keys that had another type, and was renamed to `copy` at `at` (epoch, by the server's clock)."""

    at: float

    @property
    def copy(self) -> bytes:
        return keys.SET_ASIDE_PREFIX + self.key.removeprefix(OWN_KEYS_PREFIX)


def find_wrong_keys(db: Database, expected: Mapping[bytes, KeyType]) -> list[WrongKey]:
    """Return the keys that exist with another type, in one round trip. Keys that may not be read are left out."""
    with db.translated_errors():
        pipe = db.client.pipeline(transaction=False)
        for key in expected:
            pipe.type(key)
        replies = pipe.execute(raise_on_error=False)
    found = []
    for (key, kind), reply in zip(expected.items(), replies, strict=True):
        if not isinstance(reply, redis.ResponseError) and (name := reply.decode()) not in ("none", kind):
            found.append(WrongKey(key, name, kind))
    return found


def find_own_wrong_keys(db: Database, seconds: float = SCAN_SECONDS) -> list[WrongKey]:
    """Return our own keys that have another type, also those whose names nobody knows beforehand.

    Search all keys with a cursor, for at most `seconds`. Return what was found until then, and nothing to a user who
    may not search.
    """
    found: dict[bytes, WrongKey] = {}
    with suppress(StoreRefusedError):
        for page in chunks(list(_scan_own_keys(db, seconds)), MAX_TYPES_READ):
            expected = {key: kind for key in page if (kind := own_key_type(key))}
            found |= {wrong.key: wrong for wrong in find_wrong_keys(db, expected)}
    return list(found.values())


def _scan_own_keys(db: Database, seconds: float) -> Iterator[bytes]:
    deadline = time.monotonic() + seconds
    for _, names in db.stream(lambda cursor: ("SCAN", cursor, "MATCH", OWN_KEYS_PREFIX + b"*", "COUNT", SCAN_PAGE)):
        yield from names
        if time.monotonic() > deadline:
            return


def set_aside(db: Database, wrong: Iterable[WrongKey]) -> None:
    """Rename those of the keys that are ours and still have another type; the work that needs them starts new ones.

    Where this user may not, they stay as they are, and a health reason names them.
    """
    with suppress(StoreRefusedError):
        for page in chunks([one.key for one in wrong if one.is_own], SCAN_PAGE):
            db.run("redis/set_aside", page, [])


def read_set_aside(db: Database) -> Sequence[SetAsideKey]:
    """Return the keys that were set aside within a day, the newest first; none if their record cannot be read."""
    found, records = list[SetAsideKey](), dict[bytes, bytes]()
    with suppress(WrongTypeError, StoreRefusedError):  # this user may not rename it, or not read it
        records = db.call("HGETALL", keys.SET_ASIDE)
    for key, record in records.items():
        at, _, name = record.decode(errors="replace").partition(" ")
        epoch, expected = finite(at), own_key_type(key)
        if epoch is not None and expected:
            found.append(SetAsideKey(key, name, expected, epoch))
    return sorted(found, key=lambda one: -one.at)
