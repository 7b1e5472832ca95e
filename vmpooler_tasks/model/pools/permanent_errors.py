"""Which errors nobody has to try again. VMPooler's `permanent_error?`: the same messages, the same classes."""

import re

from vmpooler_tasks.errors import PermanentError, TransientProviderError

_MESSAGES = re.compile(  # of a message in small letters
    "template.*(?:not found|does not exist)|invalid.*(?:path|credentials)|(?:folder|datastore|resource pool).*not found"
    "|permission.*denied|authentication.*failed|configuration.*error",
    re.ASCII,
)

PROGRAM_ERRORS = frozenset(
    {
        "ArgumentError",
        "NoMethodError",
        "NameError",  # Ruby's, in letters that VMPooler wrote
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
"""Classes of the program's own mistakes: the second time would be like the first."""


def is_permanent(message: str | None, error_class: str | None) -> bool:
    """By what a letter or a VM's metadata keeps of an error. Nothing is known of one without a class or message."""
    if message is None or error_class is None:
        return False
    return error_class in PROGRAM_ERRORS or _MESSAGES.search(message.casefold()) is not None


def is_permanent_error(error: BaseException) -> bool:
    """By the error itself. A provider that says what kind it is, is believed."""
    if isinstance(error, PermanentError):
        return True
    if isinstance(error, TransientProviderError):
        return False
    return any(is_permanent(str(error), kind.__name__) for kind in type(error).__mro__)
