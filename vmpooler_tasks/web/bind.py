"""Check and open the address of the web process, and list the host names that requests may use."""

import ipaddress
import os
import socket
from collections import Counter
from collections.abc import Iterator

from vmpooler_tasks.config.services import WebSection
from vmpooler_tasks.errors import VmpoolerTasksError

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")

SAMPLE_SECRET = "change-me"  # noqa: S105 - the samples in deploy/ have it, so it is public


class CannotListenError(VmpoolerTasksError):
    """Cannot listen"""

    exit_status = os.EX_UNAVAILABLE


def is_loopback(host: str) -> bool:
    """Return True if only this machine can reach the host."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def allowed_hosts(web: WebSection) -> list[str]:
    """Return the allowed host names. On loopback only its own: another site's name could point to it."""
    if web.hosts:
        return list(web.hosts)
    return list(LOOPBACK_NAMES) if is_loopback(web.host) else ["*"]


def section_problems(web: WebSection) -> Iterator[str]:
    """Yield why the web process may not start with these settings."""
    if not is_loopback(web.host) and not (web.users or web.tokens):
        yield f"web.host: {web.host!r} is not loopback: users or tokens are needed (WEB_USERS, WEB_TOKENS)"
    if bool(web.tls_certificate) != bool(web.tls_key):
        yield "web.tls_certificate, web.tls_key: HTTPS needs both"
    for name in ("tls_certificate", "tls_key"):
        file = getattr(web, name)
        if file and not os.access(file, os.R_OK):
            yield f"web.{name}: {file!r} cannot be read"
    for kind in ("users", "tokens"):
        credentials = getattr(web, kind)
        for credential in credentials:
            if credential.secret.get_secret_value() == SAMPLE_SECRET:
                yield f"web.{kind}: {credential.name!r} still has the secret of the sample: choose another"
        counts = Counter(credential.name for credential in credentials)
        yield from (f"web.{kind}: {name!r} is given twice" for name, count in sorted(counts.items()) if count > 1)


def listen(web: WebSection) -> socket.socket:
    """Return a listening socket. Raise CannotListenError with the address."""
    host = web.host.strip("[]")
    try:
        addresses = socket.getaddrinfo(host, web.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, *_, address = addresses[0]
        return socket.create_server(address[:2], family=family, backlog=128)
    except OSError as error:
        # Python adds the address to this message, and the line below has it already.
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or error
        raise CannotListenError(f"{web.host}:{web.port}: {reason}") from error


def browser_url(web: WebSection) -> str:
    """Return the URL of the dashboard, for a browser."""
    scheme = "https" if web.tls_certificate else "http"
    host = f"[{web.host.strip('[]')}]" if ":" in web.host else web.host
    return f"{scheme}://{host}:{web.port}/"
