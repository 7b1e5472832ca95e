"""Servers with the users of `deploy/redis/users.acl`."""

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import redis

from tests.support.deployment import DEPLOY
from tests.support.servers import TestServer

FILE = DEPLOY / "redis" / "users.acl"
PASSWORDS = {"TASKS": "tasks-s3cr3t", "VMPOOLER": "vmpooler-s3cr3t", "MONITOR": "monitor-s3cr3t"}
USERS = {"vmpooler-tasks": "TASKS", "default": "VMPOOLER", "vmpooler-monitor": "MONITOR"}
ADMIN = "user admin on >admin-s3cr3t ~* &* +@all\n"


@contextmanager
def with_users(kind: str, folder: Path, without: str = "") -> Iterator[TestServer]:
    """A server with these users, and one for the tests. `without` is a pattern of rights that they do not get."""
    rights = re.sub(without, "", filled()) if without else filled()
    (folder / "users.acl").write_text(rights + ADMIN, encoding="utf-8")
    server = TestServer(kind, folder, ["--aclfile", str(folder / "users.acl")])
    server.url = server.url.replace("//", "//admin:admin-s3cr3t@")
    try:
        yield server.start()
    finally:
        server.stop()


def filled() -> str:
    """The file with the passwords' digests."""
    text = FILE.read_text(encoding="utf-8")
    for name, password in PASSWORDS.items():
        text = text.replace(f"@{name}@", hashlib.sha256(password.encode()).hexdigest())
    return text


def as_tasks(server: TestServer, database: int = 0) -> str:
    """The address with the login of this project's processes."""
    return f"redis://vmpooler-tasks:{PASSWORDS['TASKS']}@127.0.0.1:{server.port}/{database}"


def client(server: TestServer, user: str) -> Any:
    return redis.Redis(port=server.port, username=user, password=PASSWORDS[USERS[user]])


def refusals(server: TestServer) -> list[str]:
    """Return what the server refused users, as it recorded it. CONFIG GET is left out: it is tried, but not needed."""
    admin = redis.Redis.from_url(server.url)
    found = [f"{entry['reason']} {entry['object']} of {entry['username']}" for entry in admin.acl_log()]
    return [refusal for refusal in found if "config|get" not in refusal]
