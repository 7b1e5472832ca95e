"""The connection to Redis: commands, scripts, pipelined replies, and redis-py's errors as errors of this package."""

import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from typing import Any, Generic, TypeVar

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from vmpooler_tasks.clock import ServerClock
from vmpooler_tasks.config.redis_address import without_login
from vmpooler_tasks.errors import (
    SentinelsDeniedError,
    StoreDeniedError,
    StoreRefusedError,
    StoreUnavailableError,
    VmpoolerTasksError,
    WrongTypeError,
)
from vmpooler_tasks.model.names import listed, on_one_line, readable
from vmpooler_tasks.redis_client import WITHOUT_PASSWORD, SentinelsDenyError, client_for
from vmpooler_tasks.store.redis import scripts
from vmpooler_tasks.store.redis.guarded_client import GuardedClient
from vmpooler_tasks.store.redis.outages import OUTAGES

# A server that does not respond must not hang its caller: these limit the wait, in seconds.
# tasks/celery/defaults.py limits the waits of the broker likewise.
CONNECT_TIMEOUT = 3.0
REPLY_TIMEOUT = 5.0

PING_SECONDS = 3.0

MAX_CONNECTIONS = 10_000
"""A worker of many threads may need one for each thread at the same moment."""

MAX_NAMED_KEYS = 4
"""Keys that an error names: a script may have thousands."""

T = TypeVar("T")


def _unparsed(reply: Any) -> Any:
    return reply


class Database:
    """A Redis and the scripts that run on it. Safe to share between threads; a forked child connects anew.

    `clock` shows the server's time.
    """

    def __init__(
        self, url: str, *, reply_timeout: float = REPLY_TIMEOUT, connect_timeout: float = CONNECT_TIMEOUT
    ) -> None:
        self.address = without_login(url)
        self.clock = ServerClock(self.read_time)
        try:
            client = client_for(
                url,
                socket_connect_timeout=connect_timeout,
                socket_timeout=reply_timeout,
                socket_keepalive=True,
                health_check_interval=30,
                # Once, for a connection that the server closed while it was idle. After a timeout the command is not
                # sent again: the script may have run, and a second run would return another result.
                retry=Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError, socket.gaierror)),
                client_name="vmpooler-tasks",
                max_connections=MAX_CONNECTIONS,
            )
        except ValueError as error:
            raise StoreUnavailableError(f"{self.address}: {error}") from error
        client.auto_close_connection_pool = False  # its pool has a new owner
        # Any: redis-py's types of replies depend on options that the types do not know.
        self.client: Any = GuardedClient.from_pool(client.connection_pool)

    def run(self, script: str, keys: Sequence[bytes], args: Sequence[Any]) -> Any:
        """Run `lua/<script>.lua` (`pools/claim_clone`) and return its reply."""
        return self.send(script, keys, args).read()

    def send(
        self, script: str, keys: Sequence[bytes], args: Sequence[Any], parse: Callable[[Any], T] = _unparsed
    ) -> "PendingReply[T]":
        """Send a script and return its pending reply, so that the server works while the caller does something else.

        The caller owns the reply, and has to read it or to close it. `parse` makes what `read` returns.
        """
        return PendingReply(self, script, (len(keys), *keys, *args), parse)

    def call(self, *command: Any) -> Any:
        """Run one plain command, whose first argument is its key, and return its reply as redis-py parses it."""
        with self.translated_errors(*command[1:2]):
            return self.client.execute_command(*command)

    def read_time(self) -> float:
        """Return the server's time in seconds since the epoch. `clock` returns the same without a round trip."""
        seconds, micros = self.call("TIME")
        return int(seconds) + int(micros) / 1e6

    def stream(self, command: Callable[[bytes], Sequence[Any]], script: str | None = None) -> Iterator[Any]:
        """Yield the replies to a command that continues from a cursor. Each reply starts with the next cursor.

        `command` returns the command for a cursor; with `script`, the script's arguments. The next page is requested
        before this one is yielded, so that the server reads while the caller works.
        """
        first = command(b"0")
        keys = first[1:2] if script is None else _keys_of(first)
        with self.translated_errors(*keys), closing(_Exchange(self.client, script)) as exchange:
            exchange.send(first)
            while (reply := exchange.read())[0] != b"0":
                exchange.send(command(reply[0]))
                yield reply
        yield reply

    @contextmanager
    def translated_errors(self, *keys: bytes, is_reply: bool = True) -> Iterator[None]:
        """Raise redis-py's errors as errors of this package. `keys` are named by the error that a type is wrong.

        Note in the log that an outage starts, or ends if a reply was read (`is_reply`).
        """
        try:
            yield
        except redis.RedisError as error:
            found = _translated(error, self.address, keys)
            if isinstance(found, StoreUnavailableError):
                OUTAGES.note_failure(self.address, str(found))
            raise found from error
        if is_reply:
            OUTAGES.note_reply(self.address)

    def close(self) -> None:
        self.client.close()


