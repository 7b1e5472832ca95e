"""Refuse a Flower that is open to everybody who reaches its port: Flower can start any task."""

import os
import sys
from collections.abc import Mapping
from ipaddress import ip_address

import click

from vmpooler_tasks.errors import VmpoolerTasksError
from vmpooler_tasks.logs import end_with_error

LOGIN = "FLOWER_BASIC_AUTH"
UNAUTHENTICATED = "FLOWER_UNAUTHENTICATED_API"


class OpenFlowerError(VmpoolerTasksError):
    """Flower would be open to everybody"""

    exit_status = os.EX_CONFIG


def is_flower() -> bool:
    """Return whether this process is a Flower. It reads its settings between its options and its port."""
    command = click.get_current_context(silent=True)
    return command is not None and command.info_name == "flower"


def refuse_open_flower() -> None:
    """End this process with status 78 if it is a Flower that would be open to everybody."""
    if not is_flower():
        return
    options = sys.modules["tornado.options"].options  # Flower has imported it, and defined its options there

    problem = open_reason(
        address=options.address,
        socket=bool(options.unix_socket),
        login=bool(options.basic_auth or options.auth),
        environ=os.environ,
    )
    if problem:
        end_with_error(OpenFlowerError(problem))


def open_reason(*, address: str, socket: bool, login: bool, environ: Mapping[str, str]) -> str | None:
    """Return why this Flower would be open; None if it is not. `address` as Flower takes it: every address if empty."""
    if login:
        return None
    if environ.get(UNAUTHENTICATED):
        return f"{UNAUTHENTICATED} is set, and any web page could then start tasks; set {LOGIN}=USER:PASSWORD instead"
    if not socket and not _is_loopback(address):
        where = address or "every address"
        return f"it would listen on {where} without a login; set {LOGIN}=USER:PASSWORD, or --address=127.0.0.1"
    return None


def _is_loopback(address: str) -> bool:
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"
