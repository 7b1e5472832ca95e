"""What a purge cycle found and did, as it is logged and as it is returned."""

import logging
from collections import Counter
from collections.abc import Callable, Iterable
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
_DRY_RUN = {
    ORPHANED: "[*] [purge][dry-run] Would purge orphaned metadata for '{vm}' (age: {age}s, max: {limit}s)",
    REQUESTS: "[*] [purge][dry-run] Would fail stuck on-demand request '{vm}' (age: {age}s, max: {limit}s)",
}
_DRY_RUN_OF_QUEUE = "[*] [purge][dry-run] Would purge stale {queue} VM '{vm}' (age: {age}s, max: {limit}s)"
_DEAD_LETTER = "[!] [dlq] Moved '%s' from 'pending' queue to DLQ: %s"


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

    def entries_of(self, queue: str, pool: str, found: Iterable[tuple[bytes, float]], limit: float) -> None:
        """These (VM, age in seconds) were purged or, in a dry run, found; a line of log for each."""
        template = _DRY_RUN.get(queue, _DRY_RUN_OF_QUEUE) if self.dry_run else _DONE[queue]
        tell = _teller(logging.INFO if self.dry_run else logging.WARNING, template, queue, pool, limit)
        for vm, age in found:
            shown, rounded = readable(vm), whole_seconds(age)
            if self.keep_entries:
                self.entries.append(
                    {"queue": queue, "pool": pool, "vm": shown, "age_seconds": rounded, "max_age_seconds": limit}
                )
            tell(shown, rounded)

    def error(self, message: str, **about: str) -> None:
        """Something that could not be looked at, and which (pool, queue); the cycle goes on."""
        self.error_count += 1
        line = on_one_line(message)
        if len(self.errors) < MAX_ERRORS:
            self.errors.append(line)
        _log.warning("[!] [purge] %s", line, extra=about)

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


def log_dead_letters(vms: Iterable[tuple[bytes, str]], pool: str) -> None:
    """(VM, reason) of those that left pending with a dead letter."""
    if _log.isEnabledFor(logging.DEBUG):
        for vm, reason in vms:
            shown = readable(vm)
            _log.debug(
                _DEAD_LETTER,
                on_one_line(shown),
                on_one_line(reason),
                extra={"vm": shown, "pool": pool, "queue": "pending"},
            )


def _teller(level: int, template: str, queue: str, pool: str, limit: float) -> Callable[[str, int], None]:
    """Logs a line for each (VM, age) that it is called with.

    A cycle may say tens of thousands of these. So what they share is formatted once, and the record is made once and
    copied: without that, each costs more than all else that is done for its entry.
    """
    if not _log.isEnabledFor(level):
        return lambda _vm, _age: None
    before, rest = template.split("{vm}")
    between, after = (
        part.format(pool=on_one_line(pool), limit=in_config(limit), queue=queue) for part in rest.split("{age}")
    )
    before = before.format(queue=queue)
    extra = {"pool": pool, "queue": queue, "vm": ""}
    shared = _log.makeRecord(_log.name, level, __file__, 0, "", (), None, extra=extra)

    def tell(vm: str, age: int) -> None:
        record = object.__new__(type(shared))
        record.__dict__.update(shared.__dict__, msg=f"{before}{on_one_line(vm)}{between}{age}{after}", vm=vm)
        _log.handle(record)

    return tell


def summary(report: PurgeReport) -> str:
    took = f"in {report.duration_seconds:.2f}s"
    if report.dry_run:
        return f"[*] [purge][dry-run] Completed purge cycle {took}: {report.total} entries found, nothing changed"
    return f"[*] [purge] Completed purge cycle {took}: {report.total} entries purged"
