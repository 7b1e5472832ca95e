"""How often and how soon a provider is asked again."""

ATTEMPTS = 3
"""Times that a provider is asked for the same thing in a row, the first one included."""

SHORTEST_SECONDS, LONGEST_SECONDS = 1.0, 20.0
"""Bounds of the growing pause between two of them, of which a random part is waited."""

MAX_DELIVERIES = 3
"""Times that work is begun whose worker died of it, before it is given up as a dead letter."""

LONGEST_DESTROY_PAUSE = 3600.0


def destroy_pause(attempts: int, lease_seconds: float) -> float:
    """Seconds until a destruction that failed so often is tried again."""
    return float(min(LONGEST_DESTROY_PAUSE, lease_seconds * 2 ** min(attempts - 1, 10)))
