"""What a purge cycle found and did, as it is logged and as it is returned."""

import logging
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from vmpooler_tasks.config.schema import shown as in_config
from vmpooler_tasks.model.names import ORPHANED, Queue, on_one_line, readable
from vmpooler_tasks.model.timestamps import whole_seconds

_log = logging.getLogger("vmpooler_tasks.purge")

MAX_ERRORS = 1000
"""Errors told one by one; beyond, they are only counted."""

REQUESTS = "requests"
EVERYTHING = (Queue.PENDING, Queue.READY, Queue.COMPLETED, ORPHANED, REQUESTS)

_NOTHING = {str(queue): 0 for queue in EVERYTHING}

_DONE = {
    Queue.PENDING: "[!] [purge] Purged stale pending VM '{vm}' from '{pool}' (age: {age}s)",
    Queue.READY: "[!] [purge] Moved stale ready VM '{vm}' from '{pool}' to completed (age: {age}s)",
    Queue.COMPLETED: "[!] [purge] Removed stale completed VM '{vm}' from '{pool}' (age: {age}s)",
    ORPHANED: "[!] [purge] Set expiration on orphaned metadata for '{vm}' (age: {age}s)",
    REQUESTS: "[!] [purge] Failed stuck on-demand request '{vm}' (age: {age}s)",
}
_WOULD = {
    ORPHANED: "[*] [purge][dry-run] Would purge orphaned metadata for '{vm}' (age: {age}s, max: {limit}s)",
    REQUESTS: "[*] [purge][dry-run] Would fail stuck on-demand request '{vm}' (age: {age}s, max: {limit}s)",
}
_WOULD_PURGE = "[*] [purge][dry-run] Would purge stale {queue} VM '{vm}' (age: {age}s, max: {limit}s)"
_DEAD_LETTER = "[!] [dlq] Moved '{vm}' from 'pending' queue to DLQ: {reason}"


@dataclass(slots=True)
class PurgeReport:
    """`found` and `purged` count by queue; `entries` are kept only if asked for, since there may be very many.

    `found_in` counts by (queue, pool). `skipped` says why the cycle did nothing. `spared` are the (pool, queue,
    percent) left alone by purge_max_percent.
    """

    dry_run: bool
    keep_entries: bool = False
    found: Counter[str] = field(default_factory=Counter)
    found_in: Counter[tuple[str, str]] = field(default_factory=Counter)
    purged: Counter[str] = field(default_factory=Counter)
    errors: list[str] = field(default_factory=list)
    error_count: int = 0
    entries: list[dict[str, Any]] = field(default_factory=list)
    spared: list[tuple[str, str, float]] = field(default_factory=list)
    skipped: str | None = None
    duration_seconds: float = 0.0

    @property
    def total(self) -> int:
        return sum((self.found if self.dry_run else self.purged).values())

    def find(self, queue: str, pool: str, count: int) -> None:
        """So many stale entries were found."""
        self.found[queue] += count
        self.found_in[queue, pool] += count

    def entry(self, queue: str, pool: str, vm: bytes, age: float, limit: float) -> None:
        """One entry was purged or, in a dry run, found."""
        shown, rounded = readable(vm), whole_seconds(age)
        if self.keep_entries:
            self.entries.append(
                {"queue": queue, "pool": pool, "vm": shown, "age_seconds": rounded, "max_age_seconds": limit}
            )
        text = _WOULD.get(queue, _WOULD_PURGE) if self.dry_run else _DONE[queue]
        line = text.format(
            queue=queue, vm=on_one_line(shown), pool=on_one_line(pool), age=rounded, limit=in_config(limit)
        )
        _tell(logging.INFO if self.dry_run else logging.WARNING, line, vm=shown, pool=pool, queue=queue)

    def error(self, message: str) -> None:
        """Something that could not be looked at; the cycle goes on."""
        self.error_count += 1
        line = on_one_line(message)
        if len(self.errors) < MAX_ERRORS:
            self.errors.append(line)
        _log.warning("[!] [purge] %s", line)

    def as_json(self) -> dict[str, Any]:
        return {
            "dry_run": self.dry_run,
            "found": {**_NOTHING, **self.found},
            "purged": {**_NOTHING, **self.purged},
            "total": self.total,
            "errors": self.errors,
            "error_count": self.error_count,
            "entries": self.entries,
            "duration_seconds": round(self.duration_seconds, 6),
            **({"skipped": self.skipped} if self.skipped else {}),
        }


def log_dead_letter(vm: bytes, pool: str, reason: str) -> None:
    if _log.isEnabledFor(logging.DEBUG):
        shown = readable(vm)
        line = _DEAD_LETTER.format(vm=on_one_line(shown), reason=on_one_line(reason))
        _tell(logging.DEBUG, line, vm=shown, pool=pool, queue=Queue.PENDING)


def _tell(level: int, line: str, **fields: str) -> None:
    """As `_log.log`, without its walk up the stack for a file and a line: a cycle may say thousands of these."""
    if _log.isEnabledFor(level):
        _log.handle(_log.makeRecord(_log.name, level, __file__, 0, line, (), None, extra=fields))


def summary(report: PurgeReport) -> str:
    took = f"in {report.duration_seconds:.2f}s"
    if report.dry_run:
        return f"[*] [purge][dry-run] Completed purge cycle {took}: {report.total} entries found, nothing changed"
    return f"[*] [purge] Completed purge cycle {took}: {report.total} entries purged"
