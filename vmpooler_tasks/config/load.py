"""Reads VMPooler's own YAML and environment into one valid `Settings`.

VMPOOLER_CONFIG (inline) > VMPOOLER_CONFIG_FILE (path) > ./vmpooler.yaml > defaults; then VMPooler's environment
overrides. Every problem is found before the first is reported.
"""

import difflib
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from vmpooler_tasks.config import vmpooler_names
from vmpooler_tasks.config.schema import (
    HealthThresholds,
    Options,
    Pool,
    RedisSection,
    Settings,
    is_address,
    without_login,
)
from vmpooler_tasks.errors import ConfigurationError
from vmpooler_tasks.model.redaction import redacted_text

DEFAULT_FILE = "vmpooler.yaml"
NO_FILE = "defaults"
"""The source of settings where nothing is named and no file lies here."""

REDIS_ENVIRONMENT = {
    "REDIS_SERVER": "server",
    "REDIS_PORT": "port",
    "REDIS_PASSWORD": "password",
    "REDIS_DATA_TTL": "data_ttl",
}

# A password that begins with `*`, `!` or `&` is one of these to YAML, whose error would show it.
_YAML_NAME = re.compile(r"(alias|anchor|tag) (['\"]).*?\2")

# How alike two names must be for one to be taken for the other misspelt. Names that we read are long, and a provider's
# own are few; at 0.8 `dlq_enabeld` is caught and `ready_ttl` is not taken for `dlq_ttl`.
ALIKE = 0.8


class _Loader(yaml.SafeLoader):
    """Safe YAML that also reads the plain values behind Ruby's tags (`!ruby/regexp /x/`)."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except ValueError as error:  # the thirteenth month
            what = "a date or number that cannot be read"
            raise yaml.constructor.ConstructorError(None, None, what, node.start_mark) from error


_Loader.add_multi_constructor("!ruby/", lambda loader, _tag, node: _plain(loader, node))


def _plain(loader: yaml.SafeLoader, node: yaml.Node) -> Any:
    if isinstance(node, yaml.MappingNode):
        return loader.construct_mapping(node, deep=True)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    return node.value


def load_settings(environ: Mapping[str, str] = os.environ, file: Path | None = None) -> Settings:
    """The settings that this process runs with.

    `file` stands above what the environment names. Raises ConfigurationError with every problem at once.
    """
    source, text = _read(environ, file)
    problems: list[str] = []
    data = _parse(source, text, problems)
    _merge_extra_files(data, environ, problems)
    _override_from_environment(data, environ)
    problems += [*_misspelt(data), *_named_twice(data)]
    settings = _validate(source, data, problems)
    if settings is None or problems:
        raise ConfigurationError(source, problems)
    return settings


def _read(environ: Mapping[str, str], file: Path | None) -> tuple[str, str]:
    if file is None and environ.get("VMPOOLER_CONFIG"):
        return "VMPOOLER_CONFIG", environ["VMPOOLER_CONFIG"]
    named = file or environ.get("VMPOOLER_CONFIG_FILE")
    path = Path(named or DEFAULT_FILE)
    if not named and not path.exists():
        return NO_FILE, ""
    try:
        return str(path), path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(str(path), [f"cannot be read: {error.strerror}"]) from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(str(path), [f"is not UTF-8: {error.reason} at byte {error.start}"]) from error


def _parse(source: str, text: str, problems: list[str]) -> dict[str, Any]:
    try:
        data = yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        what = _YAML_NAME.sub(r"\1", error.problem or "is not valid YAML")
        raise ConfigurationError(source, [f"{where}{what}"]) from error
    except yaml.YAMLError as error:
        raise ConfigurationError(source, [f"is not valid YAML: {' '.join(str(error).split())}"]) from error
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise ConfigurationError(source, [f"must hold sections such as :config:, not {redacted_text(repr(data)):.40}"])
    plain: dict[str, Any] = _without_colons(data, "", problems)
    return plain


def _without_colons(value: Any, path: str, problems: list[str]) -> Any:
    """Ruby's symbol keys (`:config:`) as plain ones; both spellings of one key are a problem."""
    if isinstance(value, list):
        return [_without_colons(item, f"{path}[{index}]", problems) for index, item in enumerate(value)]
    if not isinstance(value, dict):
        return value
    plain: dict[str, Any] = {}
    for key, inner in value.items():
        name = str(key).removeprefix(":")
        where = f"{path}.{name}" if path else name
        if name in plain:
            problems.append(f"{where}: given twice, with and without a colon")
        plain[name] = _without_colons(inner, where, problems)
    return plain


def _merge_extra_files(data: dict[str, Any], environ: Mapping[str, str], problems: list[str]) -> None:
    """VMPooler's `extra_config`: comma-joined files whose values come in where the main file has none."""
    config = data.get("config")
    named = environ.get("EXTRA_CONFIG") or (config.get("extra_config") if isinstance(config, dict) else None)
    for name in str(named).split(",") if named else ():
        try:
            _, text = _read({}, Path(name.strip()))
            _merge(data, _parse(name.strip(), text, problems))
        except ConfigurationError as error:
            problems += [f"extra_config {error.source}: {problem}" for problem in error.problems]