class PendingReply(Generic[T]):
    """The reply to a script that the server may still be running. It owns a connection until it is read or closed.

    Read it once, or close it. If neither happens, its connection never returns to the pool: no other caller can
    receive a reply that is not its own.
    """

    def __init__(self, db: Database, script: str, arguments: Sequence[Any], parse: Callable[[Any], T]) -> None:
        self._db, self._arguments, self._parse = db, arguments, parse
        with db.translated_errors(is_reply=False):
            self._exchange = _Exchange(db.client, script)
            try:
                self._exchange.send(arguments)
            except BaseException:
                self._exchange.close()
                raise

    def read(self) -> T:
        """Wait for the reply, return it parsed, and release the connection. Raise the server's error as ours."""
        with self._db.translated_errors(*_keys_of(self._arguments)), closing(self._exchange):
            reply = self._exchange.read()
        return self._parse(reply)

    def close(self) -> None:
        """Release the connection. An unread reply is given up with it; the script runs all the same."""
        self._exchange.close()


class _Exchange:
    """One connection of the pool, used by one caller: a command, its reply, the next command.

    `close` returns the connection to the pool. With a reply still unread it disconnects first, since the next user
    of the connection would take that reply for its own.
    """

    def __init__(self, client: Any, script: str | None) -> None:
        self._client, self._script = client, script
        self._sent: Sequence[Any] = ()
        self._is_clean = True
        self._connection: Any = client.connection_pool.get_connection()

    def send(self, arguments: Sequence[Any]) -> None:
        self._sent = arguments if self._script is None else scripts.command(self._script, arguments)
        self._is_clean = False
        self._connection.send_command(*self._sent)

    def read(self) -> Any:
        """Return the reply to the last command. A server that does not know the script gets it, and runs it again."""
        while True:
            try:
                reply = self._connection.read_response()
            except redis.exceptions.NoScriptError:
                scripts.load(self._client, self._script or "")
                self._connection.send_command(*self._sent)
            except redis.ResponseError:  # a whole reply: nothing is left on the connection
                self._is_clean = True
                raise
            else:
                self._is_clean = True
                return reply

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        if not self._is_clean:
            connection.disconnect()
        self._client.connection_pool.release(connection)


def _keys_of(arguments: Sequence[Any]) -> Sequence[bytes]:
    """Return the keys among a script's arguments, which start with the count of keys."""
    keys: Sequence[bytes] = arguments[1 : 1 + arguments[0]]
    return keys


def _named(keys: Sequence[bytes | str]) -> str:
    """Return `one of a, b and 7 more: `: a script's error does not name the key that caused it."""
    if not keys:
        return ""
    names = [key if isinstance(key, str) else readable(key) for key in keys]
    return f"{'one of ' if len(keys) > 1 else ''}{on_one_line(listed(names, MAX_NAMED_KEYS))}: "


def follow_outages(*databases: Database) -> None:
    """Log outages of these from now on, in a thread: also in a process that has nothing to send for long."""
    OUTAGES.announce()
    threading.Thread(target=_send_pings, args=databases, name="outages", daemon=True).start()


def _send_pings(*databases: Database) -> None:
    while True:
        for database in databases:
            with suppress(VmpoolerTasksError):
                database.call("PING")
        time.sleep(PING_SECONDS)


def translated_cause(error: Exception, address: str) -> VmpoolerTasksError:
    """Return the error of this package for one of kombu's, whose cause is one of redis-py's."""
    for cause in (error, error.__cause__):
        if isinstance(cause, redis.RedisError):
            return _translated(cause, address)
    return StoreUnavailableError(f"{address}: {on_one_line(str(error))}")


def _translated(error: redis.RedisError, address: str, keys: Sequence[bytes] = ()) -> VmpoolerTasksError:
    """Return the error of this package for one of redis-py's. `keys` are named if a type is wrong."""
    if isinstance(error, redis.AuthenticationError):
        missing = str(error).startswith(WITHOUT_PASSWORD)
        return StoreDeniedError(f"{address}: {'it wants a password' if missing else error}")
    if isinstance(error, redis.TimeoutError):
        return StoreUnavailableError(f"{address}: no reply in time")
    if isinstance(error, SentinelsDenyError):
        return SentinelsDeniedError(f"{address}: {error}")
    if isinstance(error, redis.ConnectionError):
        return StoreUnavailableError(f"{address}: {on_one_line(str(error))}")
    text = str(error).split(" script: ")[0]  # which line of which script is of no use to its user
    if "WRONGTYPE" in text:
        return WrongTypeError(f"{_named(keys)}{text}")
    return StoreRefusedError(f"{address}: {text}")
