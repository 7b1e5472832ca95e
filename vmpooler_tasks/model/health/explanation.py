"""A reason that was found: what it is about, and its texts with that filled in."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from vmpooler_tasks.model.health.reasons import REASONS, ReasonCode, ReasonText, kind_of_reason
from vmpooler_tasks.model.health.status import Status
from vmpooler_tasks.model.names import on_one_line, shell_word
from vmpooler_tasks.model.redaction import redacted_text
from vmpooler_tasks.model.timestamps import time_ago, time_ahead

ABOUT_FIELDS = ("pool", "queue", "provider", "host", "key", "error", "error_at", "next_attempt_at")
"""The fields that say what a reason is about, all of them text. JSON leaves out those that are None, but for `pool`."""

MAX_ERROR_CHARACTERS = 200


def error_line(text: str) -> str:
    """Return an error as a reason shows it: on one line, without secrets, cut to MAX_ERROR_CHARACTERS."""
    line = on_one_line(redacted_text(text))
    return line if len(line) <= MAX_ERROR_CHARACTERS else f"{line[: MAX_ERROR_CHARACTERS - 1]}…"


@dataclass(frozen=True, slots=True)
class HealthReason:
    """A measure beyond its threshold, and what it is about: a pool, a queue, a provider, a host or a key.

    `code` is a `ReasonCode`, or any text where another version or VMPooler wrote it. `host`: a worker, a beat or a
    machine. `key`: a key in Redis, an option, or an entry of `:dns_configs:`. `error`: the last error, as `error_line`
    returns it. `error_at`: when it occurred. `next_attempt_at`: when the next attempt is. Both are as
    `2024-01-15T10:30:00Z`.
    """

    code: str
    severity: Status
    measured: float
    threshold: float
    pool: str | None = None
    queue: str | None = None
    provider: str | None = None
    host: str | None = None
    key: str | None = None
    error: str | None = None
    error_at: str | None = None
    next_attempt_at: str | None = None

    def as_json(self) -> dict[str, Any]:
        return {
            "code": str(self.code),
            "severity": str(self.severity),
            "measured": _rounded(self.measured),
            "threshold": _rounded(self.threshold),
            "pool": self.pool,
            **{name: value for name, value in self.about().items() if name != "pool"},
        }

    def about(self) -> dict[str, str]:
        """Return what the reason is about, by the name of the field, without the fields that are None."""
        return {name: value for name in ABOUT_FIELDS if (value := getattr(self, name)) is not None}


def default_reason(code: ReasonCode, measured: float, threshold: float = 0, **about: str) -> HealthReason:
    """Return a reason with the severity that the table gives its code. `about`: the fields of ABOUT_FIELDS."""
    return HealthReason(code, REASONS[code].severity, measured, threshold, **about)


def explain(reason: HealthReason, now: float | None = None) -> tuple[str, str]:
    """Return what was found and what to do, each on one line. A command in backticks has names as words of the shell.

    With `now` (an epoch) times are relative (`12 s ago`), without it absolute.
    """
    kind = kind_of_reason(reason.code)
    values = {**dict.fromkeys(ABOUT_FIELDS), **reason.as_json(), **_timed_texts(reason, now)}
    text: ReasonText = kind
    if kind.if_negative is not None and reason.measured < 0:
        text, values["measured"] = kind.if_negative, -values["measured"]
    elif kind.if_key is not None and reason.key is not None:
        text = kind.if_key
    words = {name: shell_word(value) if isinstance(value, str) else value for name, value in values.items()}
    parts = enumerate(text.remedy.split("`"))
    remedy = "`".join(part.format(**(words if place % 2 else values)) for place, part in parts)
    return on_one_line(text.found.format(**values)), on_one_line(remedy)


def _timed_texts(reason: HealthReason, now: float | None) -> dict[str, str]:
    """Return the sentences about the last error, the next attempt, the last process and what was seen last."""
    last = "The last error is not known"
    if reason.error is not None:
        when = f" {time_ago(reason.error_at, now)}" if reason.error_at else ""
        last = f"Last error{when}: {reason.error.rstrip('.')}"
    upcoming = f"Next attempt {time_ahead(reason.next_attempt_at, now)}" if reason.next_attempt_at else ""
    last_process = f". The last one was {reason.host}" if reason.host else ""
    last_seen = f". Last seen: {reason.error}" if reason.error else ""
    return {"last_error": last, "next_attempt": upcoming, "last_process": last_process, "last_seen": last_seen}


def runbook_path(code: str) -> str:
    """Return the address of the code's section in the runbooks that the web process serves."""
    return f"/runbooks#{quote(code, safe='')}"


def _rounded(number: float) -> float:
    return int(number) if float(number).is_integer() else round(number, 3)
