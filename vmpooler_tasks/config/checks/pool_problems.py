"""Find mistakes in pools and providers, which are reported together with wrong values.

The data is not validated yet. Values of the wrong type are skipped here, and reported as such elsewhere.
"""

from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError

from vmpooler_tasks.config.schema import Options
from vmpooler_tasks.config.types import as_text


def find_repeated_pools(data: dict[str, Any]) -> Iterator[str]:
    """Yield a problem for each pool that has the name of an earlier one."""
    pools, seen = data.get("pools"), set[str]()
    for index, pool in enumerate(pools if isinstance(pools, list) else ()):
        name = as_text(pool.get("name")) if isinstance(pool, dict) else None
        if isinstance(name, str) and name in seen:
            yield f"pools[{index}].name: {name!r} is the name of an earlier pool"
        elif isinstance(name, str):
            seen.add(name)


def named_sections(section: Any) -> Iterator[tuple[str, Any]]:
    """Yield (name, section) of each named section. Skip others: they matter only if pools are managed."""
    for name, inner in section.items() if isinstance(section, dict) else ():
        if isinstance(inner, dict | None):
            yield name, inner or {}


def find_unmanageable_pools(data: dict[str, Any]) -> Iterator[str]:
    """Yield what prevents the pools from being managed, if `manage_pools` is on."""
    if not _is_on(data.get("config"), "manage_pools"):
        return
    if _is_on(data.get("config"), "observe_only"):
        yield "config.manage_pools: must be false where observe_only is true"
    providers, pools = sorted(str(name) for name, _ in named_sections(data.get("providers"))), data.get("pools")
    if pools is None or pools == []:
        yield "config.manage_pools: there are no :pools: to manage"
    for index, pool in enumerate(pools if isinstance(pools, list) else ()):
        if isinstance(pool, dict):
            yield from _find_wrong_provider(f"pools[{index}].provider", pool.get("provider"), providers)
            yield from _find_unrequestable_names(f"pools[{index}]", pool)


def _is_on(config: Any, option: str) -> bool:
    try:
        return bool(getattr(Options.model_validate({option: config[option]}), option))
    except (LookupError, TypeError, ValidationError):
        return False


def _find_wrong_provider(path: str, written: Any, providers: list[str]) -> Iterator[str]:
    provider, known = as_text(written), ", ".join(providers) or "none"
    if provider in (None, "") and len(providers) != 1:
        yield f"{path}: is missing, and :providers: does not name one alone ({known})"
    elif isinstance(provider, str) and provider and provider not in providers:
        yield f"{path}: {provider!r} is not in :providers: ({known})"


def _find_unrequestable_names(path: str, pool: dict[str, Any]) -> Iterator[str]:
    """Yield names that contain `:` or `,`. A request is `alias:pool:count,…`, so such a name could not be read back."""
    aliases = pool.get("alias")
    named = [
        ("name", pool.get("name")),
        *(("alias", one) for one in (aliases if isinstance(aliases, list) else [aliases])),
    ]
    for option, name in named:
        if isinstance(name, str) and (marks := sorted(set(name) & set(":,"))):
            yield f"{path}.{option}: {name!r} must not hold {marks[0]!r}, which separates the parts of a request"
