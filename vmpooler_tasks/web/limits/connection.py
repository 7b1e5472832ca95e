"""One connection of a client, with a deadline for each thing that the client has to do.

A client that has not logged in costs little: it can hold a connection only for as long as a head, a body or a response
may take. If all connections are taken, a new one takes the place of the one that has waited longest for its client.
"""

import asyncio
import logging
import re
from enum import StrEnum
from http import HTTPStatus
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from vmpooler_tasks.throttle import Throttle
from vmpooler_tasks.web.headers import HEADERS
from vmpooler_tasks.web.limits.framing import StrictFraming
from vmpooler_tasks.web.problems import problem

_log = logging.getLogger("vmpooler_tasks.web")

MAX_CLIENTS = 500
KEEP_ALIVE_SECONDS = 5
"""How long a connection stays open after a response if no further request starts."""
LINGER_SECONDS = 2.0
"""How long the rest of a refused request is read, so that the client gets the refusal and no connection reset."""
CROWDED_LOG_SECONDS = 60.0
MAX_REFUSAL_CHARACTERS = 200

_REPEATED_LINE = re.compile(r":? b(?:ytearray\(b)?['\"].*", re.DOTALL)

_crowded = Throttle(CROWDED_LOG_SECONDS)


class Wait(StrEnum):
    """What a connection waits for from its client."""

    HEAD = "head"
    BODY = "body"
    READING = "reading"
    """The client reads a response so slowly that this process keeps a part of it."""
    CLOSE = "close"


CLIENT_SECONDS = {Wait.HEAD: 10.0, Wait.BODY: 20.0, Wait.READING: 30.0, Wait.CLOSE: LINGER_SECONDS}
"""How long a client may take."""


class ClientConnection(H11Protocol):
    """Serve HTTP/1 on a connection, with deadlines. A deadline is for the whole head or body: a byte prolongs nothing.
    A client may read a response slowly, as long as it takes some of it before each deadline.

    `waiting_since` is the time of the loop since when this process waits for the client; None while a request runs.
    """

    conn: StrictFraming
    cycle: RequestResponseCycle | None  # type: ignore[assignment]  # None before the first request

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.conn = StrictFraming()
        self.waiting_since: float | None = None
        self._wait: Wait | None = None
        self._unread_bytes = 0
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start to wait for the first head. If there are too many connections, close another one."""
        if len(self.connections) >= MAX_CLIENTS:
            self._make_room()
        super().connection_made(transport)
        self._follow()

    def connection_lost(self, exc: Exception | None) -> None:
        self._set_wait(None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._wait is not Wait.CLOSE:  # otherwise the rest of a refused request
            super().data_received(data)

    def handle_events(self) -> None:
        super().handle_events()
        if self.conn.refusal is not None:
            self._refuse(self.conn.refusal.error_status_hint, _without_line(self.conn.refusal))
        else:
            self._follow()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._follow()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._follow()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._follow()

    def shutdown(self) -> None:
        """Start to end the connection, as the process ends. A refused one ends by itself, within LINGER_SECONDS."""
        if self._wait is not Wait.CLOSE:
            super().shutdown()

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self._follow()

    def _should_upgrade(self) -> bool:
        """Return False: there are no WebSockets. The stock method logs two lines for each request for one."""
        return False

    def _follow(self) -> None:
        """Set the deadline for what the client has to do now. A wait that goes on keeps its deadline."""
        if self._wait is not Wait.CLOSE:
            wait = self._find_wait()
            if wait is not self._wait:
                self._set_wait(wait)

    def _find_wait(self) -> Wait | None:
        if self.transport.is_closing() or self.flow.write_paused:
            return Wait.READING
        if self.cycle is None or self.cycle.response_complete:
            return Wait.HEAD
        return Wait.BODY if self.cycle.more_body else None

    def _set_wait(self, wait: Wait | None) -> None:
        self._wait = wait
        self.waiting_since = None if wait is None else self.loop.time()
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        if wait is not None:
            self._set_deadline(wait)

    def _set_deadline(self, wait: Wait) -> None:
        self._unread_bytes = self.transport.get_write_buffer_size() if wait is Wait.READING else 0
        self._deadline = self.loop.call_later(CLIENT_SECONDS[wait], self._expire, wait)

    def _expire(self, wait: Wait) -> None:
        """End a connection whose client missed its deadline: with a response if it could still understand one."""
        has_sent, _ = self.conn.trailing_data
        if wait is Wait.READING and self.transport.get_write_buffer_size() < self._unread_bytes:
            self._set_deadline(wait)  # it reads, if slowly
        elif wait in (Wait.READING, Wait.CLOSE):
            self.transport.abort()
        elif wait is Wait.HEAD and not (has_sent and self.conn.their_state is h11.IDLE):
            self._close()
        else:
            late = f"the {wait} of the request did not come within {CLIENT_SECONDS[wait]:.0f} seconds"
            self._refuse(HTTPStatus.REQUEST_TIMEOUT, late)

    def _refuse(self, status: int, detail: str) -> None:
        """Send a problem if no response has started, and end the connection."""
        address = self.client[0] if self.client else "-"
        _log.info("[*] [web] Refused a request from %s: %d, %s", address, status, detail)
        can_reply, is_head = self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE), False
        if self.cycle is not None and not self.cycle.response_complete:
            is_head = self.scope["method"] == "HEAD"
            self.cycle.disconnected = True  # the application neither reads on nor replies
            self.cycle.message_event.set()
        if can_reply:
            self.transport.write(_refusal(status, detail, is_head=is_head))
        self._close()

    def _close(self) -> None:
        """End the connection as soon as the client has got everything, or LINGER_SECONDS later."""
        self._unset_keepalive_if_required()
        self._set_wait(Wait.CLOSE)
        if self.transport.can_write_eof():
            self.transport.write_eof()
            self.transport.resume_reading()
        else:  # TLS
            self.transport.close()

    def _make_room(self) -> None:
        """Close the connection that has waited longest for its client, if there is one."""
        ours = [one for one in self.connections if isinstance(one, ClientConnection)]
        waiting = [(one.waiting_since, id(one), one) for one in ours if one.waiting_since is not None]
        if _crowded.acquire():
            _log.warning(
                "[!] [web] %d connections are open. New ones take the place of those that have waited longest for "
                "their clients",
                len(self.connections),
            )
        if waiting:
            *_, oldest = min(waiting)
            self.connections.discard(oldest)  # connection_lost comes later, and others may come before it
            oldest.transport.abort()


def _without_line(refusal: h11.RemoteProtocolError) -> str:
    """Return what is wrong, without the line of the request that h11 repeats: it may hold a token, and be long."""
    return _REPEATED_LINE.sub("", str(refusal))[:MAX_REFUSAL_CHARACTERS]


def _refusal(status: int, detail: str, *, is_head: bool) -> bytes:
    """Return the bytes of a response that ends the connection."""
    response = problem(status, detail, headers={**HEADERS, "Cache-Control": "no-store", "Connection": "close"})
    lines = [b"HTTP/1.1 %d %s" % (status, HTTPStatus(status).phrase.encode())]
    lines += [b"%s: %s" % header for header in response.raw_headers]
    return b"\r\n".join([*lines, b"", b"" if is_head else bytes(response.body)])
