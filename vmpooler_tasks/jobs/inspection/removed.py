"""Pools that left the configuration: what is recorded of a pool for that day."""

from vmpooler_tasks.config import Pool
from vmpooler_tasks.jobs.pools.context import PoolContext
from vmpooler_tasks.model.pools.managed import ManagedPool


def managed_pool(context: PoolContext, pool: Pool) -> ManagedPool:
    """Return the record of a configured pool."""
    return ManagedPool(
        name=pool.name,
        provider=context.settings.provider_of(pool),
        size=pool.size,
        template=pool.template,
        clone_target=context.spec(pool).clone_target,
        entry=pool.as_written(),
        since=context.clock(),
    )
