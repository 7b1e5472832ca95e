"""The sessions of the web page: one hash for each, which expires by itself.

The keys contain a digest of the cookie, so that nobody who reads Redis can take over a session.
"""

from dataclasses import dataclass

from vmpooler_tasks.store import keys
from vmpooler_tasks.store.redis.connection import Database


@dataclass(frozen=True, slots=True)
class Session:
    """A session. `proof` ends it when the password of the user changes. The page must send `csrf` with each change."""

    user: str
    proof: str
    csrf: str


def start(db: Database, digest: str, session: Session, seconds: int) -> None:
    key = keys.session(digest)
    with db.translated_errors(key):
        pipe = db.client.pipeline(transaction=True)
        pipe.hset(key, mapping={"user": session.user, "proof": session.proof, "csrf": session.csrf})
        pipe.expire(key, seconds)
        pipe.execute()


def read(db: Database, digest: str) -> Session | None:
    found = db.call("HMGET", keys.session(digest), "user", "proof", "csrf")
    if None in found:
        return None
    return Session(*(value.decode("utf-8", "replace") for value in found))


def end(db: Database, digest: str) -> None:
    db.call("DEL", keys.session(digest))
