"""Fields of a hash as the arguments of a script."""

from collections.abc import Mapping
from typing import Any


def field_words(fields: Mapping[str, Any]) -> list[Any]:
    """Field, value, field, value, …; absent values are left out."""
    return [word for name, value in fields.items() if value is not None for word in (name, value)]


def counted_words(fields: Mapping[str, Any]) -> list[Any]:
    """The same behind their count, as `words_from` in pools/clone_start.lua reads them."""
    words = field_words(fields)
    return [len(words), *words]
