"""On-demand requests: what is asked for, and the clones that it takes. Both are VMPooler's texts."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class RequestStatus(StrEnum):
    """`status` of a request; one without any is still to be filled."""

    READY = "ready"
    FAILED = "failed"
    DELETED = "deleted"


@dataclass(frozen=True, slots=True)
class Wanted:
    """So many VMs of one pool, asked for by one of its names. An alias may hold colons, a pool does not."""

    alias: str
    pool: str
    count: int

    def __str__(self) -> str:
        return f"{self.alias}:{self.pool}:{self.count}"


@dataclass(frozen=True, slots=True)
class CloneItem:
    """Clones that are still to be started for a request: a member of `vmpooler__odcreate__task`."""

    wanted: Wanted
    request_id: str

    def __str__(self) -> str:
        return f"{self.wanted}:{self.request_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestRetry:
    """What to do for the request that a failed VM was made for: `item` goes back, unless it is failed for `reason`."""

    request_id: bytes = b""
    item: str = ""
    permanent: bool = False
    most_retries: int = 0
    reason: str = ""


def parse_requested(text: str) -> tuple[Wanted, ...]:
    """`alias:pool:count[,…]`; what is asked for twice is one, of as many. Raises ValueError for anything else."""
    counts: dict[tuple[str, str], int] = {}
    for part in map(_wanted, text.split(",")):
        counts[part.alias, part.pool] = counts.get((part.alias, part.pool), 0) + part.count
    return tuple(Wanted(alias, pool, count) for (alias, pool), count in counts.items())


def parse_item(text: str) -> CloneItem:
    """`alias:pool:count:request`. Raises ValueError for anything else."""
    wanted, _, request_id = text.rpartition(":")
    if not request_id or not _is_utf_8(request_id):
        raise ValueError(f"{text!r} names no request")
    return CloneItem(_wanted(wanted), request_id)


def _wanted(text: str) -> Wanted:
    parts = text.rsplit(":", 2)
    if len(parts) != 3 or not parts[1] or not parts[2].isdecimal():  # noqa: PLR2004 - alias, pool, count
        raise ValueError(f"{text!r} is not alias:pool:count")
    if not _is_utf_8(text):
        raise ValueError(f"{text!r} is no UTF-8")
    return Wanted(parts[0], parts[1], int(parts[2]))


def _is_utf_8(text: str) -> bool:
    """Bytes that are none were decoded to lone surrogates, which no key can be made of."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def total(wanted: Iterable[Wanted]) -> int:
    return sum(part.count for part in wanted)
