"""Hashes of passwords in the configuration: argon2, so that whoever reads the file does not know the passwords.

What one check costs is bounded: the memory and time that a hash asks for, and how many checks run at once.
"""

import hashlib
import hmac
import importlib
import re
import secrets
import threading
from functools import cache
from typing import Any

HASH_START = "$argon2"

_HASH = re.compile(
    r"\$argon2(?:id|i|d)\$v=19\$m=(?P<kib>\d{1,9}),t=(?P<passes>\d{1,9}),p=\d{1,3}"
    r"\$[A-Za-z0-9+/]{11,100}\$[A-Za-z0-9+/]{16,200}"
)
_OTHER_HASH = re.compile(r"\$(?:2[abxy]?|1|5|6|7|y|gy|scrypt|apr1|pbkdf2[\w-]*)\$|\{(?:SSHA|SHA|MD5|CRYPT)[\w-]*\}")

MAX_MEMORY_KIB = 2**20
MAX_PASSES = 100

CHECKS_AT_ONCE = 2
"""One check takes some 64 MiB of memory. The others wait for their turn."""


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
    if int(found["kib"]) > MAX_MEMORY_KIB or int(found["passes"]) > MAX_PASSES:
        return f"must be an argon2 hash with at most {MAX_MEMORY_KIB} KiB of memory and {MAX_PASSES} passes"
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
        self._turns = threading.BoundedSemaphore(CHECKS_AT_ONCE)

    def is_right(self, hashed: str, given: str) -> bool:
        """Return whether `given` is the secret of this hash. A wrong one takes as long as the hash wants."""
        digest = hmac.digest(self._key, _as_bytes(given), hashlib.sha256)
        if hmac.compare_digest(self._right.get(hashed, b""), digest):
            return True
        with self._turns:
            is_right = _is_secret_of(hashed, given)
        if is_right:
            self._right[hashed] = digest
        return is_right


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
