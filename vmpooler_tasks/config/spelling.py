"""Keys that are nobody's but look like one of ours: misspelt, or in the wrong place. Silence would mean the default."""

import difflib
from collections.abc import Iterator
from typing import Any

from vmpooler_tasks.config import vmpooler_names
from vmpooler_tasks.config.pools import Pool
from vmpooler_tasks.config.schema import HealthThresholds, Options, RedisSection
from vmpooler_tasks.config.services import GraphiteSection, StatsdSection
from vmpooler_tasks.config.source_text import READ

# How alike two names must be for one to be taken for the other misspelt. Names that we read are long, and a provider's
# own are few; at 0.8 `dlq_enabeld` is caught and `ready_ttl` is not taken for `dlq_ttl`.
ALIKE = 0.8

OPTIONS = frozenset(Options.model_fields)
EVERYDAY = frozenset({"timeout", "prefix", "domain"})
"""Options whose names mean something else in other sections."""
OF_POOLS = (vmpooler_names.OPTIONS - OPTIONS) | EVERYDAY | {"check_loop_delay_min"}
"""What a pool may have that is VMPooler's; an option of `:config:` would be read by nobody there."""

POOL_ALIKE = 0.75
"""A pool's names are short: `sise` for `size` is caught."""
LIKE_A_POOLS = frozenset({"site", "vmname", "template_id", "template_name", "template_path"})
"""What a provider may well want to be told of a pool, and comes as near to one of its names by chance."""

THRESHOLDS = frozenset(HealthThresholds.model_fields)

# Where a name belongs that nobody else uses. `server`, `size` or `name` can stand in any provider's own section.
PLACES = {
    **dict.fromkeys(OPTIONS - EVERYDAY, ":config:"),
    **dict.fromkeys(THRESHOLDS, "health_thresholds: in :config:"),
    "data_ttl": ":redis:",
}


def misspelt(data: dict[str, Any]) -> Iterator[str]:
    """A line for each such key; a key that looks like none of ours is left to its owner."""
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
            yield f"{path}{key}: is no option; :{key}: is a section of its own and must not be indented"
        elif key not in ours | theirs and (meant := meaning(key, ours, alike)):
            yield f"{path}{key}: {meant}"


def meaning(key: str, here: frozenset[str], alike: float = ALIKE) -> str | None:
    """What is probably meant by a key that is not among the names `here`; None if nothing comes near."""
    lower = key.lower()
    if lower in here:
        return f"unknown option; did you mean {lower}?"
    if lower in PLACES:
        return f"is no option here; {lower} belongs under {PLACES[lower]}"
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
