"""A pool that these workers manage or managed: what has to be known of it once no configuration names it any more."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from vmpooler_tasks.model.names import parsed_object
from vmpooler_tasks.model.redaction import redacted

MAX_EPOCH = 1e12
"""No time is as late: such a number is junk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ManagedPool:
    """The record of a pool, written by its inspections.

    `provider`: the name of its section in `:providers:`. `entry`: the pool's entry in the configuration as it was
    written, without secrets. `since`: the epoch of the first inspection that read its inventory.
    """

    name: str
    provider: str
    size: int = 0
    template: str | None = None
    clone_target: str | None = None
    entry: Mapping[str, Any] = field(default_factory=dict)
    since: float = 0.0

    def as_record(self) -> str:
        """Return the text that Redis keeps, without secrets."""
        fields = {
            "provider": self.provider,
            "size": self.size,
            "template": self.template,
            "clone_target": self.clone_target,
            "entry": redacted(dict(self.entry)),
            "since": self.since,
        }
        return json.dumps(fields, ensure_ascii=False, separators=(",", ":"), default=str, sort_keys=True)

    @classmethod
    def from_record(cls, name: str, text: str) -> Self:
        """Return the pool. A field that cannot be read is missing: the pool itself was managed all the same."""
        fields = parsed_object(text)
        size, since, entry = fields.get("size"), fields.get("since"), fields.get("entry")
        return cls(
            name=name,
            provider=_text(fields.get("provider")) or "",
            size=size if isinstance(size, int) and not isinstance(size, bool) else 0,
            template=_text(fields.get("template")),
            clone_target=_text(fields.get("clone_target")),
            entry=entry if isinstance(entry, dict) else {},
            since=float(since) if isinstance(since, int | float) and abs(since) < MAX_EPOCH else 0.0,
        )


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptPool:
    """An operator's order to keep the VMs of a removed pool: the epoch of the order, who gave it, and why ('')."""

    since: float
    who: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RemovedPool:
    """A pool with VMs that no live worker or beat has in its configuration.

    `since`: the epoch since which that was seen without a gap. `kept`: an operator's order to keep its VMs, or None.
    """

    since: float
    kept: KeptPool | None = None
