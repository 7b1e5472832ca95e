"""What the environment decides about all scenarios: the seed, and how often they do what they do."""

import os

SEED = int(os.environ.get("CHAOS_SEED", "20240115"))
FACTOR = float(os.environ.get("CHAOS_FACTOR", "1"))


def times(count: int) -> int:
    """Return how often something is done that CI does so many times."""
    return max(1, round(count * FACTOR))
