"""Identify the user or program of a request, and its role.

A request identifies itself by the cookie of a session (the page), by HTTP Basic, or by a bearer token (programs). If no
credentials are configured, which is possible only on loopback, everybody may do everything.
"""

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus

from fastapi import HTTPException, Request

from vmpooler_tasks.config import Settings
from vmpooler_tasks.config.password_hashes import HashChecker, is_hash
from vmpooler_tasks.config.services import Credential, Role
from vmpooler_tasks.errors import TooManyChecksError
from vmpooler_tasks.store import Database
from vmpooler_tasks.store.fleet import sessions
from vmpooler_tasks.store.fleet.sessions import Session
from vmpooler_tasks.web.login_throttle import LoginThrottle

SESSION_SECONDS = 12 * 3600
FAILURES_A_MINUTE = 10
"""Wrong logins of one user from one address."""

COOKIE = "vmpooler_tasks_session"
CSRF_HEADER = "X-CSRF-Token"
WRONG = "wrong user, password or token"
CHALLENGE = {"WWW-Authenticate": 'Bearer realm="vmpooler-tasks"'}
"""Basic is not named: a browser would open its own login window, and send the password with every request."""

BUSY = "too many passwords are checked at once; wait 1 s"


class Via(StrEnum):
    """How a request identified itself."""

    SESSION = "session"
    BASIC = "basic"
    TOKEN = "token"  # noqa: S105 - a name, not a secret
    NO_LOGIN = "local"


@dataclass(frozen=True, slots=True)
class Identity:
    """A user or program. `csrf` is the token that changes must send; None where a browser sends no credentials."""

    name: str
    role: Role
    via: Via
    csrf: str | None = None


class Authenticator:
    """Check credentials and sessions, and limit wrong logins."""

    def __init__(self, settings: Settings, db: Database) -> None:
        self._users, self._tokens, self._db = settings.web.users, settings.web.tokens, db
        self._hashes = HashChecker()
        self._throttle = LoginThrottle(db, {user.name for user in self._users}, FAILURES_A_MINUTE)
        self._local = Identity("local", Role.OPERATE, Via.NO_LOGIN, secrets.token_urlsafe(32))

    @property
    def is_open(self) -> bool:
        """Return whether no credentials are configured."""
        return not (self._users or self._tokens)

    def identify(self, request: Request) -> Identity | None:
        """Return the identity; None without credentials. Raise HTTPException 401 for wrong ones, 429 after too many."""
        if self.is_open:
            return self._local
        if header := request.headers.get("authorization"):
            return self._identify_by_header(request, header)
        return self._identify_by_session(request.cookies.get(cookie_name(request)))

    def log_in(self, request: Request, user: str, password: str) -> tuple[str, Identity]:
        """Start a session and return (value of the cookie, identity). Raise HTTPException like `identify`.

        It ends the session that the browser had before, whoever logged in there.
        """
        found = self._authenticate_user(request, user, password)
        token, csrf = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
        session = Session(found.name, _proof(token, found), csrf)
        former = request.cookies.get(cookie_name(request))
        sessions.start(self._db, _digest(token), session, SESSION_SECONDS, former=former and _digest(former))
        self._throttle.remember(self._throttle.attempt(_address(request), found.name))
        return token, Identity(found.name, found.role, Via.SESSION, csrf)

    def log_out(self, request: Request) -> None:
        """End the session of the request, if it has one."""
        if token := request.cookies.get(cookie_name(request)):
            sessions.end(self._db, _digest(token))

    def _identify_by_header(self, request: Request, header: str) -> Identity:
        scheme, _, value = header.partition(" ")
        if scheme.lower() == "bearer":
            found = self._authenticate_token(request, value.strip())
            return Identity(found.name, found.role, Via.TOKEN)
        user, password = _parse_basic(value) if scheme.lower() == "basic" else ("", "")
        found = self._authenticate_user(request, user, password)
        return Identity(found.name, found.role, Via.BASIC)

    def _authenticate_token(self, request: Request, token: str) -> Credential:
        """Return the credential of the token. A right one is never refused: nobody guesses it."""
        found = _find(self._tokens, token)
        if found is None:
            self._throttle.count_wrong_token(_address(request))
            raise HTTPException(HTTPStatus.UNAUTHORIZED, WRONG, CHALLENGE)
        return found

    def _authenticate_user(self, request: Request, user: str, password: str) -> Credential:
        """Return the credential of the user. Count a failure, and raise HTTPException 401 or 429.

        A password that is not checked, because too many others are, counts as no failure.
        """
        attempt = self._throttle.attempt(_address(request), user)
        limits = self._throttle.admit(attempt)
        try:
            found = self._find_user(user, password)
        except TooManyChecksError:
            raise HTTPException(HTTPStatus.TOO_MANY_REQUESTS, BUSY, {"Retry-After": "1"}) from None
        if found is None:
            self._throttle.count_failure(attempt, limits)
            raise HTTPException(HTTPStatus.UNAUTHORIZED, WRONG, CHALLENGE)
        self._throttle.confirm(attempt, limits)
        return found

    def _find_user(self, name: str, password: str) -> Credential | None:
        """Return the credential of this name and password. An unknown user takes as long as a known one."""
        found = _find(self._users, password, name)
        hashed = [user for user in self._users if is_hash(user.secret.get_secret_value())]
        if found or not hashed:
            return found
        user = next((user for user in hashed if _is_equal(user.name, name)), None)
        if user is None:
            self._hashes.spend_time(hashed[0].secret.get_secret_value(), password)
            return None
        return user if self._hashes.is_right(user.secret.get_secret_value(), password) else None

    def _identify_by_session(self, token: str | None) -> Identity | None:
        session = sessions.read(self._db, _digest(token)) if token else None
        if token is None or session is None:
            return None
        for user in self._users:
            if _is_equal(user.name, session.user) and hmac.compare_digest(_proof(token, user), session.proof):
                return Identity(user.name, user.role, Via.SESSION, session.csrf)
        return None  # the user was removed, or has another password


def cookie_name(request: Request) -> str:
    """Return the name of the cookie. With HTTPS, the prefix binds it to this host."""
    return f"__Host-{COOKIE}" if request.scope["scheme"] == "https" else COOKIE


def _address(request: Request) -> str:
    return request.client.host if request.client else ""


def _find(known: Iterable[Credential], secret: str, name: str | None = None) -> Credential | None:
    """Return the credential of this secret, and of this name if one is given. A hash is no secret to log in with."""
    found = None
    for credential in known:  # compare all of them in full: the time must not reveal which one is close
        has_name = name is None or _is_equal(credential.name, name)
        configured = credential.secret.get_secret_value()
        if _is_equal(configured, secret) & has_name & (not is_hash(configured)):
            found = credential
    return found


def _parse_basic(value: str) -> tuple[str, str]:
    try:
        user, _, password = base64.b64decode(value.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return "", ""
    return user, password


def _is_equal(one: str, other: str) -> bool:
    """Compare two texts in constant time, whatever their lengths."""
    return hmac.compare_digest(_digest(one), _digest(other))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _proof(token: str, user: Credential) -> str:
    """Return a digest that binds a session to the user and to the present password: another password ends it."""
    return _digest(f"{token}\n{user.name}\n{user.secret.get_secret_value()}")
