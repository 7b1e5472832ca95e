"""How often and how soon provider calls are retried."""

MIN_PAUSE_SECONDS, MAX_PAUSE_SECONDS = 1.0, 20.0
"""Bounds of the pause between two attempts. The pause grows; a random share of it is waited."""

MAX_DELIVERIES = 3
"""Deliveries that may start a clone. If the worker dies in each of them, the clone becomes a dead letter."""

MAX_DESTROY_PAUSE_SECONDS = 3600.0


def destroy_pause(attempts: int, lease_seconds: float) -> float:
    """Return the seconds until the next attempt of a destruction that failed `attempts` times."""
    return float(min(MAX_DESTROY_PAUSE_SECONDS, lease_seconds * 2 ** min(attempts - 1, 10)))
