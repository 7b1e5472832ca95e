"""Turn pydantic's errors into one line each: the path, the value as given, and the allowed values."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from vmpooler_tasks.config.checks.secrets import is_secret
from vmpooler_tasks.config.checks.spelling import THRESHOLD_NAMES, explain_unknown_key
from vmpooler_tasks.config.redis_address import address_problems, without_login
from vmpooler_tasks.config.schema import Settings, as_yaml
from vmpooler_tasks.config.services import Credential, NotifySection, NotifyTarget, WebSection
from vmpooler_tasks.config.types import YEAR
from vmpooler_tasks.model.redaction import redacted_text

ENVIRONMENT_VARIABLES = {
    "redis": {
        "REDIS_SERVER": "server",
        "REDIS_PORT": "port",
        "REDIS_PASSWORD": "password",
        "REDIS_DATA_TTL": "data_ttl",
    },
    "statsd": {"STATSD_SERVER": "server", "STATSD_PORT": "port", "STATSD_PREFIX": "prefix"},
    "graphite": {"GRAPHITE_SERVER": "server", "GRAPHITE_PORT": "port", "GRAPHITE_PREFIX": "prefix"},
    "web": {
        "WEB_HOST": "host",
        "WEB_PORT": "port",
        "WEB_USERS": "users",
        "WEB_TOKENS": "tokens",
        "WEB_TLS_CERTIFICATE": "tls_certificate",
        "WEB_TLS_KEY": "tls_key",
        "WEB_HOSTS": "hosts",
        "FORWARDED_ALLOW_IPS": "proxies",  # as uvicorn and gunicorn name it
        "WEB_PROXIES": "proxies",
        "WEB_FLOWER": "flower",
    },
    "notify": {"NOTIFY_WEB": "web", "NOTIFY_TARGETS": "targets"},
}
"""Section → variable → option. For `:config:` a variable is the name of the option in capitals."""

_NAMES = {
    "web": frozenset(WebSection.model_fields) | frozenset(Credential.model_fields),
    "notify": frozenset(NotifySection.model_fields) | frozenset(NotifyTarget.model_fields),
    "config": THRESHOLD_NAMES,
}
"""Section → its names, where a name that is unknown is always an error."""

_SECTION = "must be a section of options"
_NUMBER = "must be a number"
_WHOLE = "must be a whole number"
_SWITCH = "must be true or false"
_LIST = "must be a list"
_TEXT = "must be text: put it in quotes"

# pydantic's type of an error → our text, with the bound from its context.
_EXPLANATIONS = {
    "bool_parsing": _SWITCH,
    "bool_type": _SWITCH,
    "dict_type": _SECTION,
    "enum": "must be {expected}",
    "float_parsing": _NUMBER,
    "float_type": _NUMBER,
    "greater_than": "must be greater than {gt}",
    "greater_than_equal": "must be greater than or equal to {ge}",
    "int_from_float": _WHOLE,
    "int_parsing": _WHOLE,
    "int_parsing_size": _WHOLE,
    "int_type": _WHOLE,
    "less_than_equal": "must be less than or equal to {le}",
    "list_type": _LIST,
    "missing": "is missing",
    "model_attributes_type": _SECTION,
    "model_type": _SECTION,
    "string_type": _TEXT,
    "too_short": "must have at least {min_length} characters",
    "tuple_type": _LIST,
}


def as_lines(details: Iterable[Any], environ: Mapping[str, str]) -> list[str]:
    """Return one line for each of pydantic's errors."""
    return [_as_line(detail, environ) for detail in details]


def _as_line(detail: Any, environ: Mapping[str, str]) -> str:
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in detail["loc"]).lstrip(".")
    if detail["type"] == "extra_forbidden":
        here = _NAMES.get(str(detail["loc"][0]), frozenset())
        return f"{path}: {explain_unknown_key(str(detail['loc'][-1]), here, similarity=0.6) or 'unknown option'}"
    explanation = _explain(detail)
    source = _variable_of(path, environ)
    named = f" (from {source})" if source else ""
    return f"{path}:{_value_text(path, detail, explanation)} {explanation}{named}"


def _explain(detail: Any) -> str:
    context = detail.get("ctx", {})
    bounds = {name: _bound_text(context[name]) for name in ("gt", "ge", "le", "min_length") if name in context}
    if detail["type"] in _EXPLANATIONS:
        expected = str(context.get("expected", "")).replace("'", "")
        return _EXPLANATIONS[detail["type"]].format(**bounds, expected=expected)
    return str(detail["msg"].removeprefix("Value error, "))


def _bound_text(value: float) -> str:
    """Return the bound as text; a large number of seconds also in years."""
    years = float(value) / YEAR
    return f"{as_yaml(value)} ({years:.0f} years)" if years >= 1 and years.is_integer() else as_yaml(value)


def _value_text(path: str, detail: Any, explanation: str) -> str:
    """Return the value with a leading space; "" if it may be a secret or is missing."""
    hidden = path in ("redis", "web", "notify") or is_secret(path)
    absent = detail["type"] == "missing" or "blank" in explanation
    return "" if hidden or absent else f" {redacted_text(repr(detail['input'])):.60}"


def _variable_of(path: str, environ: Mapping[str, str]) -> str | None:
    """Return the environment variable that gave the value, None if it came from a file."""
    section, _, name = path.partition(".")
    option = name.partition("[")[0]
    if section in ENVIRONMENT_VARIABLES:
        candidates = [variable for variable, field in ENVIRONMENT_VARIABLES[section].items() if field == option]
    else:
        candidates = [option.upper()] if section == "config" and option != "health_thresholds" else []
    return next((variable for variable in candidates if environ.get(variable)), None)


def find_wrong_addresses(settings: Settings, environ: Mapping[str, str]) -> Iterator[str]:
    """Yield the problems of the addresses, each under the name of its option or variable."""
    redis = settings.redis
    if redis.url is not None:
        what = "REDIS_URL" if environ.get("REDIS_URL") else "redis.url"
        yield from (f"{what}: {problem}" for problem in address_problems(redis.location))
    elif set(redis.server) & set("/@?# \t\r\n") or any(address_problems(redis.location)):
        what = "REDIS_SERVER" if environ.get("REDIS_SERVER") else "redis.server"
        yield f"{what}: {without_login(redis.server)!r} is not a host name or an address"
    if settings.broker_url:
        what = "CELERY_BROKER_URL" if environ.get("CELERY_BROKER_URL") else "broker_url"
        yield from (f"{what}: {problem}" for problem in address_problems(settings.broker_location))
