"""One client per process, and redis-py's errors as ours."""

import functools
import hashlib
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import resources
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis.sentinel import MasterNotFoundError

from vmpooler_tasks.config.redis_address import without_login
from vmpooler_tasks.errors import (
    StoreDeniedError,
    StoreRefusedError,
    StoreUnavailableError,
    VmpoolerTasksError,
    WrongTypeError,
)
from vmpooler_tasks.model.names import on_one_line, readable
from vmpooler_tasks.redis_client import client_for

# A frozen server must not block a caller for ever. tasks/celery/defaults.py limits the waits of the broker likewise.
CONNECT_TIMEOUT = 3.0
REPLY_TIMEOUT = 5.0

MOST_CONNECTIONS = 10_000
"""A worker of many threads may need one for each at the same moment."""

MOST_NAMED = 4
"""Keys that an error names: a script may have thousands."""


class Database:
    """A Redis and the scripts that run on it. Safe to share between threads; a forked child connects anew."""

    def __init__(self, url: str, *, reply_timeout: float = REPLY_TIMEOUT) -> None:
        self.address = without_login(url)
        try:
            # Any: what redis-py's types say of replies depends on options that they do not know.
            self.client: Any = client_for(
                url,
                socket_connect_timeout=CONNECT_TIMEOUT,
                socket_timeout=reply_timeout,
                socket_keepalive=True,
                health_check_interval=30,
                # Once, for a connection that the server closed while idle. A reply that timed out is not asked for
                # again: what the script did could no longer be told from what was done before.
                retry=Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError, socket.gaierror)),
                client_name="vmpooler-tasks",
                max_connections=MOST_CONNECTIONS,
            )
        except ValueError as error:
            raise StoreUnavailableError(f"{self.address}: {error}") from error

    def run(self, script: str, keys: Sequence[bytes], args: Sequence[Any]) -> Any:
        """Runs `lua/<script>.lua` (`pools/claim_clone`); it is sent once and then named by its digest."""
        return self.begin(script, keys, args).result()

    def begin(self, script: str, keys: Sequence[bytes], args: Sequence[Any]) -> "Answer":
        """The same, without waiting: the server works while the caller does something else."""
        return Answer(self, script, (len(keys), *keys, *args))

    def call(self, *command: Any) -> Any:
        """One plain command, its reply as redis-py parses it."""
        with self.translated_errors(*command[1:2]):  # no command asked for here has its key elsewhere
            return self.client.execute_command(*command)

    def stream(self, command: Callable[[bytes], Sequence[Any]], script: str | None = None) -> Iterator[Any]:
        """The replies to a command that goes on from a cursor, which each reply begins with.

        The next page is asked for before the last is handed out, so that the server reads while the caller thinks.
        With `script`, `command` gives the arguments of EVALSHA behind the digest.
        """
        first = command(b"0")
        with self.translated_errors(*(first[1:2] if script is None else _keys_of(first))):
            pool = self.client.connection_pool
            connection, asked, cursor = pool.get_connection(), False, b"0"
            try:
                while True:
                    if not asked:
                        connection.send_command(*self.script_words(command(cursor), script))
                    asked = True  # until its reply is read
                    try:
                        reply = connection.read_response()
                    except redis.exceptions.NoScriptError:
                        asked = False
                        self.load_script(script or "")
                        continue
                    asked, cursor = False, reply[0]
                    if cursor == b"0":
                        yield reply
                        return
                    connection.send_command(*self.script_words(command(cursor), script))
                    asked = True
                    yield reply
            finally:
                if asked:  # or the next user of this connection would read our reply for its own
                    connection.disconnect()
                pool.release(connection)

    def script_words(self, words: Sequence[Any], script: str | None) -> Sequence[Any]:
        """The words of a command: of EVALSHA, if it is a script's."""
        return words if script is None else ("EVALSHA", _digest(script), *words)

    def load_script(self, script: str) -> None:
        self.client.script_load(script_text(script))

    @contextmanager
    def translated_errors(self, *keys: bytes) -> Iterator[None]:
        """`keys` are those that the call is about, for the error that one of them is of the wrong type."""
        try:
            yield
        except redis.RedisError as error:
            raise _translated(error, self.address, keys) from error

    def close(self) -> None:
        self.client.close()


