"""What can go wrong, by what the caller can do about it. The docstring is the message's first half."""

import os


class VmpoolerTasksError(Exception):
    """vmpooler-tasks failed"""

    exit_status = os.EX_SOFTWARE

    def __str__(self) -> str:
        detail = super().__str__()
        summary = (type(self).__doc__ or "").strip()
        return f"{summary}: {detail}" if detail else summary


class ConfigurationError(VmpoolerTasksError):
    """The configuration is not valid"""

    exit_status = os.EX_CONFIG

    def __init__(self, source: str, problems: list[str]) -> None:
        super().__init__(source, problems)
        self.source = source
        self.problems = problems

    def __str__(self) -> str:
        count = len(self.problems)
        head = f"{count} problem{'s' if count != 1 else ''} in {self.source}"
        return "\n".join([head, *(f"  {problem}" for problem in self.problems)])


class RetryableError(VmpoolerTasksError):
    """Trying again later may succeed"""

    exit_status = os.EX_TEMPFAIL


class StoreUnavailableError(RetryableError):
    """Redis does not answer"""

    exit_status = os.EX_UNAVAILABLE


class StoreDeniedError(StoreUnavailableError):
    """Redis does not let us in"""


class StoreRefusedError(RetryableError):
    """Redis refused a command"""

    exit_status = os.EX_UNAVAILABLE


class WrongTypeError(VmpoolerTasksError):
    """A key in Redis does not hold what it should"""

    exit_status = os.EX_DATAERR


class LockLostError(RetryableError):
    """Another worker took over"""


class InvalidInputError(VmpoolerTasksError):
    """What is asked for cannot be done"""

    exit_status = os.EX_USAGE


class PermanentError(VmpoolerTasksError):
    """Trying again cannot succeed"""


class ProviderError(VmpoolerTasksError):
    """The provider failed

    A provider raises one of the classes below, or a subclass; anything else that it raises is taken for transient,
    unless it is the program's own mistake. The message is kept as it is: it is what an operator searches for.
    """

    def __str__(self) -> str:
        return Exception.__str__(self) or "the provider failed"


class TransientProviderError(ProviderError, RetryableError):
    """The provider may do it later: a connection that broke, a task that lost its host."""


class ThrottledProviderError(TransientProviderError):
    """The provider wants to be asked less often; `retry_after_seconds` is what it named, if it did."""

    def __init__(self, message: str = "", retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class ProviderTimeoutError(TransientProviderError):
    """The provider did not answer in time."""


class SuspendedError(VmpoolerTasksError):
    """The provider failed too often, and is not asked before a pause is over"""


class PermanentProviderError(ProviderError, PermanentError):
    """The provider will never do it as asked: no such template, no permission, wrong configuration."""


class VmNotFoundError(PermanentProviderError):
    """The provider has no such VM. Of one that is looked for or destroyed, this is an answer, and no failure."""
