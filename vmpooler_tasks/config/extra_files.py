"""Read the file that the environment names, and add the files of `extra_config` as VMPooler does."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from vmpooler_tasks.config.source_text import parse_sections
from vmpooler_tasks.errors import ConfigurationError

DEFAULT_FILE = "vmpooler.yaml"
NO_FILE = "defaults"
"""The source of settings if nothing is named and the folder has no `vmpooler.yaml`."""


def read_source(environ: Mapping[str, str], file: Path | None) -> tuple[str, str]:
    """Return the name of the source and its text. Raise ConfigurationError if a file cannot be read."""
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
    except ValueError as error:  # a null byte
        raise ConfigurationError(ascii(str(path)), [f"cannot be read: {error}"]) from error


def merge_extra_files(data: dict[str, Any], environ: Mapping[str, str], problems: list[str]) -> None:
    """Add the values of the files of `extra_config` that the main file does not have, and the items of lists."""
    config = data.get("config")
    written = environ.get("EXTRA_CONFIG") or (config.get("extra_config") if isinstance(config, dict) else None)
    for name in _file_names(written, problems):
        found: list[str] = []
        try:
            _, text = read_source({}, Path(name))
            _merge(data, parse_sections(name, text, found))
        except ConfigurationError as error:
            found += error.problems
        problems += [f"extra_config {name}: {problem}" for problem in found]


def _file_names(written: Any, problems: list[str]) -> Iterator[str]:
    """Yield the names of a text, joined by commas, or of a list."""
    names = [part for one in written for part in str(one).split(",")] if isinstance(written, list) else None
    if isinstance(written, str):
        names = written.split(",")
    if names is None and written is not None:
        problems.append("config.extra_config: must be the names of files, joined by commas, or a list of them")
    yield from (name.strip() for name in names or () if name.strip())


def _merge(into: dict[str, Any], extra: dict[str, Any]) -> None:
    """Merge by the rules of VMPooler (`deep_merge` in `lib/vmpooler.rb`): a blank or false value counts as missing."""
    for key, value in extra.items():
        if isinstance(into.get(key), dict) and isinstance(value, dict):
            _merge(into[key], value)
        elif isinstance(into.get(key), list) and isinstance(value, list):
            into[key] += [item for item in value if item not in into[key]]
        elif into.get(key) is None or into[key] is False:
            into[key] = value
