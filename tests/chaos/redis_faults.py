"""Faults of Redis that destroy nothing: it refuses commands or clients, forgets scripts, or cuts all connections."""

import time
from collections.abc import Callable, Mapping

from tests.chaos.site import Site
from vmpooler_tasks.store import Database

NOBODY = ("127.0.0.1", "1")
"""The address of a primary that does not exist: Redis becomes a replica, keeps its data, and is read-only."""


def cut_connections(db: Database, seconds: float) -> None:
    """Cut all connections of clients, then again after this time."""
    db.call("CLIENT", "KILL", "TYPE", "normal")
    time.sleep(seconds)
    db.call("CLIENT", "KILL", "TYPE", "normal")


def flush_scripts(db: Database, seconds: float) -> None:
    db.call("SCRIPT", "FLUSH", "SYNC")
    time.sleep(seconds)


def be_read_only(db: Database, seconds: float) -> None:
    db.call("REPLICAOF", *NOBODY)
    time.sleep(seconds)
    db.call("REPLICAOF", "NO", "ONE")


def be_out_of_memory(db: Database, seconds: float) -> None:
    db.call("CONFIG", "SET", "maxmemory", 1)
    time.sleep(seconds)
    db.call("CONFIG", "SET", "maxmemory", 0)


def have_no_room_for_clients(db: Database, seconds: float) -> None:
    """Cut all connections, and let only one client in again. The connection of `db` is the one that stays."""
    (before,) = db.call("CONFIG", "GET", "maxclients").values()
    db.call("CONFIG", "SET", "maxclients", 1)
    db.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    time.sleep(seconds)
    db.call("CONFIG", "SET", "maxclients", before)


FAULTS: Mapping[str, Callable[[Database, float], None]] = {
    "connections cut": cut_connections,
    "SCRIPT FLUSH": flush_scripts,
    "read-only": be_read_only,
    "out of memory": be_out_of_memory,
    "client slots used up": have_no_room_for_clients,
}


def inject(site: Site, fault: str, seconds: float) -> float:
    """Let Redis have this fault for so long. Return the seconds from its end until users of all pools have new VMs."""
    FAULTS[fault](site.db, seconds)
    return site.wait_until_served()
