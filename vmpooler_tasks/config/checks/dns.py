"""Find pools whose `dns_plugin` names nothing useful in `:dns_configs:`."""

import difflib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from vmpooler_tasks.config.checks.unused import path_in_pools
from vmpooler_tasks.config.types import as_text

MIN_DNS_SIMILARITY = 0.6


def find_wrong_plugins(data: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield (path, complaint) of each `dns_plugin` that names no section, once for all pools that have it."""
    configs = data.get("dns_configs")
    entries = {str(name): entry for name, entry in configs.items()} if isinstance(configs, dict) else {}
    for plugin, indexes in _pools_by_plugin(data.get("pools")).items():
        path = path_in_pools(indexes, "dns_plugin")
        if plugin not in entries:
            yield path, f"{plugin!r} is not in :dns_configs:{_nearest(plugin, entries)}"
        elif not isinstance(entries[plugin], dict | None):
            yield path, f"dns_configs.{plugin} must be a section of options, such as domain"


def _pools_by_plugin(pools: Any) -> Mapping[str, list[int]]:
    found: dict[str, list[int]] = defaultdict(list)
    for index, pool in enumerate(pools if isinstance(pools, list) else ()):
        plugin = as_text(pool.get("dns_plugin")) if isinstance(pool, dict) else None
        if isinstance(plugin, str) and plugin:
            found[plugin].append(index)
    return found


def _nearest(name: str, known: Mapping[str, Any]) -> str:
    by_lower = {one.lower(): one for one in known}
    near = difflib.get_close_matches(name.lower(), sorted(by_lower), n=1, cutoff=MIN_DNS_SIMILARITY)
    if near:
        return f"; did you mean {by_lower[near[0]]}?"
    return f" ({', '.join(sorted(known)) or 'none'})"


def find_wrong_entries(data: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for each entry that is no section of options, unless a pool that names it is reported."""
    configs, used = data.get("dns_configs"), _pools_by_plugin(data.get("pools"))
    if configs is not None and not isinstance(configs, dict):
        yield "dns_configs: has no effect: it must be a section of named sections"
    for name, entry in configs.items() if isinstance(configs, dict) else ():
        if not isinstance(entry, dict | None) and name not in used:
            yield f"dns_configs.{name}: has no effect: it must be a section of options, such as domain"
