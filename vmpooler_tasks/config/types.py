"""The types of option values, and what each type refuses."""

import difflib
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr

from vmpooler_tasks.model.remote_control import ALIASES, CHOICES


def _refuse_blank(value: Any) -> Any:
    # YAML reads `dlq_ttl:` without a value as null. VMPooler's health check fails on it.
    if value is None or value == "":
        raise ValueError("is blank: give a value, or remove the line for the default")
    return value


def _refuse_switch(value: Any) -> Any:
    # In Python true equals 1: `purge_interval: yes` would run a purge every second.
    if isinstance(value, bool):
        raise ValueError("must be a number")  # noqa: TRY004 - pydantic collects these
    return _refuse_blank(value)


def _unless_false(value: Any) -> Any:
    """Return False for `false` alone, as VMPooler does: any other value switches nothing off."""
    return str(value).strip().lower() != "false"


def as_text(value: Any) -> Any:
    """Return a number as the text that was written: YAML reads `password: 12345` as a number, VMPooler as text."""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _as_texts(value: Any) -> Any:
    """Return a list: one alias becomes a list of one, a blank one an empty list."""
    if value is None:
        return ()
    one = as_text(value)
    return (one,) if isinstance(one, str) else value


def _as_commands(value: Any) -> Any:
    """Return the choices of a list, or of text with commas as in an environment variable; false is the empty list."""
    if value is None or value == "":
        raise ValueError("is blank: give a value, or remove the line for the default")
    if value is False or str(value).strip().lower() in ("false", "none", "off"):
        return ()
    return tuple(one.strip() for one in value.split(",")) if isinstance(value, str) else value


def _as_choice(value: str) -> str:
    name = ALIASES.get(value, value)
    if name not in CHOICES:
        near = difflib.get_close_matches(name, CHOICES, n=1, cutoff=0.6)
        meant = f", did you mean {near[0]}?" if near else ""
        raise ValueError(f"is no command of remote control that may be permitted{meant} ({', '.join(sorted(CHOICES))})")
    return name


YEAR = 365 * 24 * 3600

# The upper bounds come from Celery's timedeltas, from Redis' expiries, and from sums that must stay finite.
NotBlank = BeforeValidator(_refuse_blank)
Number = BeforeValidator(_refuse_switch)
Age = Annotated[float, Number, Field(gt=0, le=100 * YEAR, allow_inf_nan=False)]
Interval = Annotated[float, Number, Field(ge=0.1, le=10 * YEAR, allow_inf_nan=False)]
Minutes = Annotated[float, Number, Field(gt=0, le=10_000_000, allow_inf_nan=False)]
MinutesOrZero = Annotated[float, Number, Field(ge=0, le=10_000_000, allow_inf_nan=False)]
MinutesOrNever = Annotated[float, Number, Field(ge=0, le=10_000_000, allow_inf_nan=False)]
Hours = Annotated[float, Number, Field(gt=0, le=1_000_000, allow_inf_nan=False)]
HoursOrNever = Annotated[float, Number, Field(ge=0, le=1_000_000, allow_inf_nan=False)]
Threshold = Annotated[float, Number, Field(ge=0, le=1_000_000_000, allow_inf_nan=False)]
StuckAge = Annotated[float, Number, Field(ge=0, le=100 * YEAR, allow_inf_nan=False)]
Count = Annotated[int, Number, Field(ge=0, le=1_000_000)]
AtLeastOne = Annotated[int, Number, Field(ge=1, le=1_000_000)]
Weights = Annotated[
    Mapping[Annotated[str, BeforeValidator(as_text)], Annotated[float, Number, Field(ge=0, le=1_000_000)]],
    BeforeValidator(lambda value: {} if value is None else value),
]
Switch = Annotated[bool, NotBlank]
UnlessFalse = Annotated[bool, BeforeValidator(_unless_false)]
Text = Annotated[str, BeforeValidator(as_text)]
Texts = Annotated[tuple[Text, ...], BeforeValidator(_as_texts)]
RemoteCommands = Annotated[tuple[Annotated[str, AfterValidator(_as_choice)], ...], BeforeValidator(_as_commands)]
Secret = Annotated[SecretStr, BeforeValidator(as_text)]


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")
