"""Find the options of VMPooler's manager that have no effect here."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from vmpooler_tasks.config.vmpooler.options import (
    TRACING_VARIABLE,
    VARIABLES,
    WITHOUT_EFFECT,
    UnusedOption,
    why_without_effect,
)

DUMMY = "dummy"


def find_unused(data: Mapping[str, Any], environ: Mapping[str, str]) -> Iterator[UnusedOption]:
    """Yield each such option of the file or the environment once, however many pools have it."""
    for place in ("config", "redis"):
        section = data.get(place)
        yield from _find_in(place, f"{place}.", section if isinstance(section, dict) else {})
        for option, variable in VARIABLES[place].items():
            if environ.get(variable) and not (isinstance(section, dict) and section.get(option) is not None):
                yield UnusedOption(f"{place}.{option} (from {variable})", WITHOUT_EFFECT[place][option])
    for name, because in WITHOUT_EFFECT["sections"].items():
        if data.get(name) is not None:
            yield UnusedOption(name, because)
    if environ.get(TRACING_VARIABLE, "false") not in ("false", ""):
        yield UnusedOption(f"tracing (from {TRACING_VARIABLE})", WITHOUT_EFFECT["sections"]["tracing"])
    providers = data.get("providers")
    for name, options in providers.items() if isinstance(providers, dict) else ():
        if isinstance(options, dict):
            yield from _find_in_provider(str(name), options)
    yield from _find_in_pools(data.get("pools"))


def _find_in(place: str, path: str, section: Mapping[str, Any]) -> Iterator[UnusedOption]:
    for option, value in section.items():
        because = why_without_effect(place, option)
        if because and value is not None:
            yield UnusedOption(path + option, because)


def _find_in_provider(name: str, options: Mapping[str, Any]) -> Iterator[UnusedOption]:
    yield from _find_in("providers", f"providers.{name}.", options)
    if str(options.get("provider_class") or name).casefold() == DUMMY:
        yield from _find_in("providers.dummy", f"providers.{name}.", options)


def _find_in_pools(pools: Any) -> Iterator[UnusedOption]:
    found: dict[str, list[int]] = defaultdict(list)
    for index, pool in enumerate(pools if isinstance(pools, list) else ()):
        for option in pool if isinstance(pool, dict) else ():
            if why_without_effect("pools", option) and pool[option] is not None:
                found[option].append(index)
    for option, indexes in found.items():
        yield UnusedOption(path_in_pools(indexes, option), why_without_effect("pools", option) or "")


def path_in_pools(indexes: list[int], option: str) -> str:
    """Return the path of an option that these pools have: of the first one, and how many others."""
    others = len(indexes) - 1
    more = f" (and of {others} more pool{'s' * (others > 1)})" if others else ""
    return f"pools[{indexes[0]}].{option}{more}"
