"""Find unknown keys that are similar to an option: misspelt or misplaced. Without this, the default would apply."""

import difflib
from collections.abc import Iterator
from typing import Any

from vmpooler_tasks.config import vmpooler_names
from vmpooler_tasks.config.pools import Pool
from vmpooler_tasks.config.schema import HealthThresholds, Options, RedisSection
from vmpooler_tasks.config.services import GraphiteSection, StatsdSection
from vmpooler_tasks.config.source_text import READ

# How similar two names must be for one to count as the other misspelt. The names of options are long, and those of
# providers are few: at 0.8 `dlq_enabeld` is found, and `ready_ttl` does not count as `dlq_ttl`.
ALIKE = 0.8

OPTIONS = frozenset(Options.model_fields)
EVERYDAY = frozenset({"timeout", "prefix", "domain"})
"""Options whose names have another meaning in other sections."""
OF_POOLS = (vmpooler_names.OPTIONS - OPTIONS) | EVERYDAY | {"check_loop_delay_min"}
"""VMPooler's own names in a pool. Nobody reads an option of `:config:` there."""

POOL_ALIKE = 0.75
"""The names of a pool are short: `sise` is found as `size`."""
LIKE_A_POOLS = frozenset({"site", "vmname", "template_id", "template_name", "template_path"})
"""Options that a provider may read from a pool, and that are similar to a name of a pool by chance."""

THRESHOLDS = frozenset(HealthThresholds.model_fields)

# Where a name belongs that nobody else uses. `server`, `size` or `name` can be in the section of any provider.
PLACES = {
    **dict.fromkeys(OPTIONS - EVERYDAY, ":config:"),
    **dict.fromkeys(THRESHOLDS, "health_thresholds: in :config:"),
    "data_ttl": ":redis:",
}


def misspelt(data: dict[str, Any]) -> Iterator[str]:
    """Yield a line for each such key. Ignore keys that are not similar to an option."""
    yield from _of("", data, vmpooler_names.SECTIONS | {"broker_url", "web"}, frozenset())
    yield from _of("config.", data.get("config"), OPTIONS, vmpooler_names.OPTIONS)
    yield from _of("redis.", data.get("redis"), frozenset(RedisSection.model_fields), vmpooler_names.REDIS)
    for name, section in (("statsd", StatsdSection), ("graphite", GraphiteSection)):
        yield from _of(f"{name}.", data.get(name), frozenset(section.model_fields), frozenset())
    pools = data.get("pools")
    for index, pool in enumerate(pools if isinstance(pools, list) else ()):
        yield from _of(f"pools[{index}].", pool, frozenset(Pool.model_fields), OF_POOLS | LIKE_A_POOLS, POOL_ALIKE)


def _of(path: str, section: Any, ours: frozenset[str], theirs: frozenset[str], alike: float = ALIKE) -> Iterator[str]:
    for key in section if isinstance(section, dict) else ():
        if path in ("config.", "redis.") and key in READ:  # indented by mistake
            yield f"{path}{key}: is not an option; :{key}: is a separate section and must not be indented"
        elif key not in ours | theirs and (meant := meaning(key, ours, alike)):
            yield f"{path}{key}: {meant}"


def meaning(key: str, here: frozenset[str], alike: float = ALIKE) -> str | None:
    """Return what an unknown key probably means, given the names `here`; None if no name is similar."""
    lower = key.lower()
    if lower in here:
        return f"unknown option; did you mean {lower}?"
    if lower in PLACES:
        return f"is not an option here; {lower} belongs under {PLACES[lower]}"
    longer = [name for name in here & PLACES.keys() if lower.startswith(f"{name}_")]  # `dlq_ttl_hours`
    near = [max(longer, key=len)] if longer else difflib.get_close_matches(lower, sorted(here), n=1, cutoff=alike)
    if near:
        return f"unknown option; did you mean {near[0]}?"
    elsewhere = [name for name in PLACES if lower.startswith(f"{name}_")]
    elsewhere = elsewhere or difflib.get_close_matches(lower, sorted(PLACES), n=1, cutoff=max(alike, ALIKE))
    if elsewhere:
        name = max(elsewhere, key=len)
        return f"unknown option; did you mean {name}, which belongs under {PLACES[name]}?"
    return None
