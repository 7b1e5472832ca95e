"""Find unknown keys that are similar to an option: misspelt or misplaced. Without this, the default would apply."""

import difflib
from collections.abc import Iterator
from typing import Any

from vmpooler_tasks.config.pools import Pool
from vmpooler_tasks.config.schema import HealthThresholds, Options, RedisSection
from vmpooler_tasks.config.services import GraphiteSection, StatsdSection
from vmpooler_tasks.config.source_text import CHECKED_SECTIONS
from vmpooler_tasks.config.vmpooler import names as vmpooler_names

# How similar two names must be for one to count as the other misspelt. The names of options are long, and those of
# providers are few: at 0.8 `dlq_enabeld` is found, and `ready_ttl` does not count as `dlq_ttl`.
MIN_SIMILARITY = 0.8

OPTION_NAMES = frozenset(Options.model_fields)
COMMON_NAMES = frozenset({"timeout", "prefix", "domain"})
"""Options whose names have another meaning in other sections."""
VMPOOLER_POOL_NAMES = (vmpooler_names.VMPOOLER_OPTIONS - OPTION_NAMES) | COMMON_NAMES | {"check_loop_delay_min"}
"""VMPooler's own names in a pool. Nobody reads an option of `:config:` there."""

MIN_POOL_SIMILARITY = 0.75
"""The names of a pool are short: `sise` is found as `size`."""
PROVIDER_POOL_NAMES = frozenset({"site", "vmname", "template_id", "template_name", "template_path"})
"""Options that a provider may read from a pool, and that are similar to a name of a pool by chance."""

THRESHOLD_NAMES = frozenset(HealthThresholds.model_fields)

# Where a name belongs that nobody else uses. `server`, `size` or `name` can be in the section of any provider.
PLACES = {
    **dict.fromkeys(OPTION_NAMES - COMMON_NAMES, ":config:"),
    **dict.fromkeys(THRESHOLD_NAMES, "health_thresholds: in :config:"),
    "data_ttl": ":redis:",
}


def find_misspelt_keys(data: dict[str, Any]) -> Iterator[str]:
    """Yield a line for each such key. Ignore keys that are not similar to an option."""
    yield from _find_in_section("", data, vmpooler_names.SECTIONS | {"broker_url", "web", "notify"}, frozenset())
    yield from _find_in_section("config.", data.get("config"), OPTION_NAMES, vmpooler_names.VMPOOLER_OPTIONS)
    yield from _find_in_section(
        "redis.", data.get("redis"), frozenset(RedisSection.model_fields), vmpooler_names.VMPOOLER_REDIS_OPTIONS
    )
    for name, section in (("statsd", StatsdSection), ("graphite", GraphiteSection)):
        yield from _find_in_section(f"{name}.", data.get(name), frozenset(section.model_fields), frozenset())
    pools = data.get("pools")
    for index, pool in enumerate(pools if isinstance(pools, list) else ()):
        yield from _find_in_section(
            f"pools[{index}].",
            pool,
            frozenset(Pool.model_fields),
            VMPOOLER_POOL_NAMES | PROVIDER_POOL_NAMES,
            MIN_POOL_SIMILARITY,
        )


def _find_in_section(
    path: str, section: Any, ours: frozenset[str], theirs: frozenset[str], similarity: float = MIN_SIMILARITY
) -> Iterator[str]:
    for key in section if isinstance(section, dict) else ():
        if path in ("config.", "redis.") and key in CHECKED_SECTIONS:  # indented by mistake
            yield f"{path}{key}: is not an option; :{key}: is a separate section and must not be indented"
        elif key not in ours | theirs and (meant := explain_unknown_key(key, ours, similarity)):
            yield f"{path}{key}: {meant}"


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
