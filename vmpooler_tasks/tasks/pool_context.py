"""The PoolContext of this process. Providers are loaded when they are first needed, after the fork."""

import os
import threading
from collections import defaultdict
from contextlib import closing
from functools import cache

from vmpooler_tasks.config import Settings
from vmpooler_tasks.config.checks.unused import path_in_pools
from vmpooler_tasks.config.vmpooler.options import why_without_effect
from vmpooler_tasks.dns import DnsPlugin
from vmpooler_tasks.errors import ConfigurationError
from vmpooler_tasks.jobs.dns.plugins import entries_in_use, load_plugin
from vmpooler_tasks.jobs.pools.context import PoolContext, provider_context
from vmpooler_tasks.jobs.pools.provider_calls import Retries
from vmpooler_tasks.providers import MarkingProvider, Provider, registry
from vmpooler_tasks.providers.dummy.provider import Dummy
from vmpooler_tasks.store import Database
from vmpooler_tasks.store.pools.leases import LeaseRenewer
from vmpooler_tasks.tasks.process import database, settings

_lock = threading.Lock()


@cache
def pool_context() -> PoolContext:
    """Return the one PoolContext of this process."""
    renewer = LeaseRenewer(database(), settings().config.lease_seconds, database().clock)
    retries = Retries(settings().config.max_tries)
    return PoolContext(database(), settings(), _provider, database().clock, renewer, retries, _dns_plugin)


def _provider(name: str) -> Provider:
    with _lock:  # hundreds of threads may need it at once; it is loaded once
        return _loaded(name, os.getpid())


@cache
def _loaded(name: str, process: int) -> Provider:
    del process  # a forked child has providers of its own
    return registry.load(provider_context(settings(), name))


def _dns_plugin(name: str) -> DnsPlugin:
    with _lock:
        return _loaded_dns(name, os.getpid())


@cache
def _loaded_dns(name: str, process: int) -> DnsPlugin:
    del process  # as above
    return load_plugin(settings(), name)


def build_context(db: Database, chosen: Settings) -> PoolContext:
    """Return a PoolContext for a command. Its providers and DNS plugins are loaded when they are needed."""
    loaded = cache(lambda name: registry.load(provider_context(chosen, name)))
    plugins = cache(lambda entry: load_plugin(chosen, entry))
    renewer = LeaseRenewer(db, chosen.config.lease_seconds, db.clock)
    return PoolContext(db, chosen, loaded, db.clock, renewer, Retries(chosen.config.max_tries), plugins)


def try_providers(chosen: Settings) -> None:
    """Loads each provider and each DNS plugin that a pool names, and lets go of it.

    Raises ConfigurationError with what keeps any of them from being loaded.
    """
    if problems := find_unloadable(chosen):
        raise ConfigurationError(chosen.source, problems)


def find_unloadable(chosen: Settings) -> list[str]:
    """Return a line for each problem that keeps a provider or DNS plugin of the pools from being loaded."""
    problems: list[str] = []
    for name in sorted({chosen.provider_of(pool) for pool in chosen.pools}):
        try:
            registry.load(provider_context(chosen, name)).close()
        except ConfigurationError as error:
            problems += error.problems
    for entry in entries_in_use(chosen):
        try:
            load_plugin(chosen, entry).close()
        except ConfigurationError as error:
            problems += error.problems
    return problems


def find_ignored_options(chosen: Settings) -> list[str]:
    """Return a line for each option of pools that their provider ignores, once for all pools that have it.

    A provider that has no `pool_options` does not say which options it reads: then nothing is reported.
    Raises ConfigurationError if a provider cannot be loaded.
    """
    known = {name: _pool_options(chosen, name) for name in {chosen.provider_of(pool) for pool in chosen.pools}}
    found: dict[tuple[str, str], list[int]] = defaultdict(list)
    for index, pool in enumerate(chosen.pools):
        name = chosen.provider_of(pool)
        options = known[name]
        for option in sorted(set(pool.model_extra or ()) - options) if options is not None else ():
            if not why_without_effect("pools", option):  # reported for every provider
                found[name, option].append(index)
    return [
        f"{path_in_pools(indexes, option)}: has no effect: provider {name} ignores it"
        for (name, option), indexes in found.items()
    ]


def find_unmarked(chosen: Settings) -> list[str]:
    """Return a line for each provider that could mark its VMs, and marks nothing without `installation`.

    Not for the dummy: all its VMs are its own. Raises ConfigurationError if a provider cannot be loaded.
    """
    if chosen.config.installation:
        return []
    names = []
    for name in sorted({chosen.provider_of(pool) for pool in chosen.pools}):
        with closing(registry.load(provider_context(chosen, name))) as provider:
            if isinstance(provider, MarkingProvider) and not isinstance(provider, Dummy):
                names.append(name)
    return [
        f"installation: is not set, so provider {name} marks nothing that it makes, and VMs that Redis has lost are"
        " reported and never destroyed; set it in :config: to a name that no other installation has"
        for name in names
    ]


def _pool_options(chosen: Settings, name: str) -> frozenset[str] | None:
    with closing(registry.load(provider_context(chosen, name))) as provider:
        options = getattr(provider, "pool_options", None)
    return None if options is None else frozenset(options)
