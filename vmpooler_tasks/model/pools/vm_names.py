"""Names for new VMs: the prefix, an adjective and an animal, as VMPooler builds them."""

import importlib
import random
from collections.abc import Iterator
from functools import cache
from typing import Any

MAX_LENGTH = 15
"""Characters without the prefix: the longest host name that Windows accepts."""


def candidates(prefix: str) -> Iterator[str]:
    """Yield names without end. The scripts that add VMs skip names that are taken."""
    while True:
        name = _generator().generate_slug(2)
        if len(name) <= MAX_LENGTH:
            yield prefix + name


@cache
def _generator() -> Any:
    coolname = importlib.import_module("coolname")  # slow to import, and most commands make no names
    # The system's randomness: with a seeded generator all forked workers would draw the same names.
    return coolname.RandomGenerator(importlib.import_module("coolname.data").config, random.SystemRandom())
