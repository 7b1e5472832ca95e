"""Every error, grouped by what the caller can do. The docstring of a class is the first half of its message."""

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


class ServersUnavailableError(ConfigurationError):
    """The configuration is valid, but servers that it names do not reply"""

    exit_status = os.EX_UNAVAILABLE


class RetryableError(VmpoolerTasksError):
    """Trying again later may succeed"""

    exit_status = os.EX_TEMPFAIL


class StoreUnavailableError(RetryableError):
    """Redis does not reply"""

    exit_status = os.EX_UNAVAILABLE


class StoreDeniedError(StoreUnavailableError):
    """Redis denies access"""


class SentinelsDeniedError(StoreDeniedError):
    """The Sentinels deny access"""


class StoreRefusedError(RetryableError):
    """Redis refused a command"""

    exit_status = os.EX_UNAVAILABLE


class WrongTypeError(VmpoolerTasksError):
    """A key in Redis has the wrong type"""

    exit_status = os.EX_DATAERR


class TooManyChecksError(RetryableError):
    """Too many passwords are checked at once"""


class LockLostError(RetryableError):
    """Another worker took over"""


class InvalidInputError(VmpoolerTasksError):
    """The input is not valid"""

    exit_status = os.EX_USAGE


class DeliveryError(RetryableError):
    """A target did not take a notification. The message is shown as it is."""

    def __str__(self) -> str:
        return Exception.__str__(self)


class ManagerOffError(VmpoolerTasksError):
    """manage_pools is off"""

    exit_status = os.EX_CONFIG


class ObserveOnlyError(VmpoolerTasksError):
    """Refused, because observe_only is on and this would change keys of VMPooler"""

    exit_status = os.EX_USAGE


class PermanentError(VmpoolerTasksError):
    """Trying again cannot succeed"""


class ProviderError(VmpoolerTasksError):
    """The provider failed

    A provider raises one of the classes below, or a subclass. Any other exception counts as transient, unless it is a
    programming error. The message is kept unchanged, because operators search for it.
    """

    def __str__(self) -> str:
        return Exception.__str__(self) or "the provider failed"


class TransientProviderError(ProviderError, RetryableError):
    """The provider may succeed later: a broken connection, a task that lost its host."""


class ThrottledProviderError(TransientProviderError):
    """The provider limits the rate of calls. `retry_after_seconds` is the pause that it named, if any."""

    def __init__(self, message: str = "", retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class ProviderTimeoutError(TransientProviderError):
    """The provider did not answer in time."""


class SuspendedError(VmpoolerTasksError):
    """The provider is suspended after failures"""


class PermanentProviderError(ProviderError, PermanentError):
    """The provider cannot do it: no such template, no permission, wrong configuration."""


class VmNotFoundError(PermanentProviderError):
    """The provider has no such VM. For `find_vm` and `destroy_vm` this is a result and not a failure."""


class DnsError(ProviderError):
    """DNS failed

    A DNS plugin raises one of the classes below. Any other exception counts as transient, unless it is a programming
    error.
    """


class TransientDnsError(DnsError, TransientProviderError):
    """The DNS server may succeed later: it does not reply, or it is overloaded."""


class PermanentDnsError(DnsError, PermanentProviderError):
    """The DNS server cannot do it: no such zone, no permission, a wrong key."""


class RecordTakenError(DnsError):
    """The DNS name of the new VM is taken. The next attempt uses another name"""
