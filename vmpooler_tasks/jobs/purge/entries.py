"""Entries that a purge found: those that are stale, and those whose age is not in their metadata."""

from collections.abc import Sequence
from typing import NamedTuple

from vmpooler_tasks.model.staleness import AgeLimit


class StaleEntry(NamedTuple):
    """An entry to be purged, with its timestamp as it was read (b"" for none)."""

    vm: bytes
    stamp: bytes
    age_seconds: float


class UndatedEntry(NamedTuple):
    """An entry whose timestamp, as it was read (b"" for none), says nothing about its age."""

    vm: bytes
    stamp: bytes


class PageEntries(NamedTuple):
    """One page of a queue: all names, and the entries that are stale or undated. Fresh entries are names only."""

    names: Sequence[bytes]
    stale: list[StaleEntry]
    undated: list[UndatedEntry]


def stale_since_first_seen(
    limit: AgeLimit, undated: Sequence[UndatedEntry], first_seen: Sequence[float | None]
) -> list[StaleEntry]:
    """Return the undated entries that are stale, counted from the epoch at which each was first seen."""
    return [
        StaleEntry(entry.vm, entry.stamp, age)
        for entry, since in zip(undated, first_seen, strict=True)
        if since is not None and (age := limit.stale_age_since(since)) is not None
    ]
