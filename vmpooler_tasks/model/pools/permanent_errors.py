"""Permanent errors: a retry cannot succeed. The messages and classes are those of VMPooler's `permanent_error?`."""

import re

from vmpooler_tasks.errors import PermanentError, TransientProviderError

_MESSAGES = re.compile(  # searched in the case-folded message
    "template.*(?:not found|does not exist)|invalid.*(?:path|credentials)|(?:folder|datastore|resource pool).*not found"
    "|permission.*denied|authentication.*failed|configuration.*error",
    re.ASCII,
)

PROGRAM_ERRORS = frozenset(
    {
        "ArgumentError",
        "NoMethodError",
        "NameError",  # Ruby's, in dead letters that VMPooler wrote
        "AssertionError",
        "AttributeError",
        "ImportError",
        "IndexError",
        "KeyError",
        "ModuleNotFoundError",
        "NotImplementedError",
        "TypeError",
        "UnboundLocalError",
        "ValueError",
    }
)
"""Classes of programming errors. A retry would fail in the same way."""


def is_permanent(message: str | None, error_class: str | None) -> bool:
    """Return True if the message or class of a recorded error is permanent. Return False if either is missing."""
    if message is None or error_class is None:
        return False
    return error_class in PROGRAM_ERRORS or _MESSAGES.search(message.casefold()) is not None


def is_permanent_error(error: BaseException) -> bool:
    """Return True if the error is permanent. A provider's own error class decides first."""
    if isinstance(error, PermanentError):
        return True
    if isinstance(error, TransientProviderError):
        return False
    return any(is_permanent(str(error), kind.__name__) for kind in type(error).__mro__)
