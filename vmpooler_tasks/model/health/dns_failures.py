"""An entry of `:dns_configs:` whose calls fail again and again."""

from dataclasses import dataclass

from vmpooler_tasks.model.pools.suspension import LastError

MAX_DNS_FAILURES = 2
"""Calls in a row that may fail. Each of them was tried several times, if its error may pass."""


@dataclass(frozen=True, slots=True)
class FailingDns:
    """An entry of `:dns_configs:`, how many calls to its server failed in a row, and the last error."""

    name: str
    failures: int
    last_error: LastError | None = None

    @property
    def is_reported(self) -> bool:
        """Return whether so many calls failed that health reports the entry."""
        return self.failures > MAX_DNS_FAILURES
