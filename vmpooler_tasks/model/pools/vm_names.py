"""Names for new VMs: the prefix, and an adjective with an animal that are at most 15 characters long."""

import random
from collections.abc import Iterator
from functools import cache
from typing import Any, cast

from coolname import RandomGenerator
from coolname.data import config as words

LONGEST = 15
"""Characters before the prefix is added: what Windows takes for a host's name."""


def candidates(prefix: str) -> Iterator[str]:
    """Names without end. Which of them are free is for the store to say."""
    while True:
        name = _generator().generate_slug(2)
        if len(name) <= LONGEST:
            yield prefix + name


@cache
def _generator() -> RandomGenerator:
    # The system's randomness: forked workers would all go through the same names.
    return RandomGenerator(cast("Any", words), random.SystemRandom())
