"""Orders for one running VM: a disk, a snapshot, a revert. docs/vmpooler-behaviour.md: Disks and snapshots."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from vmpooler_tasks.model.names import readable
from vmpooler_tasks.model.pools.lifecycle import Step
from vmpooler_tasks.model.redrive import Lineage, read_lineage

MAX_DISK_GB = 65_536
"""The largest disk that is ordered from a provider: 64 TiB, the maximum of the large hypervisors."""

MAX_NAME_CHARACTERS = 255
"""The longest name of a VM or a snapshot in an order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderSpec:
    """One kind of order.

    `argument`: the name of what follows the VM in the order, which is also the argument of its task. `starts_once`: the
    order destroys data, so that it is never repeated without a person who confirms it.
    """

    argument: str
    starts_once: bool = False


ORDERS: Mapping[Step, OrderSpec] = {
    Step.CREATE_DISK: OrderSpec(argument="size"),
    Step.CREATE_SNAPSHOT: OrderSpec(argument="snapshot"),
    Step.REVERT_SNAPSHOT: OrderSpec(argument="snapshot", starts_once=True),
}
"""Every kind of order, by the step that carries it out."""


class OrderClaim(StrEnum):
    """Result of an attempt to claim an order."""

    CLAIMED = "claimed"
    GONE = "gone"
    """It was carried out or refused before."""

    BUSY = "busy"
    """A worker carries out this order, or another order for the same VM."""

    NOT_RUNNING = "not_running"
    """Its VM is not running."""

    INTERRUPTED = "interrupted"
    """Its worker was lost after the start, and it must not start twice."""

    EXHAUSTED = "exhausted"
    """Every allowed attempt started it, and none finished it."""


class OrderResult(StrEnum):
    """Result of one run of an order's task that raised no error."""

    DONE = "done"
    GONE = "gone"
    BUSY = "busy"
    SUSPENDED = "suspended"
    """The circuit breaker suspends the provider. The order waits."""

    UNKNOWN_POOL = "unknown_pool"
    """This worker does not have the VM's pool in its configuration. The order waits for another worker."""

    LOST = "lost"
    """Another worker took the order over."""


@dataclass(frozen=True, slots=True)
class VmOrder:
    """An order: the `value` is the size of a disk as the user wrote it, or the name of a snapshot."""

    step: Step
    vm: str
    value: str

    @classmethod
    def parse(cls, step: Step, raw: bytes) -> Self:
        """Return the order of a member of VMPooler's set. Raise ValueError with the reason if it is not valid."""
        try:
            text = raw.decode()
        except UnicodeDecodeError:
            raise ValueError("the order is not valid UTF-8") from None
        vm, colon, value = text.partition(":")
        argument = ORDERS[step].argument
        if not colon or ":" in value:
            raise ValueError(f"the order is not of the form vm:{argument}")
        order = cls(step, vm, value)
        order.validate()
        return order

    def validate(self) -> None:
        """Raise ValueError with the reason if no provider can carry out this order."""
        argument = ORDERS[self.step].argument
        for what, text in (("the name of the VM", self.vm), (f"the {argument}", self.value)):
            if not text.strip():
                raise ValueError(f"{what} is empty")
            if len(text) > MAX_NAME_CHARACTERS:
                raise ValueError(f"{what} has {len(text)} characters, more than {MAX_NAME_CHARACTERS}")
            if not text.isprintable() or ":" in text:
                raise ValueError(f"{what} contains a character that is not allowed")
        if self.step is Step.CREATE_DISK:
            self._validate_size()

    def _validate_size(self) -> None:
        size = size_in_gb(self.value)
        if size is None:
            raise ValueError(f"the size {self.value!r} is not a number of gigabytes")
        if not 0 < size <= MAX_DISK_GB:
            raise ValueError(f"the size has to be from 1 to {MAX_DISK_GB} GB, not {size}")

    @property
    def member(self) -> str:
        """Return the order as VMPooler's API writes it."""
        return f"{self.vm}:{self.value}"

    @property
    def key(self) -> str:
        """Return a text that no order of another kind has."""
        return order_key(self.step, self.member.encode()).decode()

    @property
    def size_gb(self) -> int:
        """Return the size of the disk that is ordered."""
        return size_in_gb(self.value) or 0


def order_key(step: Step, member: bytes) -> bytes:
    """Return the text by which our own keys know an order."""
    return b"%b %b" % (step.encode(), member)


def parse_order_key(raw: bytes) -> tuple[Step, bytes]:
    """Return the kind of an order and its member. Raise ValueError for another text."""
    step, _, member = raw.partition(b" ")
    return Step(readable(step)), member


_RUBY_INTEGER = re.compile(r"\s*([+-]?\d+(?:_\d+)*)", re.ASCII)


def size_in_gb(text: str) -> int | None:
    """Return the number at the start of the text, as Ruby's `to_i` reads it for VMPooler; None if there is none."""
    found = _RUBY_INTEGER.match(text)
    return int(found[1].replace("_", "")) if found else None


def origin_text(order_id: str, lineage: Lineage) -> str:
    """Return what a redriven order carries: its id in the provider, and the dead letter that it comes from."""
    return json.dumps({"order": order_id, **lineage.as_fields()})


def read_origin(text: str) -> tuple[str, Lineage | None]:
    """Return (id of the order, its lineage) of such a text; ("", None) for an order that was not redriven."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return "", None
    return (str(found.get("order") or ""), read_lineage(found)) if isinstance(found, dict) else ("", None)
