"""Turns the errors of the system into those that the workers know."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from vmpooler_tasks.errors import PermanentProviderError, TransientProviderError

PERMANENT = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG, errno.EINVAL}
"""Errors that a repeated call has as well. A full disk is not one of them: another VM may be destroyed meanwhile."""


@contextmanager
def translated_errors() -> Iterator[None]:
    """Raise a ProviderError instead of an OSError. Its text is the system's, without the name of the VM."""
    try:
        yield
    except OSError as error:
        kind = PermanentProviderError if error.errno in PERMANENT else TransientProviderError
        raise kind(error.strerror or type(error).__name__) from error
