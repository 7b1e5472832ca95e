"""Fields of a hash as the arguments of a script."""

from collections.abc import Mapping
from typing import Any


def field_words(fields: Mapping[str, Any]) -> list[Any]:
    """Return field, value, field, value, …; fields without a value are omitted."""
    return [word for name, value in fields.items() if value is not None for word in (name, value)]


def counted_words(fields: Mapping[str, Any]) -> list[Any]:
    """Return the same words behind their count, as `counted_words` in pools/add_clones.lua reads them."""
    words = field_words(fields)
    return [len(words), *words]
