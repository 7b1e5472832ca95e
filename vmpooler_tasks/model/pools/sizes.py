"""How many VMs a pool shall have ready."""

MAX_DIGITS = 9
"""Of a size that is set through the API; one of more is a mistake."""


def size_in_effect(size: int, override: str | None) -> int:
    """Return the size that was set through the API if it is a number, else the configured or registered `size`."""
    is_number = override is not None and override.isdecimal() and len(override) <= MAX_DIGITS
    return int(override or 0) if is_number else size
