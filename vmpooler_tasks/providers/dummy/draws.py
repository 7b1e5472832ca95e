"""Repeatable random decisions: for a test that must be repeatable, and for two workers that share a VM."""

from dataclasses import dataclass
from hashlib import blake2b


@dataclass(frozen=True, slots=True)
class Draws:
    """What is drawn in one call depends on these four and on what it is for, on nothing else.

    `name` is the VM's or the pool's; `ordinal` counts such calls, so that what failed may succeed when tried again.
    """

    seed: int
    operation: str
    name: str
    ordinal: int

    def fraction(self, purpose: str) -> float:
        """Return a number from 0 to below 1, evenly distributed."""
        text = f"{self.seed}\0{self.operation}\0{purpose}\0{self.name}\0{self.ordinal}"
        # 48 bits: a float holds them exactly, so that it is never rounded up to 1.
        return int.from_bytes(blake2b(text.encode(), digest_size=6).digest()) / 2**48

    def hits(self, purpose: str, rate: float) -> bool:
        return rate > 0 and self.fraction(purpose) < rate

    def seconds(self, purpose: str, span: tuple[float, float]) -> float:
        shortest, longest = span
        return shortest if shortest == longest else shortest + (longest - shortest) * self.fraction(purpose)
