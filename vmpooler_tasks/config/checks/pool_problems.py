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


def manages_pools(data: dict[str, Any]) -> bool:
    """Return whether `manage_pools` is on."""
    return _is_on(data.get("config"), "manage_pools")


def move_old_vsphere_section(data: dict[str, Any]) -> Iterator[str]:
    """Move the old `:vsphere:` section under `:providers:`, as VMPooler's manager does, and yield a warning.

    Source: `execute!` in VMPooler's `lib/vmpooler/pool_manager.rb`.
    """
    if data.get("vsphere") is None:
        return
    providers = data.get("providers")
    if isinstance(providers, dict) and providers.get("vsphere") is not None:
        yield "vsphere: has no effect: the section vsphere under :providers: is used"
    elif isinstance(providers, dict | None):
        data["providers"] = {**(providers or {}), "vsphere": data["vsphere"]}
        yield "vsphere: is the old place of this section, and is used; move it under :providers:"


def find_unmanageable_pools(data: dict[str, Any]) -> Iterator[str]:
    """Yield what prevents the pools from being managed."""
    if _is_on(data.get("config"), "observe_only"):
        yield "config.manage_pools: must be false where observe_only is true"
    providers, pools = sorted(str(name) for name, _ in named_sections(data.get("providers"))), data.get("pools")
    if pools is None or pools == []:
        yield "config.manage_pools: there are no :pools: to manage"
        return
    unusable = list(_find_unusable_sections(data.get("providers"), pools))
    yield from unusable
    for index, pool in enumerate(pools if isinstance(pools, list) and not unusable else ()):
        if isinstance(pool, dict):
            yield from _find_wrong_provider(f"pools[{index}].provider", pool.get("provider"), providers)


def _is_on(config: Any, option: str) -> bool:
    try:
        return bool(getattr(Options.model_validate({option: config[option]}), option))
    except (LookupError, TypeError, ValidationError):
        return False


def _find_unusable_sections(providers: Any, pools: Any) -> Iterator[str]:
    """Yield why no pool can have a provider: once, not for each pool."""
    if isinstance(providers, dict) and providers:
        wrong = [name for name, section in providers.items() if not isinstance(section, dict | None)]
        yield from (f"providers.{name}: must be a section of options, which may be blank" for name in wrong)
        return
    named = sorted(
        {str(pool["provider"]) for pool in pools if isinstance(pool, dict) and pool.get("provider")}
        if isinstance(pools, list)
        else ()
    )
    if providers in (None, {}):
        what = ", ".join(named) or "none"
        yield (
            "providers: names no provider: with manage_pools each provider of the pools needs a section here, which "
            f"may be blank (providers of the pools: {what})"
        )
    else:
        yield "providers: must be a section of named sections, such as `:dummy: {}`"


def _find_wrong_provider(path: str, written: Any, providers: list[str]) -> Iterator[str]:
    provider, known = as_text(written), ", ".join(providers) or "none"
    if provider in (None, "") and len(providers) != 1:
        yield f"{path}: is missing, and :providers: does not name one alone ({known})"
    elif isinstance(provider, str) and provider and provider not in providers:
        yield f"{path}: {provider!r} is not in :providers: ({known})"
