"""The inventory of a pool, with what its marks say of each VM."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolInventory:
    """The VMs of a pool that its provider has.

    `names`: all. `own`: those with the mark of this installation. `unmarked`: those without any mark.
    """

    names: frozenset[bytes]
    own: frozenset[bytes]
    unmarked: frozenset[bytes]

    @classmethod
    def of(cls, marks: Mapping[str, str | None], installation: str) -> Self:
        """Return the inventory that a provider listed as name → mark. `installation`: the mark of this one."""
        return cls(
            names=frozenset(vm.encode() for vm in marks),
            own=frozenset(vm.encode() for vm, mark in marks.items() if mark == installation),
            unmarked=frozenset(vm.encode() for vm, mark in marks.items() if mark is None),
        )
