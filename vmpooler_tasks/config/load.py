"""Read VMPooler's own YAML and environment into one valid `Settings`.

VMPOOLER_CONFIG (inline) > VMPOOLER_CONFIG_FILE (path) > ./vmpooler.yaml > defaults; then VMPooler's environment
overrides. Every problem is found before the first is reported.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from vmpooler_tasks.config.checks.dns import find_wrong_entries, find_wrong_plugins
from vmpooler_tasks.config.checks.odd_names import find_awkward_names, find_odd_names
from vmpooler_tasks.config.checks.placeholders import find_placeholders
from vmpooler_tasks.config.checks.pool_problems import (
    find_repeated_pools,
    find_unmanageable_pools,
    manages_pools,
    move_old_vsphere_section,
    named_sections,
)
from vmpooler_tasks.config.checks.problems import ENVIRONMENT_VARIABLES, as_lines, find_wrong_addresses
from vmpooler_tasks.config.checks.spelling import find_misspelt_keys, find_repeated_elsewhere, find_unknown_options
from vmpooler_tasks.config.checks.unused import find_unused
from vmpooler_tasks.config.extra_files import merge_extra_files, read_source
from vmpooler_tasks.config.schema import NESTED_OPTIONS, Options, Settings
from vmpooler_tasks.config.source_text import parse_sections
from vmpooler_tasks.errors import ConfigurationError

READ_SECTIONS = ("config", "redis", "pools", "broker_url", "statsd", "graphite", "web", "notify")
"""The sections that are read as they are."""


def load_settings(environ: Mapping[str, str] = os.environ, file: Path | None = None) -> Settings:
    """Return the settings of this process.

    `file` overrides the files that the environment names. Raise ConfigurationError with every problem at once.
    """
    source, text = read_source(environ, file)
    problems: list[str] = []
    data = parse_sections(source, text, problems)
    merge_extra_files(data, environ, problems)
    _override_from_environment(data, environ)
    warnings = [*move_old_vsphere_section(data), *find_repeated_elsewhere(data)]
    problems += [*find_misspelt_keys(data), *find_repeated_pools(data)]
    settings = _validate(source, data, environ, problems)
    _sort_findings(data, problems, warnings)
    if settings is None or problems:
        raise ConfigurationError(source, problems)
    unused = tuple(find_unused(data, environ))
    return settings.model_copy(update={"warnings": tuple(warnings), "unused": unused})


def _sort_findings(data: dict[str, Any], problems: list[str], warnings: list[str]) -> None:
    """Add what prevents the pools from being managed to the problems, if they are, else to the warnings."""
    odd, plugins = list(find_odd_names(data)), list(find_wrong_plugins(data))
    if manages_pools(data):
        problems += [*find_unmanageable_pools(data), *odd, *(f"{path}: {wrong}" for path, wrong in plugins)]
    else:  # VMPooler makes the VMs
        warnings += [*odd, *(f"{path}: has no effect: {wrong}" for path, wrong in plugins)]
    warnings += [*find_wrong_entries(data), *find_placeholders(data)]
    warnings += [*find_awkward_names(data), *find_unknown_options(data)]


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
