"""Find unknown keys that are similar to an option: misspelt or misplaced. Without this, the default would apply."""

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from vmpooler_tasks.config.pools import Pool
from vmpooler_tasks.config.schema import HealthThresholds, Options, RedisSection, as_yaml
from vmpooler_tasks.config.services import GraphiteSection, StatsdSection
from vmpooler_tasks.config.source_text import CHECKED_SECTIONS
from vmpooler_tasks.config.vmpooler import names as vmpooler_names
from vmpooler_tasks.config.vmpooler.options import why_without_effect

# How similar two names must be for one to count as the other misspelt. The names of options are long, and those of
# providers are few: at 0.8 `dlq_enabeld` is found, and `ready_ttl` does not count as `dlq_ttl`.
MIN_SIMILARITY = 0.8

OPTION_NAMES = frozenset(Options.model_fields)
COMMON_NAMES = frozenset({"timeout", "prefix", "domain"})
"""Options whose names have another meaning in other sections."""
VMPOOLER_POOL_NAMES = (
    (vmpooler_names.VMPOOLER_OPTIONS - OPTION_NAMES) | COMMON_NAMES | vmpooler_names.VMPOOLER_POOL_OPTIONS
)
"""VMPooler's own names in a pool. Nobody reads an option of `:config:` there."""

MIN_POOL_SIMILARITY = 0.75
"""The names of a pool are short: `sise` is found as `size`."""
PROVIDER_POOL_NAMES = frozenset(
    {"create_linked_clone", "site", "vmname", "template_id", "template_name", "template_path"}
)
"""Options that a provider may read from a pool, and that are similar to a name of a pool by chance."""

THRESHOLD_NAMES = frozenset(HealthThresholds.model_fields)

# Where a name belongs that nobody else uses. `server`, `size` or `name` can be in the section of any provider.
PLACES = {
    **dict.fromkeys(OPTION_NAMES - COMMON_NAMES, ":config:"),
    **dict.fromkeys(THRESHOLD_NAMES, "health_thresholds: in :config:"),
    "data_ttl": ":redis:",
}


@dataclass(frozen=True, slots=True)
class _UnknownKey:
    path: str
    key: str
    here: frozenset[str]
    """Names that are options in its section."""
    similarity: float = MIN_SIMILARITY


def find_misspelt_keys(data: dict[str, Any]) -> Iterator[str]:
    """Yield a line for each such key. Ignore keys that are not similar to an option."""
    for unknown in _unknown_keys(data):
        path, key = unknown.path, unknown.key
        if path in ("config.", "redis.") and key in CHECKED_SECTIONS:  # indented by mistake
            yield f"{path}{key}: is not an option; :{key}: is a separate section and must not be indented"
        elif value_in_place(data, key) is None and (
            meant := explain_unknown_key(key, unknown.here, unknown.similarity)
        ):
            yield f"{path}{key}: {meant}"


def find_repeated_elsewhere(data: dict[str, Any]) -> Iterator[str]:
    """Yield a warning for each misplaced option that the file also has in its right place, where it counts."""
    for unknown in _unknown_keys(data):
        if (value := value_in_place(data, unknown.key)) is not None:
            yield f"{unknown.path}{unknown.key}: has no effect here; under {PLACES[unknown.key]} it is {value:.60}"


def find_unknown_options(data: dict[str, Any]) -> Iterator[str]:
    """Yield a warning for each option of `:config:` and `:redis:` that neither VMPooler nor these workers read."""
    for unknown in _unknown_keys(data):
        place = unknown.path.removesuffix(".")
        if place not in ("config", "redis") or value_in_place(data, unknown.key) is not None:
            continue
        if unknown.key in vmpooler_names.SECTIONS:
            yield f"{unknown.path}{unknown.key}: has no effect: :{unknown.key}: is a section and must not be indented"
        elif not why_without_effect(place, unknown.key):
            yield f"{unknown.path}{unknown.key}: has no effect: neither VMPooler nor these workers know this option"


def value_in_place(data: dict[str, Any], key: str) -> str | None:
    """Return the value that an option of another section has in its right place; None if it is not there."""
    section = data.get("redis" if PLACES.get(key) == ":redis:" else "config")
    if key in THRESHOLD_NAMES and isinstance(section, dict):
        section = section.get("health_thresholds")
    value = section.get(key) if key in PLACES and isinstance(section, dict) else None
    return None if value is None else as_yaml(value)


def _unknown_keys(data: dict[str, Any]) -> Iterator[_UnknownKey]:
    sections = vmpooler_names.SECTIONS | {"broker_url", "web", "notify"}
    yield from _unknown_in("", data, sections, frozenset())
    yield from _unknown_in("config.", data.get("config"), OPTION_NAMES, vmpooler_names.VMPOOLER_OPTIONS)
    yield from _unknown_in(
        "redis.", data.get("redis"), frozenset(RedisSection.model_fields), vmpooler_names.VMPOOLER_REDIS_OPTIONS
    )
    for name, section in (("statsd", StatsdSection), ("graphite", GraphiteSection)):
        yield from _unknown_in(f"{name}.", data.get(name), frozenset(section.model_fields), frozenset())
    pools = data.get("pools")
    theirs = VMPOOLER_POOL_NAMES | PROVIDER_POOL_NAMES
    for index, pool in enumerate(pools if isinstance(pools, list) else ()):
        yield from _unknown_in(f"pools[{index}].", pool, frozenset(Pool.model_fields), theirs, MIN_POOL_SIMILARITY)


def _unknown_in(
    path: str, section: Any, ours: frozenset[str], theirs: frozenset[str], similarity: float = MIN_SIMILARITY
) -> Iterator[_UnknownKey]:
    for key in section if isinstance(section, dict) else ():
        if key not in ours | theirs:
            yield _UnknownKey(path, key, ours, similarity)


def explain_unknown_key(key: str, here: frozenset[str], similarity: float = MIN_SIMILARITY) -> str | None:
    """Return what an unknown key probably means, given the names `here`; None if no name is similar."""
    lower = key.lower()
    if lower in here:
        return f"unknown option; did you mean {lower}?"
    if lower in PLACES:
        return f"is not an option here; {lower} belongs under {PLACES[lower]}"
    longer = [name for name in here & PLACES.keys() if lower.startswith(f"{name}_")]  # `dlq_ttl_hours`
    near = [max(longer, key=len)] if longer else difflib.get_close_matches(lower, sorted(here), n=1, cutoff=similarity)
    if near:
        return f"unknown option; did you mean {near[0]}?"
    elsewhere = [name for name in PLACES if lower.startswith(f"{name}_")]
    elsewhere = elsewhere or difflib.get_close_matches(
        lower, sorted(PLACES), n=1, cutoff=max(similarity, MIN_SIMILARITY)
    )
    if elsewhere:
        name = max(elsewhere, key=len)
        return f"unknown option; did you mean {name}, which belongs under {PLACES[name]}?"
    return None
