"""Foreign VMs: VMs of an inventory that are in no queue, and that do not have the mark of this installation."""

from dataclasses import dataclass

from vmpooler_tasks.model.names import names_text

MAX_FOREIGN_NAMES = 10
"""Names that the record of a pool holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignVms:
    """The foreign VMs of one pool, as its last inspection found them.

    `names`: the first MAX_FOREIGN_NAMES of them. `since`: the epoch at which the first of all was seen first.
    """

    pool: str
    count: int
    names: tuple[str, ...]
    since: float

    @property
    def names_text(self) -> str:
        """Return their names: `db-1, db-2 and 3 more`."""
        return names_text(self.names, self.count)
