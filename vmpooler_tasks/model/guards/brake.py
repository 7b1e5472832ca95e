"""The brake of a pool: what an inspection would complete or destroy as unknown or missing is held if it is too much."""

from dataclasses import dataclass
from enum import StrEnum

from vmpooler_tasks.model.timestamps import iso_utc

MIN_HELD = 2
"""So many VMs never engage the brake: a small pool must not be stopped by one stray."""

NO_MAX_PERCENT = 100
"""The value of destroy_max_percent that allows every share."""


class BrakeCause(StrEnum):
    """Why a brake is engaged."""

    STRAYS = "strays"
    """Too many VMs of the inventory are in no queue of any pool."""

    MISSING = "missing"
    """The inventory lacks too many VMs that the queues name."""

    UNMANAGED = "unmanaged"
    """VMs of the inventory are in no queue, and this Redis has no record that the pool was managed before."""

    UNRECORDED = "unrecorded"
    """VMs of the inventory are in no queue and have no metadata: Redis has lost what it knew of them."""


class BrakeDecision(StrEnum):
    """What an inspection may do with strays and with VMs that its inventory lacks."""

    FREE = "free"
    """They are few: complete them."""

    RELEASED = "released"
    """The brake was engaged until now. Its cause is gone."""

    CONFIRMED = "confirmed"
    """They are many, and an operator has confirmed so many."""

    ENGAGED = "engaged"
    """The brake holds them, as before."""

    ENGAGED_NOW = "engaged_now"
    """The brake holds them from now on."""

    EMPTIED = "emptied"
    """Redis was emptied during the inspection: what was read before does not count. Do nothing."""

    @property
    def allows(self) -> bool:
        return self in (BrakeDecision.FREE, BrakeDecision.RELEASED, BrakeDecision.CONFIRMED)


class ConfirmResult(StrEnum):
    """Result of an order to release a brake."""

    CONFIRMED = "confirmed"
    CONFIRMED_ALREADY = "confirmed_already"
    NOT_ENGAGED = "not_engaged"


@dataclass(frozen=True, slots=True, kw_only=True)
class BrakeCounts:
    """What one inspection counted.

    `strays`: VMs of the inventory that are in no queue of any pool. `discovered`: strays of earlier inspections that
    are in the queue of that name. `missing`: VMs that the queues name and the inventory lacks. `known`: the VMs of the
    inventory or those of the pool's queues, whichever are more. `unrecorded`: those of the inventory, among the strays
    and the discovered, that have no metadata. VMs whose destruction has started are not among the first three.
    """

    strays: int
    discovered: int
    missing: int
    known: int
    unrecorded: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Brake:
    """The brake of one pool.

    `since`: the epoch at which it was engaged. `strays`, `missing` and `known` are the VMs that were counted last, as
    in `BrakeCounts`; `strays` includes those that are in discovered. `is_new`: Redis has no record that the pool was
    managed before. `unrecorded`: so many of the strays have no metadata. `limit`: how many VMs engage no brake.
    `confirmed`: so many VMs may be completed, since an operator has confirmed them; None while the brake is engaged.
    """

    pool: str
    since: float
    strays: int = 0
    missing: int = 0
    known: int = 0
    limit: int = 0
    is_new: bool = False
    unrecorded: int = 0
    confirmed: int | None = None

    @property
    def is_engaged(self) -> bool:
        return self.confirmed is None

    @property
    def count(self) -> int:
        """Return how many VMs it holds."""
        return self.strays + self.missing

    @property
    def why(self) -> BrakeCause:
        if self.is_new and self.strays:
            return BrakeCause.UNMANAGED
        if self.unrecorded:
            return BrakeCause.UNRECORDED
        return BrakeCause.STRAYS if self.strays >= self.missing else BrakeCause.MISSING

    @property
    def counts_text(self) -> str:
        """Return what it holds in words: `34 in no queue, 0 missing from the inventory, 36 known`."""
        counts = f"{self.strays} in no queue, {self.missing} missing from the inventory, {self.known} known"
        match self.why:
            case BrakeCause.UNMANAGED:
                return f"{counts}. No record says that the pool was managed before"
            case BrakeCause.UNRECORDED:
                return f"{counts}. Without metadata: {self.unrecorded}. Redis has lost what it knew of them"
            case _:
                return counts

    def text(self, pool: str) -> str:
        """Return the brake in words, with its counts."""
        return f"the brake of pool {pool!r} is engaged since {iso_utc(self.since)}: {self.counts_text}"
