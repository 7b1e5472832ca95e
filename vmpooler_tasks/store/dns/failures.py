"""The failures in a row of each entry of `:dns_configs:`, and its last error. The next success removes them."""

from collections.abc import Mapping

from vmpooler_tasks.model.health.dns_failures import FailingDns
from vmpooler_tasks.model.names import readable
from vmpooler_tasks.store import keys
from vmpooler_tasks.store.redis.connection import Database
from vmpooler_tasks.store.redis.numbers import leading_number, parse_last_error

KEPT_AFTER_FAILURE_SECONDS = 86400
"""How long the failures are kept after the last one, as those of a circuit breaker."""

_COUNT, _ERROR, _ERROR_AT = (b"failures:", b"error:", b"error_at:")
"""The fields of an entry: each of these, followed by its name."""


def count_failure(db: Database, entry: str, error: str, *, now: float) -> None:
    """Count a failed call of the entry, and keep its `error` (one line, without secrets). Raise WrongTypeError."""
    db.run("dns/count_failure", [keys.DNS_FAILURES], [*_fields(entry), repr(now), error, KEPT_AFTER_FAILURE_SECONDS])


def forget(db: Database, entry: str) -> None:
    """Forget the failures of an entry, because a call succeeded. Raise WrongTypeError."""
    db.call("HDEL", keys.DNS_FAILURES, *_fields(entry))


def parse_failures(raw: Mapping[bytes, bytes]) -> dict[str, FailingDns]:
    """Return the entries that fail, by their name, from the fields of the hash."""
    found = {}
    for field, count in raw.items():
        if field.startswith(_COUNT):
            name = field.removeprefix(_COUNT)
            last_error = parse_last_error(raw.get(_ERROR + name), raw.get(_ERROR_AT + name))
            found[readable(name)] = FailingDns(readable(name), leading_number(count), last_error)
    return found


def _fields(entry: str) -> list[bytes]:
    return [field + entry.encode() for field in (_COUNT, _ERROR, _ERROR_AT)]
