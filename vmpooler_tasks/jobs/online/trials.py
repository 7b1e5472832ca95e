"""Tries the providers and DNS plugins of the pools, for `config check --online` and `doctor`."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial

from vmpooler_tasks.config import Settings
from vmpooler_tasks.dns import CheckedDnsPlugin
from vmpooler_tasks.jobs.dns.plugins import entries_in_use, load_plugin
from vmpooler_tasks.jobs.online.trial import Trial, run_trial
from vmpooler_tasks.jobs.pools.context import pool_spec, provider_context
from vmpooler_tasks.providers import CheckedProvider, PoolSpec, ProviderContext, ProviderProblem, registry
from vmpooler_tasks.store import Database
from vmpooler_tasks.store.orders.overrides import Orders, read_orders_of_pools

PROVIDERS, DNS = "providers", "dns_configs"


def read_all_orders(settings: Settings, db: Database) -> dict[str, Orders]:
    """Return pool → its orders of VMPooler's API, which may override its template and clone target."""
    return read_orders_of_pools(db, [pool.name for pool in settings.pools])


def try_servers(settings: Settings, orders: Mapping[str, Orders]) -> list[Trial]:
    """Try each provider with all its pools, and each DNS plugin that a pool names. Change nothing, and never raise.

    `orders` are those of `read_all_orders`. Each trial ends within TRY_SECONDS.
    """
    trials: list[Callable[[], Trial]] = []
    for name, pools in sorted(_pools_by_provider(settings, orders).items()):
        find = partial(_find_provider_problems, provider_context(settings, name), pools)
        trials.append(partial(run_trial, PROVIDERS, name, len(pools), find))
    for entry in entries_in_use(settings):
        count = sum(settings.records_of(pool) == entry for pool in settings.pools)
        trials.append(partial(run_trial, DNS, entry, count, partial(_find_dns_problems, settings, entry)))
    with ThreadPoolExecutor(max(len(trials), 1), "trial") as threads:
        return list(threads.map(lambda trial: trial(), trials))


def _pools_by_provider(settings: Settings, orders: Mapping[str, Orders]) -> dict[str, list[PoolSpec]]:
    """Return provider → its pools, with the templates and clone targets in effect."""
    pools: dict[str, list[PoolSpec]] = {}
    for pool in settings.pools:
        own = orders.get(pool.name)
        template, target = (own.template, own.clone_target) if own else (None, None)
        spec = pool_spec(settings, pool, template=template, clone_target=target)
        pools.setdefault(settings.provider_of(pool), []).append(spec)
    return pools


def _find_provider_problems(context: ProviderContext, pools: Sequence[PoolSpec]) -> list[ProviderProblem] | None:
    """Return the provider's problems; None if it cannot say any."""
    with closing(registry.load(context)) as provider:
        return list(provider.find_problems(pools)) if isinstance(provider, CheckedProvider) else None


def _find_dns_problems(settings: Settings, entry: str) -> list[ProviderProblem] | None:
    with closing(load_plugin(settings, entry)) as plugin:
        if not isinstance(plugin, CheckedDnsPlugin):
            return None
        return [ProviderProblem(text=text) for text in plugin.find_problems()]