def _merge(into: dict[str, Any], extra: dict[str, Any]) -> None:
    for key, value in extra.items():
        if isinstance(into.get(key), dict) and isinstance(value, dict):
            _merge(into[key], value)
        elif isinstance(into.get(key), list) and isinstance(value, list):
            into[key] += [item for item in value if item not in into[key]]
        else:
            into.setdefault(key, value)


def _override_from_environment(data: dict[str, Any], environ: Mapping[str, str]) -> None:
    """An option's name in capitals, as VMPooler does it; an empty variable counts as not set."""
    for name in set(Options.model_fields) - {"health_thresholds"}:
        _override(data, "config", name, environ.get(name.upper()))
    for variable, name in REDIS_ENVIRONMENT.items():
        _override(data, "redis", name, environ.get(variable))
    _override(data, "redis", "url", environ.get("REDIS_URL"))
    if environ.get("CELERY_BROKER_URL"):
        data["broker_url"] = environ["CELERY_BROKER_URL"]


def _override(data: dict[str, Any], section: str, name: str, value: str | None) -> None:
    if value and isinstance(data.setdefault(section, {}) or {}, dict):
        data[section] = {**(data[section] or {}), name: value}


def _misspelt(data: dict[str, Any]) -> Iterator[str]:
    yield from _nearest("", data, set(), vmpooler_names.SECTIONS | {"broker_url"}, known_are_ours=True)
    yield from _nearest("config.", data.get("config"), Options.model_fields, vmpooler_names.OPTIONS)
    yield from _nearest("redis.", data.get("redis"), RedisSection.model_fields, vmpooler_names.REDIS)
    pools = data.get("pools")
    for index, pool in enumerate(pools if isinstance(pools, list) else ()):
        yield from _nearest(f"pools[{index}].", pool, Pool.model_fields, vmpooler_names.OPTIONS)


def _named_twice(data: dict[str, Any]) -> Iterator[str]:
    """Looked for before the values are validated, so that it is told together with their problems."""
    pools, seen = data.get("pools"), set[str]()
    for index, pool in enumerate(pools if isinstance(pools, list) else ()):
        name = pool.get("name") if isinstance(pool, dict) else None
        if isinstance(name, str) and name in seen:
            yield f"pools[{index}].name: {name!r} is the name of an earlier pool"
        seen.add(str(name))


def _nearest(
    path: str, section: Any, ours: Iterable[str], theirs: Iterable[str], *, known_are_ours: bool = False
) -> Iterator[str]:
    """A line for each key that is nobody's but looks like one of ours; a key like none is left to its owner."""
    known = set(ours) | set(theirs)
    for key in section if isinstance(section, dict) else ():
        candidates = sorted(known if known_are_ours else ours)
        alike = () if key in known else difflib.get_close_matches(key, candidates, n=1, cutoff=ALIKE)
        if alike:
            yield f"{path}{key}: unknown option; did you mean {alike[0]}?"


def _validate(source: str, data: dict[str, Any], problems: list[str]) -> Settings | None:
    known = {name: data[name] for name in ("config", "redis", "pools", "broker_url") if data.get(name) is not None}
    thresholds = known["config"].get("health_thresholds") if isinstance(known.get("config"), dict) else None
    if thresholds is None and isinstance(known.get("config"), dict):
        known["config"] = {k: v for k, v in known["config"].items() if k != "health_thresholds"}
    try:
        settings = Settings.model_validate({**known, "source": source})
    except ValidationError as error:
        problems += [_problem(detail) for detail in error.errors()]
        return None
    problems += _addresses(settings)
    return settings


def _problem(detail: Any) -> str:
    """One line: the path, the value as given (never a secret's), and what is allowed."""
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in detail["loc"]).lstrip(".")
    if detail["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(detail["loc"][-1]), HealthThresholds.model_fields, n=1)
        return f"{path}: unknown option" + (f"; did you mean {near[0]}?" if near else "")
    if detail["type"] == "missing":
        return f"{path}: is missing"
    message = (
        detail["msg"].removeprefix("Value error, ").removeprefix("Input ").replace("valid boolean", "true or false")
    )
    secret = path == "redis" or any(word in path for word in ("password", "url"))
    given = "" if secret or "blank" in message else f" {redacted_text(repr(detail['input'])):.60}"
    return f"{path}:{given} {message.split(', unable')[0]}".replace("should be", "must be")


def _addresses(settings: Settings) -> Iterator[str]:
    yield from _address_problems("REDIS_URL", settings.redis.location)
    if settings.broker_url:
        yield from _address_problems("CELERY_BROKER_URL", settings.broker_location)


def _address_problems(what: str, url: str) -> Iterator[str]:
    if not url.startswith(("redis://", "rediss://", "sentinel://", "unix://", "redis+socket://")):
        yield f"{what}: {without_login(url)!r} must begin with redis:// or rediss://"
    elif url.startswith("redis") and not is_address(url):
        yield f"{what}: {without_login(url)!r} is not an address; encode a password's special characters as %2F"
