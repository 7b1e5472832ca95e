"""Hashes of passwords in the configuration: argon2, so that whoever reads the file does not know the passwords.

What one check costs is bounded: the memory and time that a hash asks for, how many checks run at once, and how many
wait for their turn.
"""

import hashlib
import hmac
import importlib
import re
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from vmpooler_tasks.errors import TooManyChecksError

HASH_START = "$argon2"

_HASH = re.compile(
    r"\$argon2(?:id|i|d)\$v=19\$m=(?P<kib>\d{1,9}),t=(?P<passes>\d{1,9}),p=(?P<lanes>\d{1,3})"
    r"\$[A-Za-z0-9+/]{11,100}\$[A-Za-z0-9+/]{16,200}"
)
_OTHER_HASH = re.compile(r"\$(?:2[abxy]?|1|5|6|7|y|gy|scrypt|apr1|pbkdf2[\w-]*)\$|\{(?:SSHA|SHA|MD5|CRYPT)[\w-]*\}")

MAX_MEMORY_KIB = 2**17
"""`deploy/` gives the web process 384 MiB, which must be enough for `CHECKS_AT_ONCE` checks and the process itself."""

MAX_PASSES = 10
MIN_KIB_PER_LANE = 8
"""RFC 9106, section 3.1. With less, the check of every password fails."""

CHECKS_AT_ONCE = 2
"""One check takes some 64 MiB of memory. The others wait for their turn."""

MAX_WAITING_PASSWORDS = 6
"""Each one that waits holds a thread of the web process, which all other requests need, too."""


def is_hash(secret: str) -> bool:
    """Return whether a configured secret is a hash."""
    return secret.startswith(HASH_START)


def hash_problem(secret: str) -> str | None:
    """Return what is wrong with a configured secret that is a hash, or starts like one. It never repeats the secret."""
    if _OTHER_HASH.match(secret):
        return "must be an argon2 hash, which `vmpooler-tasks config hash` prints, or the secret itself"
    if not is_hash(secret):
        return None
    found = _HASH.fullmatch(secret)
    if not found:
        return "must be a whole argon2 hash, as `vmpooler-tasks config hash` prints it; in a shell, in single quotes"
    kib, passes, lanes = int(found["kib"]), int(found["passes"]), int(found["lanes"])
    if kib > MAX_MEMORY_KIB or passes > MAX_PASSES:
        return f"must be an argon2 hash with at most {MAX_MEMORY_KIB} KiB of memory and {MAX_PASSES} passes"
    if lanes < 1 or passes < 1 or kib < MIN_KIB_PER_LANE * lanes:
        return f"must be an argon2 hash with at least one pass, one lane and {MIN_KIB_PER_LANE} KiB of memory per lane"
    return None


def hash_of(secret: str) -> str:
    """Return a new hash of the secret, with the defaults of argon2-cffi (RFC 9106, for little memory)."""
    hashed: str = _hasher().hash(_as_bytes(secret))
    return hashed


class HashChecker:
    """Compare given passwords with hashes. A right one is remembered: programs send it with every request.

    What is remembered is a digest with a key of this process. It never leaves the process.
    """

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)
        self._right: dict[str, bytes] = {}
        self._places = threading.BoundedSemaphore(CHECKS_AT_ONCE + MAX_WAITING_PASSWORDS)
        self._turns = threading.BoundedSemaphore(CHECKS_AT_ONCE)

    def is_right(self, hashed: str, given: str) -> bool:
        """Return whether `given` is the secret of this hash. A wrong one takes as long as the hash wants.

        Raise TooManyChecksError if too many others wait. A remembered secret never waits.
        """
        digest = self._digest(given)
        if hmac.compare_digest(self._right.get(hashed, b""), digest):
            return True
        with self._turn():
            is_right = _is_secret_of(hashed, given)
        if is_right:
            self._right[hashed] = digest
        return is_right

    def spend_time(self, hashed: str, given: str) -> None:
        """Take as long as `is_right` takes for a wrong secret, without using or changing what is remembered.

        Raise TooManyChecksError like `is_right`.
        """
        self._digest(given)
        with self._turn():
            _is_secret_of(hashed, given)

    def _digest(self, given: str) -> bytes:
        return hmac.digest(self._key, _as_bytes(given), hashlib.sha256)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Wait for the turn of a check. Raise TooManyChecksError instead if too many others wait."""
        if not self._places.acquire(blocking=False):
            raise TooManyChecksError
        try:
            with self._turns:
                yield
        finally:
            self._places.release()


def _is_secret_of(hashed: str, given: str) -> bool:
    errors: Any = importlib.import_module("argon2.exceptions")
    try:
        return bool(_hasher().verify(hashed, _as_bytes(given)))
    except errors.VerificationError:
        return False


@cache
def _hasher() -> Any:
    return importlib.import_module("argon2").PasswordHasher()  # slow to import, and most processes check no password


def _as_bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
