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


class InvalidOrderError(VmpoolerTasksError):
    """What is asked for cannot be done"""

    exit_status = os.EX_USAGE
