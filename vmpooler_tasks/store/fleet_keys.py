"""The keys of the feature `fleet`: what processes and people leave in Redis. Heartbeats, schedule, audit, sessions.

As in `keys`, the docstring of a key starts with its type.
"""

SCHEDULE = b"vmpooler_tasks__schedule"
"""Hash: entry → epoch of its last tick; `entry:claim` → epoch until which a beat has claimed the next tick."""

HEARTBEATS = b"vmpooler_tasks__heartbeats"
"""Hash: `worker:NAME` or `beat:NAME` → epoch and JSON; the last heartbeat of each process, kept for ten minutes."""

HEARTBEAT_TIMES = b"vmpooler_tasks__heartbeat_times"
"""Sorted set: `worker:NAME` or `beat:NAME` → epoch of its last heartbeat, by the server's clock."""

AUDIT = b"vmpooler_tasks__audit"
"""Stream: who redrove, deleted, purged, paused or retried what, when and why; about 10,000 entries."""

DELIVERIES = b"vmpooler_tasks__deliveries"
"""Hash: task → number of times that it was delivered again."""


def pool_list(configuration: str) -> bytes:
    """Set: the pools of a configuration, by its digest, and ''; expires a minute after its last heartbeat."""
    return f"vmpooler_tasks__pool_list__{configuration}".encode()


def session(digest: str) -> bytes:
    """Hash: a session of the web page: `user`, `proof`, `csrf`; expires after twelve hours."""
    return f"vmpooler_tasks__session__{digest}".encode()


def login_failures(subject: str) -> bytes:
    """String: failed logins of a user at an address, of an address, of a user; expires after a minute or an hour."""
    return f"vmpooler_tasks__login_failures__{subject}".encode("utf-8", "surrogatepass")


def known_login(login: str) -> bytes:
    """String: `USER@ADDRESS` logged in to the web page; expires after 30 days."""
    return f"vmpooler_tasks__known_login__{login}".encode("utf-8", "surrogatepass")
