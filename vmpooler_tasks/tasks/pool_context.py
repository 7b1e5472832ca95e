"""The PoolContext of this process. Providers are loaded when they are first needed, after the fork."""

import os
import threading
from contextlib import closing
from functools import cache

from vmpooler_tasks.clock import system_clock
from vmpooler_tasks.config import Settings
from vmpooler_tasks.errors import ConfigurationError
from vmpooler_tasks.jobs.pools.context import PoolContext
from vmpooler_tasks.providers import Provider, ProviderContext, registry
from vmpooler_tasks.store.pools.leases import LeaseRenewer
from vmpooler_tasks.tasks.process import database, settings

_lock = threading.Lock()


@cache
def pool_context() -> PoolContext:
    """Return the one PoolContext of this process."""
    renewer = LeaseRenewer(database(), settings().config.lease_seconds, system_clock)
    return PoolContext(database(), settings(), _provider, system_clock, renewer)


def _provider(name: str) -> Provider:
    with _lock:  # hundreds of threads may need it at once; it is loaded once
        return _loaded(name, os.getpid())


@cache
def _loaded(name: str, process: int) -> Provider:
    del process  # a forked child has providers of its own
    return registry.load(_context(settings(), name))


def _context(chosen: Settings, name: str) -> ProviderContext:
    return ProviderContext(name=name, options=chosen.providers.get(name, {}), redis_url=chosen.redis.location)


def try_providers(chosen: Settings) -> None:
    """Loads each provider that a pool names, and lets go of it.

    Raises ConfigurationError with what keeps any of them from being loaded.
    """
    problems: list[str] = []
    for name in sorted({chosen.provider_of(pool) for pool in chosen.pools}):
        try:
            registry.load(_context(chosen, name)).close()
        except ConfigurationError as error:
            problems += error.problems
    if problems:
        raise ConfigurationError(chosen.source, problems)


def find_ignored_options(chosen: Settings) -> list[str]:
    """Return a line for each option of a pool that its provider ignores.

    A provider that has no `pool_options` does not say which options it reads: then nothing is reported.
    Raises ConfigurationError if a provider cannot be loaded.
    """
    found = []
    for index, pool in enumerate(chosen.pools):
        name = chosen.provider_of(pool)
        with closing(registry.load(_context(chosen, name))) as provider:
            known = getattr(provider, "pool_options", None)
        ignored = sorted(set(pool.model_extra or ()) - set(known)) if known is not None else []
        found += [f"pools[{index}].{option}: has no effect: provider {name} ignores it" for option in ignored]
    return found
