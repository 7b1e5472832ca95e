"""The options of the dummy in `:providers:`. Rates are between 0 (never) and 1 (always)."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from vmpooler_tasks.config.redis_address import address_problems
from vmpooler_tasks.config.vmpooler.options import is_ignored_by_dummy

Operation = Literal["create", "destroy", "ready", "list", "find", "disk", "snapshot", "revert"]

Kind = Literal["transient", "permanent", "throttled", "hang"]

YEAR_SECONDS = 365 * 24 * 3600
"""Maximum of each wait."""


def _as_span(value: Any) -> tuple[float, float]:
    ends = value if isinstance(value, list | tuple) else (value, value)
    numbers = [end for end in ends if isinstance(end, int | float) and not isinstance(end, bool)]
    if len(ends) != 2 or len(numbers) != 2 or not 0 <= numbers[0] <= numbers[1] <= YEAR_SECONDS:  # noqa: PLR2004
        raise ValueError("must be a number of seconds, 0 or more, or two of them: [minimum, maximum]")
    return numbers[0], numbers[1]


def _checked_address(value: str | None) -> str | None:
    for problem in address_problems(value) if value is not None else ():
        raise ValueError(problem)
    return value


# Strict, because in Python true equals 1.
Rate = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False, strict=True)]
Seconds = Annotated[float, Field(ge=0, le=YEAR_SECONDS, allow_inf_nan=False, strict=True)]
Span = Annotated[tuple[float, float], BeforeValidator(_as_span)]
"""Minimum and maximum seconds. Each value is drawn evenly between them."""

Address = Annotated[str | None, AfterValidator(_checked_address)]
"""An address of Redis, in the form of REDIS_URL."""


class DummySection(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FailureRates(DummySection):
    """How often one operation fails, by kind. The sum is at most 1."""

    transient: Rate = 0
    permanent: Rate = 0
    throttled: Rate = 0
    hang: Rate = 0

    @model_validator(mode="after")
    def _sum_is_at_most_one(self) -> Self:
        if sum(self.rates().values()) > 1 + 1e-9:  # three times a third in floating point
            raise ValueError("must not add up to more than 1")
        return self

    def rates(self) -> Mapping[Kind, float]:
        return {
            "transient": self.transient,
            "permanent": self.permanent,
            "throttled": self.throttled,
            "hang": self.hang,
        }


class OperationFailureRates(DummySection):
    create: FailureRates = FailureRates()
    destroy: FailureRates = FailureRates()
    ready: FailureRates = FailureRates()
    list: FailureRates = FailureRates()
    find: FailureRates = FailureRates()
    disk: FailureRates = FailureRates()
    snapshot: FailureRates = FailureRates()
    revert: FailureRates = FailureRates()

    def of(self, operation: Operation) -> FailureRates:
        found: FailureRates = getattr(self, operation)
        return found


class DummyOptions(DummySection):
    """The section of the dummy. Options of VMPooler's own dummy are accepted and ignored; `config check` names them."""

    provider_class: str | None = Field(None, description="read by the registry")
    skip_dns_check_before_creating_vm: bool | None = Field(None, description="read by the pool workers")
    redis_url: Address = Field(None, repr=False, description="the Redis of its VMs; None: that of VMPooler")
    seed: int = Field(1, strict=True, description="the same seed gives the same course of events")
    clone_seconds: Span = Field((0, 0), description="how long a clone takes")
    boot_seconds: Span = Field((0, 0), description="how long a new VM is not ready")
    destroy_seconds: Span = Field((0, 0), description="how long a destruction takes, also of a VM that does not exist")
    list_seconds: Span = Field((0, 0), description="how long an inventory takes")
    disk_seconds: Span = Field((0, 0), description="how long it takes to add a disk")
    snapshot_seconds: Span = Field((0, 0), description="how long a snapshot takes")
    revert_seconds: Span = Field((0, 0), description="how long a revert to a snapshot takes")
    hang_seconds: Seconds = Field(3600, description="how long an operation hangs before it is carried out")
    failures: OperationFailureRates = Field(OperationFailureRates(), description="operation → kind → rate")
    half_inventory: Rate = Field(0, description="how often an inventory breaks off half-way")
    no_ip: Rate = Field(0, description="VMs that never get an address")
    wrong_hostname: Rate = Field(0, description="VMs that report a wrong hostname")
    unreachable: Rate = Field(0, description="VMs that are never ready")
    lost: Rate = Field(0, description="VMs that disappear from the inventory")
    lost_after_seconds: Seconds = Field(60, description="how long after their clone they disappear")
    templates: tuple[str, ...] | None = Field(None, description="the existing templates; None: any")

    @model_validator(mode="before")
    @classmethod
    def _drop_options_of_vmpoolers_dummy(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        return {name: value for name, value in data.items() if not is_ignored_by_dummy(str(name))}

    def is_random(self, operation: Operation) -> bool:
        """Return whether the result of this operation is random, apart from its duration."""
        chances = {
            "create": (self.no_ip, self.wrong_hostname, self.unreachable, self.lost),
            "list": (self.half_inventory,),
        }
        return any((*self.failures.of(operation).rates().values(), *chances.get(operation, ())))
