"""The sessions of the web page: one hash for each, which expires by itself.

The keys contain a digest of the cookie, so that nobody who reads Redis can take over a session.
"""

import re
from dataclasses import dataclass

from vmpooler_tasks.errors import WrongTypeError
from vmpooler_tasks.store import fleet_keys
from vmpooler_tasks.store.redis.connection import Database


@dataclass(frozen=True, slots=True)
class Session:
    """A session. `proof` ends it when the password of the user changes. The page must send `csrf` with each change."""

    user: str
    proof: str
    csrf: str


_FORM = re.compile(r"[\w-]{32,128}", re.ASCII)
"""The form of `proof` and `csrf`."""


def start(db: Database, digest: str, session: Session, seconds: int, *, former: str | None = None) -> None:
    """Start a session, and end the `former` one of the same browser in the same step."""
    key = fleet_keys.session(digest)
    with db.translated_errors(key):
        pipe = db.client.pipeline(transaction=True)
        if former is not None:
            pipe.delete(fleet_keys.session(former))
        pipe.hset(key, mapping={"user": session.user, "proof": session.proof, "csrf": session.csrf})
        pipe.expire(key, seconds)
        pipe.execute()


def read(db: Database, digest: str) -> Session | None:
    """Return the session; None if there is none, or its key holds something that `start` does not write."""
    try:
        found = db.call("HMGET", fleet_keys.session(digest), "user", "proof", "csrf")
    except WrongTypeError:
        return None
    if None in found:
        return None
    session = Session(*(value.decode("utf-8", "replace") for value in found))
    return session if _FORM.fullmatch(session.proof) and _FORM.fullmatch(session.csrf) else None


def end(db: Database, digest: str) -> None:
    db.call("DEL", fleet_keys.session(digest))
