"""Read the health status back from `vmpooler__health`. VMPooler writes this key, too: no value is trusted."""

import json
import math
from typing import Any

from vmpooler_tasks.model.health.explanation import ABOUT_FIELDS, HealthReason
from vmpooler_tasks.model.health.status import Status


def parse_reason(data: Any) -> HealthReason:
    """Return the reason that `HealthReason.as_json` made this from. Raises ValueError."""
    try:
        measured, threshold = float(data["measured"]), float(data["threshold"])
        severity = Status[data["severity"].upper()]
        code, about = data["code"], {name: data.get(name) for name in ABOUT_FIELDS}
    except (AttributeError, IndexError, KeyError, OverflowError, TypeError) as error:
        raise ValueError(f"not a health reason: {data!r}") from error
    has_texts = isinstance(code, str) and all(isinstance(text, str | None) for text in about.values())
    if not (has_texts and math.isfinite(measured) and math.isfinite(threshold)):
        raise ValueError(f"not a health reason: {data!r}")
    return HealthReason(code, severity, measured, threshold, **about)


def parse_reasons(text: str) -> tuple[HealthReason, ...]:
    """Return the reasons in `vmpooler__health`. Raises ValueError."""
    found = _parse_json(text)
    if not isinstance(found, list):
        raise ValueError("not a list of health reasons")  # noqa: TRY004 - of the value, whatever its type
    return tuple(parse_reason(reason) for reason in found)


def parse_metrics(text: str) -> dict[str, Any]:
    """Return the metrics in `vmpooler__health`, nested as in `HealthMetrics.as_json`; parts may be missing.

    Raises ValueError for another structure.
    """
    found = _parse_json(text)
    queues = found.get("queues", {}) if isinstance(found, dict) else None
    if not isinstance(queues, dict) or not all(isinstance(part, dict) for part in (*found.values(), *queues.values())):
        raise ValueError("the metrics have another structure")
    if not all(isinstance(count, int | float) for count in found.get("errors", {}).values()):
        raise ValueError("a count in the metrics is not a number")
    return dict(found)


def _parse_json(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise ValueError("nested too deep") from error


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not valid JSON")
