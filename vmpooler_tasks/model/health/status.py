"""The health status."""

from enum import IntEnum


class Status(IntEnum):
    """Its number is the metric `health.status` and the exit status of the command (docs/operator-guide.md)."""

    HEALTHY = 0
    DEGRADED = 1
    UNHEALTHY = 2

    def __str__(self) -> str:
        return self.name.lower()