class Answer:
    """What a script will answer. It holds a connection until `result` is called, or nobody holds it any more."""

    def __init__(self, db: Database, script: str, words: Sequence[Any]) -> None:
        self._db, self._script, self._words = db, script, words
        self._connection: Any = None
        with db.translated_errors():
            self._connection = db.client.connection_pool.get_connection()
            try:
                self._connection.send_command(*db.script_words(words, script))
            except BaseException:
                self._let_go(broken=True)
                raise

    def result(self) -> Any:
        """Raises what the server or the line to it made of the script."""
        with self._db.translated_errors(*_keys_of(self._words)):
            try:
                reply = self._connection.read_response()
            except redis.exceptions.NoScriptError:
                self._let_go(broken=False)
                self._db.load_script(self._script)
                return Answer(self._db, self._script, self._words).result()
            except BaseException as error:
                # An error that is the server's answer leaves the line in order; any other may leave a late reply on it.
                self._let_go(broken=not isinstance(error, redis.ResponseError))
                raise
            self._let_go(broken=False)
            return reply

    def __del__(self) -> None:
        self._let_go(broken=True)  # a failed cycle asks no further: the late reply must not reach another

    def _let_go(self, *, broken: bool) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        if broken:
            connection.disconnect()
        self._db.client.connection_pool.release(connection)


@functools.cache
def script_text(name: str) -> str:
    """A script's text, with the shared function that its `-- uses:` line names put before it."""
    text = (
        resources.files("vmpooler_tasks.store").joinpath("lua", *f"{name}.lua".split("/")).read_text(encoding="utf-8")
    )
    lines = text.splitlines(keepends=True)
    shebang = lines.pop(0) if lines[0].startswith("#!") else ""
    shared = [line.split(":", 1)[1].strip() for line in lines if line.startswith("-- uses:")]
    return shebang + "".join(script_text(other) for other in shared) + "".join(lines)


@functools.cache
def _digest(name: str) -> str:
    """The name that the server gives a script."""
    return hashlib.sha1(script_text(name).encode(), usedforsecurity=False).hexdigest()


def _keys_of(words: Sequence[Any]) -> Sequence[bytes]:
    """The keys among the words of a script's call, which begin with their count."""
    keys: Sequence[bytes] = words[1 : 1 + words[0]]
    return keys


def _named(keys: Sequence[bytes | str]) -> str:
    """`one of a, b and 7 more: `; a script does not tell which of its keys it was."""
    if not keys:
        return ""
    texts = [key if isinstance(key, str) else readable(key) for key in keys[:MOST_NAMED]]
    more = f" and {len(keys) - MOST_NAMED} more" if len(keys) > MOST_NAMED else ""
    return f"{'one of ' if len(keys) > 1 else ''}{on_one_line(', '.join(texts))}{more}: "


def _translated(error: redis.RedisError, address: str, keys: Sequence[bytes] = ()) -> VmpoolerTasksError:
    if isinstance(error, redis.AuthenticationError):
        # Redis itself says at length that HELLO came before AUTH.
        missing = str(error).startswith(("HELLO must be called", "Authentication required"))
        return StoreDeniedError(f"{address}: {'it wants a password' if missing else error}")
    if isinstance(error, redis.TimeoutError):
        return StoreUnavailableError(f"{address}: no reply in time")
    if isinstance(error, MasterNotFoundError):
        # Redis-py lists its own objects here. It says the same of a master that is down.
        return StoreUnavailableError(f"{address}: {str(error).split(' : ')[0]}; its Sentinels do not answer, or say no")
    if isinstance(error, redis.ConnectionError):
        return StoreUnavailableError(f"{address}: {on_one_line(str(error))}")
    text = str(error).split(" script: ")[0]  # which line of which script is of no use to its user
    if "WRONGTYPE" in text:
        return WrongTypeError(f"{_named(keys)}{text}")
    return StoreRefusedError(f"{address}: {text}")
