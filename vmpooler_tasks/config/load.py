"""Read VMPooler's own YAML and environment into one valid `Settings`.

VMPOOLER_CONFIG (inline) > VMPOOLER_CONFIG_FILE (path) > ./vmpooler.yaml > defaults; then VMPooler's environment
overrides. Every problem is found before the first is reported.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from vmpooler_tasks.config.checks.pool_problems import find_repeated_pools, find_unmanageable_pools, named_sections
from vmpooler_tasks.config.checks.problems import ENVIRONMENT_VARIABLES, as_lines, find_wrong_addresses
from vmpooler_tasks.config.checks.spelling import find_misspelt_keys
from vmpooler_tasks.config.schema import NESTED_OPTIONS, Options, Settings
from vmpooler_tasks.config.source_text import parse_sections
from vmpooler_tasks.errors import ConfigurationError

DEFAULT_FILE = "vmpooler.yaml"
READ_SECTIONS = ("config", "redis", "pools", "broker_url", "statsd", "graphite", "web", "notify")
"""The sections that are read as they are."""
NO_FILE = "defaults"
"""The source of settings if nothing is named and the folder has no `vmpooler.yaml`."""


def load_settings(environ: Mapping[str, str] = os.environ, file: Path | None = None) -> Settings:
    """Return the settings of this process.

    `file` overrides the files that the environment names. Raise ConfigurationError with every problem at once.
    """
    source, text = _read(environ, file)
    problems: list[str] = []
    data = parse_sections(source, text, problems)
    _merge_extra_files(data, environ, problems)
    _override_from_environment(data, environ)
    problems += [*find_misspelt_keys(data), *find_repeated_pools(data)]
    settings = _validate(source, data, environ, problems)
    problems += find_unmanageable_pools(data)
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


def _merge_extra_files(data: dict[str, Any], environ: Mapping[str, str], problems: list[str]) -> None:
    """Add the files of VMPooler's `extra_config` (joined by commas): values that the main file does not have."""
    config = data.get("config")
    named = environ.get("EXTRA_CONFIG") or (config.get("extra_config") if isinstance(config, dict) else None)
    for name in str(named).split(",") if named else ():
        found: list[str] = []
        try:
            _, text = _read({}, Path(name.strip()))
            _merge(data, parse_sections(name.strip(), text, found))
        except ConfigurationError as error:
            found += error.problems
        problems += [f"extra_config {name.strip()}: {problem}" for problem in found]


def _merge(into: dict[str, Any], extra: dict[str, Any]) -> None:
    for key, value in extra.items():
        if isinstance(into.get(key), dict) and isinstance(value, dict):
            _merge(into[key], value)
        elif isinstance(into.get(key), list) and isinstance(value, list):
            into[key] += [item for item in value if item not in into[key]]
        else:
            into.setdefault(key, value)


def _override_from_environment(data: dict[str, Any], environ: Mapping[str, str]) -> None:
    """Apply environment variables: the name of an option in capitals, as in VMPooler. Ignore empty variables."""
    for name in set(Options.model_fields) - NESTED_OPTIONS:
        _override(data, "config", name, environ.get(name.upper()))
    for section, variables in ENVIRONMENT_VARIABLES.items():
        for variable, name in variables.items():
            _override(data, section, name, environ.get(variable))
    _override(data, "redis", "url", environ.get("REDIS_URL"))
    if environ.get("CELERY_BROKER_URL"):
        data["broker_url"] = environ["CELERY_BROKER_URL"]


def _override(data: dict[str, Any], section: str, name: str, value: str | None) -> None:
    if value and isinstance(data.setdefault(section, {}) or {}, dict):
        data[section] = {**(data[section] or {}), name: value}


def _validate(source: str, data: dict[str, Any], environ: Mapping[str, str], problems: list[str]) -> Settings | None:
    known = {name: data[name] for name in READ_SECTIONS if data.get(name) is not None}
    known["providers"] = {str(name): options or {} for name, options in named_sections(data.get("providers"))}
    known["dns_configs"] = dict(named_sections(data.get("dns_configs")))
    thresholds = known["config"].get("health_thresholds") if isinstance(known.get("config"), dict) else None
    if thresholds is None and isinstance(known.get("config"), dict):
        known["config"] = {k: v for k, v in known["config"].items() if k != "health_thresholds"}
    try:
        settings = Settings.model_validate({**known, "source": source})
    except ValidationError as error:
        problems += as_lines(error.errors(), environ)
        return None
    problems += find_wrong_addresses(settings, environ)
    return settings
