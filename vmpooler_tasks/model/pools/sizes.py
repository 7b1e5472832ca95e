"""The size of a pool: how many VMs it keeps ready."""

MAX_DIGITS = 9
"""A size from the API with more digits is ignored as a mistake."""


def size_in_effect(size: int, override: str | None) -> int:
    """Return the size that was set through the API if it is a number, else the configured or registered `size`."""
    is_number = override is not None and override.isdecimal() and len(override) <= MAX_DIGITS
    return int(override or 0) if is_number else size
