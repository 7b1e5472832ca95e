"""What a purge cycle found and did, as it is logged and as it is returned."""

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from vmpooler_tasks.config.schema import as_yaml
from vmpooler_tasks.jobs.purge.entries import StaleEntry
from vmpooler_tasks.model.names import on_one_line, readable
from vmpooler_tasks.model.purge import PurgedEntry, PurgeTarget, SkippedQueue
from vmpooler_tasks.model.timestamps import whole_seconds

_log = logging.getLogger("vmpooler_tasks.purge")

MAX_ERRORS = 1000
"""Errors that are kept one by one; further ones are logged and counted only."""

_PURGED = {
    PurgeTarget.PENDING: "[!] [purge] Purged stale pending VM '%s' from '{pool}' (age: %ds)",
    PurgeTarget.READY: "[!] [purge] Moved stale ready VM '%s' from '{pool}' to completed (age: %ds)",
    PurgeTarget.COMPLETED: "[!] [purge] Removed stale completed VM '%s' from '{pool}' (age: %ds)",
    PurgeTarget.ORPHANED: "[!] [purge] Set expiration on orphaned metadata for '%s' (age: %ds)",
    PurgeTarget.REQUESTS: "[!] [purge] Failed stuck on-demand request '%s' (age: %ds)",
}
_FOUND = {
    PurgeTarget.PENDING: "[*] [purge][dry-run] Would purge stale pending VM '%s' (age: %ds, max: {max_age}s)",
    PurgeTarget.READY: "[*] [purge][dry-run] Would purge stale ready VM '%s' (age: %ds, max: {max_age}s)",
    PurgeTarget.COMPLETED: "[*] [purge][dry-run] Would purge stale completed VM '%s' (age: %ds, max: {max_age}s)",
    PurgeTarget.ORPHANED: "[*] [purge][dry-run] Would purge orphaned metadata for '%s' (age: %ds, max: {max_age}s)",
    PurgeTarget.REQUESTS: "[*] [purge][dry-run] Would fail stuck on-demand request '%s' (age: %ds, max: {max_age}s)",
}
_DEAD_LETTER = "[!] [dlq] Moved '%s' from 'pending' queue to DLQ: %s"


@dataclass(slots=True)
class PurgeReport:
    """The result of a cycle. `entries` are kept only on request, since there may be very many.

    `skipped` is the reason why the cycle did nothing. `skipped_queues` exceeded purge_max_percent.
    """

    dry_run: bool
    keep_entries: bool = False
    found: Counter[PurgeTarget] = field(default_factory=Counter)
    purged: Counter[PurgeTarget] = field(default_factory=Counter)
    errors: list[str] = field(default_factory=list)
    error_count: int = 0
    entries: list[PurgedEntry] = field(default_factory=list)
    skipped_queues: list[SkippedQueue] = field(default_factory=list)
    skipped: str | None = None
    duration_seconds: float = 0.0

    @property
    def total(self) -> int:
        """The entries that were purged or, in a dry run, found."""
        return sum((self.found if self.dry_run else self.purged).values())

    def add_entries(
        self, target: PurgeTarget, pool: str, entries: Sequence[StaleEntry], max_age_seconds: float
    ) -> None:
        """Log that these entries were purged or, in a dry run, found: a line for each. Keep them if requested."""
        level = logging.INFO if self.dry_run else logging.WARNING
        is_logged = _log.isEnabledFor(level)
        if not is_logged and not self.keep_entries:
            return
        # The pool and the limit are the same for the whole batch: they are formatted once.
        template = (_FOUND if self.dry_run else _PURGED)[target]
        line = template.format(pool=on_one_line(pool).replace("%", "%%"), max_age=as_yaml(max_age_seconds))
        queue = target.value
        for entry in entries:
            name, age = readable(entry.vm), whole_seconds(entry.age_seconds)
            if self.keep_entries:
                self.entries.append(PurgedEntry(target, pool, name, age, max_age_seconds))
            if is_logged:
                _log.log(level, line, on_one_line(name), age, extra={"vm": name, "pool": pool, "queue": queue})

    def add_error(self, message: str, **about: str) -> None:
        """Count and log an error that does not end the cycle. `about` names its pool and queue for the log."""
        self.error_count += 1
        line = on_one_line(message)
        if len(self.errors) < MAX_ERRORS:
            self.errors.append(line)
        _log.warning("[!] [purge] %s", line, extra=about)

    def as_json(self) -> dict[str, Any]:
        """Return the report as the command line, the task and the API print it."""
        return {
            "dry_run": self.dry_run,
            "found": {str(target): self.found[target] for target in PurgeTarget},
            "purged": {str(target): self.purged[target] for target in PurgeTarget},
            "total": self.total,
            "errors": self.errors,
            "error_count": self.error_count,
            "entries": [entry._asdict() for entry in self.entries],
            "duration_seconds": round(self.duration_seconds, 6),
            **({"skipped": self.skipped} if self.skipped else {}),
        }

    def summary(self) -> str:
        """Return the log line that ends a cycle."""
        duration = f"in {self.duration_seconds:.2f}s"
        if self.dry_run:
            return f"[*] [purge][dry-run] Completed purge cycle {duration}: {self.total} entries found, nothing changed"
        return f"[*] [purge] Completed purge cycle {duration}: {self.total} entries purged"


def log_dead_letters(pool: str, reasons: Iterable[tuple[bytes, str]]) -> None:
    """Log each (VM, reason) that left pending with a dead letter, at the level DEBUG."""
    if _log.isEnabledFor(logging.DEBUG):
        for vm, reason in reasons:
            name = readable(vm)
            about = {"vm": name, "pool": pool, "queue": "pending"}
            _log.debug(_DEAD_LETTER, on_one_line(name), on_one_line(reason), extra=about)
