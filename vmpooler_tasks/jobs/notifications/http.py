"""Send one request over HTTP: no redirect is followed, no proxy is used, certificates are verified."""

import http.client
import socket
import ssl
import threading
from base64 import b64encode
from collections.abc import Mapping
from contextlib import suppress
from urllib.parse import unquote, urlsplit

from vmpooler_tasks import __version__
from vmpooler_tasks.errors import DeliveryError

SOCKET_SECONDS = 10.0
"""For the connection, and for each wait for data."""

REQUEST_SECONDS = 30.0
"""For the whole request: a server may send a byte from time to time."""

_SUCCESSES, _REDIRECTIONS = range(200, 300), range(300, 400)


def post(url: str, body: bytes, headers: Mapping[str, str]) -> None:
    """Send the body. Raise DeliveryError unless the status is 200 to 299; its text has no part of the address."""
    parts = urlsplit(url)
    connection = _connection(parts.scheme, parts.hostname or "", parts.port)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    watchdog = threading.Timer(REQUEST_SECONDS, _abort, (connection,))
    watchdog.daemon = True
    watchdog.start()
    try:
        connection.request("POST", target, body, {**_default_headers(parts.username, parts.password), **headers})
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise DeliveryError(_description(error)) from None
    finally:
        watchdog.cancel()
        connection.close()
    if status in _REDIRECTIONS:
        raise DeliveryError(f"the server redirects (status {status}): configure the final address")
    if status not in _SUCCESSES:
        raise DeliveryError(f"the server responded with status {status}")


def _connection(scheme: str, host: str, port: int | None) -> http.client.HTTPConnection:
    if scheme == "https":
        context = ssl.create_default_context()
        return http.client.HTTPSConnection(host, port, timeout=SOCKET_SECONDS, context=context)
    return http.client.HTTPConnection(host, port, timeout=SOCKET_SECONDS)


def _default_headers(user: str | None, password: str | None) -> dict[str, str]:
    headers = {"Content-Type": "application/json", "User-Agent": f"vmpooler-tasks/{__version__}"}
    if user is not None:
        login = f"{unquote(user)}:{unquote(password or '')}".encode()
        headers["Authorization"] = f"Basic {b64encode(login).decode()}"
    return headers


def _abort(connection: http.client.HTTPConnection) -> None:
    """Wake the thread that waits for this connection. Only that thread closes it."""
    line = connection.sock
    if line is not None:
        with suppress(OSError):
            socket.socket.shutdown(line, socket.SHUT_RDWR)  # also of TLS: nothing more is to be said


def _description(error: Exception) -> str:
    """Return what happened. The texts of these errors have the host at most, never the path or a header."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate is not valid: {error.verify_message}"
    if isinstance(error, TimeoutError):
        return "no reply in time"
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return type(error).__name__
