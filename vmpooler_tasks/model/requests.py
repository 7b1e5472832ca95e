"""On-demand requests: the VMs that they ask for, and the queued clones. VMPooler defines both text formats."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from random import Random


class RequestStatus(StrEnum):
    """Final `status` of a request. A request without one of these is still open."""

    READY = "ready"
    FAILED = "failed"
    DELETED = "deleted"


class RequestStage(StrEnum):
    """Stage of an open request."""

    WAITING = "waiting"
    FILLING = "filling"


class RequestOutcome(StrEnum):
    """Effect of a failed VM on its request."""

    NONE = "none"
    """The VM had no request, or its request is closed."""

    RETRIED = "retried"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Wanted:
    """One part of a request: `count` VMs of a pool, by the name that the user typed.

    The name may be an alias and may hold colons. A pool's name holds none.
    """

    alias: str
    pool: str
    count: int

    def __str__(self) -> str:
        return f"{self.alias}:{self.pool}:{self.count}"


@dataclass(frozen=True, slots=True)
class CloneItem:
    """Clones that a request still needs: one member of `vmpooler__odcreate__task`."""

    wanted: Wanted
    request_id: str

    def __str__(self) -> str:
        return f"{self.wanted}:{self.request_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestRetry:
    """How a failed VM's request goes on. `item` is queued again, or the request fails for `reason`.

    A permanent error, or more than `max_retries`, fails the request. An empty `item` means that the VM has no request.
    """

    request_id: bytes = b""
    item: str = ""
    permanent: bool = False
    max_retries: int = 0
    reason: str = ""


def parse_requested(text: str) -> tuple[Wanted, ...]:
    """Parse `alias:pool:count[,…]`. Equal parts become one with the sum of their counts. Raise ValueError otherwise.

    An empty text asks for nothing.
    """
    counts: dict[tuple[str, str], int] = {}
    for part in map(_wanted, text.split(",") if text else ()):
        counts[part.alias, part.pool] = counts.get((part.alias, part.pool), 0) + part.count
    return tuple(Wanted(alias, pool, count) for (alias, pool), count in counts.items())


def parse_item(text: str) -> CloneItem:
    """Parse `alias:pool:count:request`. Raise ValueError for any other text."""
    wanted, _, request_id = text.rpartition(":")
    if not request_id or not _is_utf_8(request_id):
        raise ValueError(f"{text!r} names no request")
    return CloneItem(_wanted(wanted), request_id)


def _wanted(text: str) -> Wanted:
    parts = text.rsplit(":", 2)
    if len(parts) != 3 or not parts[1] or not parts[2].isdecimal():  # noqa: PLR2004 - alias, pool, count
        raise ValueError(f"{text!r} is not alias:pool:count")
    if not _is_utf_8(text):
        raise ValueError(f"{text!r} is not valid UTF-8")
    return Wanted(parts[0], parts[1], int(parts[2]))


def _is_utf_8(text: str) -> bool:
    """Return False for text with lone surrogates, to which bytes that are not UTF-8 were decoded."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def total(wanted: Iterable[Wanted]) -> int:
    """Return the number of VMs that all parts ask for."""
    return sum(part.count for part in wanted)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancellation:
    """The effect of a cancellation. `completed`: the VMs of the request that were moved to completed.

    `status_before` is "" for a request that was open, and is cancelled now; "gone" if there was none; else a
    RequestStatus: the request was closed already, and nothing changed.
    """

    status_before: str
    completed: tuple[str, ...] = ()

    @property
    def is_cancelled(self) -> bool:
        return not self.status_before


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestPart:
    """One part of a request and how far it is. `queued`: clones that have not started; `cloning`: those that have."""

    wanted: Wanted
    delivered: int
    queued: int
    cloning: int

    def as_json(self) -> dict[str, str | int]:
        return {
            "name": self.wanted.alias,
            "pool": self.wanted.pool,
            "count": self.wanted.count,
            "delivered": self.delivered,
            "queued": self.queued,
            "cloning": self.cloning,
        }


def part_of(wanted: Wanted, *, delivered: int, queued: int, is_filling: bool) -> RequestPart:
    """Return a part of a request. Of an open request, what is neither delivered nor queued is being cloned."""
    queued = min(queued, wanted.count)
    cloning = max(0, wanted.count - delivered - queued) if is_filling else 0
    return RequestPart(wanted=wanted, delivered=delivered, queued=queued, cloning=cloning)


@dataclass(frozen=True, slots=True, kw_only=True)
class Obstacles:
    """What keeps clones of requests from starting: pool → reason, and whether all slots for clones are in use."""

    by_pool: Mapping[str, str]
    has_free_slots: bool
    max_clones: int


def waits_for(stage: RequestStage, parts: Sequence[RequestPart], obstacles: Obstacles, *, manages: bool) -> list[str]:
    """Return what an open request waits for, one text for each thing. `manages`: these workers manage the pools."""
    if stage is RequestStage.WAITING:
        return ["a worker has to accept it" if manages else "VMPooler's manager has to accept it"]
    texts = []
    for part in parts:
        count, pool = part.wanted.count, part.wanted.pool
        if part.cloning:
            texts.append(f"{_share(part.cloning, count)} of {pool}: cloning")
        if part.queued:
            texts.append(f"{_share(part.queued, count)} of {pool}: {_hold(pool, obstacles)}")
    return texts or ["all VMs are delivered: a worker has to mark it ready"]


def _share(some: int, count: int) -> str:
    return f"{some} of {count} VMs" if count > 1 else "1 VM"


def _hold(pool: str, obstacles: Obstacles) -> str:
    if pool in obstacles.by_pool:
        return obstacles.by_pool[pool]
    if not obstacles.has_free_slots:
        return f"{obstacles.max_clones} clones for requests run already (ondemand_clone_limit)"
    return "clones start within seconds"


def draw_pools(pools: Sequence[str], weights: Mapping[str, float], count: int, dice: Random) -> list[tuple[str, int]]:
    """Return (pool, number of VMs) for `count` VMs of an alias, in the order in which the pools were drawn.

    `weights` maps pools to the weights of their clone targets. They count if there is more than one pool and each has a
    weight; otherwise each VM's pool is drawn with equal chances. VMPooler: `evaluate_template_aliases` and
    `get_pool_weights` in lib/vmpooler/api/v3.rb.
    """
    has_weights = len(pools) > 1 and all(pool in weights for pool in pools) and sum(weights.values()) > 0
    drawn = dice.choices(pools, [weights[pool] for pool in pools] if has_weights else None, k=count)
    return list(Counter(drawn).items())
