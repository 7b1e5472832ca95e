"""The options of the dummy in `:providers:`. Rates are between 0 (never) and 1 (always)."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

Operation = Literal["create", "destroy", "ready", "list", "find"]

Kind = Literal["transient", "permanent", "throttled", "hang"]

YEAR_SECONDS = 365 * 24 * 3600
"""Maximum of each wait."""


def _as_span(value: Any) -> tuple[float, float]:
    ends = value if isinstance(value, list | tuple) else (value, value)
    numbers = [end for end in ends if isinstance(end, int | float) and not isinstance(end, bool)]
    if len(ends) != 2 or len(numbers) != 2 or not 0 <= numbers[0] <= numbers[1] <= YEAR_SECONDS:  # noqa: PLR2004
        raise ValueError("must be a number of seconds, 0 or more, or two of them: [least, most]")
    return numbers[0], numbers[1]


# Strict, because in Python true equals 1.
Rate = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False, strict=True)]
Seconds = Annotated[float, Field(ge=0, le=YEAR_SECONDS, allow_inf_nan=False, strict=True)]
Span = Annotated[tuple[float, float], BeforeValidator(_as_span)]
"""Minimum and maximum seconds. Each value is drawn evenly between them."""


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Failures(Section):
    """How often one operation fails, by kind. The sum is at most 1."""

    transient: Rate = 0
    permanent: Rate = 0
    throttled: Rate = 0
    hang: Rate = 0

    @model_validator(mode="after")
    def _no_more_than_always(self) -> Self:
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


class OperationFailures(Section):
    create: Failures = Failures()
    destroy: Failures = Failures()
    ready: Failures = Failures()
    list: Failures = Failures()
    find: Failures = Failures()

    def of(self, operation: Operation) -> Failures:
        found: Failures = getattr(self, operation)
        return found


class Options(Section):
    provider_class: str | None = Field(None, description="read by the registry")
    seed: int = Field(1, strict=True, description="another seed, another course of events; the same, the same")
    clone_seconds: Span = Field((0, 0), description="how long it takes to make a VM")
    boot_seconds: Span = Field((0, 0), description="how long after it was made a VM is not ready")
    destroy_seconds: Span = Field(
        (0, 0), description="how long it takes to destroy a VM, or to find that there is none"
    )
    list_seconds: Span = Field((0, 0), description="how long it takes to read a pool's inventory")
    hang_seconds: Seconds = Field(3600, description="how long an operation hangs, before it is done after all")
    failures: OperationFailures = Field(OperationFailures(), description="operation → kind → rate")
    half_inventory: Rate = Field(0, description="how often reading the inventory breaks off half-way")
    no_ip: Rate = Field(0, description="VMs that never get an address")
    wrong_hostname: Rate = Field(0, description="VMs that call themselves something else")
    unreachable: Rate = Field(0, description="VMs that are never ready")
    lost: Rate = Field(0, description="VMs that vanish from the inventory by themselves")
    lost_after_seconds: Seconds = Field(60, description="how long after they were made they do")
    templates: tuple[str, ...] | None = Field(None, description="all templates that there are; None: any")

    def draws(self, operation: Operation) -> bool:
        """Return whether the result of this operation is random, apart from its duration."""
        chances = {
            "create": (self.no_ip, self.wrong_hostname, self.unreachable, self.lost),
            "list": (self.half_inventory,),
        }
        return any((*self.failures.of(operation).rates().values(), *chances.get(operation, ())))
