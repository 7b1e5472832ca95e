"""What all jobs of the pool workers need: database, settings, providers, clock, leases."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from pydantic import ValidationError

from vmpooler_tasks.clock import Clock
from vmpooler_tasks.config import Pool, Settings
from vmpooler_tasks.config.pools import ManagerOptions
from vmpooler_tasks.dns import DnsPlugin
from vmpooler_tasks.errors import InvalidInputError
from vmpooler_tasks.jobs.dns.records import DnsRecords
from vmpooler_tasks.jobs.pools.provider_calls import Retries
from vmpooler_tasks.model.pools.lifecycle import HOUR, MINUTE, Step, VmLimits
from vmpooler_tasks.model.timestamps import moment, ruby_utc
from vmpooler_tasks.model.vm_orders import ORDERS
from vmpooler_tasks.providers import PoolSpec, Provider, ProviderContext
from vmpooler_tasks.store import Database
from vmpooler_tasks.store.guards.managed_pools import read_managed_pool
from vmpooler_tasks.store.guards.missing import MissingGuard
from vmpooler_tasks.store.pools.breakers import MIN_FAILING_POOLS, BreakerLimits
from vmpooler_tasks.store.pools.leases import LeaseRenewer


class Work(NamedTuple):
    """One piece of work on one VM, for any worker. `value` is that of an order: a size or the name of a snapshot."""

    step: Step
    vm: str
    pool: str
    request_id: str | None = None
    value: str | None = None

    def as_kwargs(self) -> dict[str, str]:
        """Return the arguments of its task."""
        request = {"request_id": self.request_id} if self.request_id else {}
        value = {ORDERS[self.step].argument: self.value} if self.value is not None else {}
        return {"vm": self.vm, "pool": self.pool, **request, **value}


@dataclass(frozen=True)
class PoolContext:
    """What a job works with. `retries` repeats failed provider calls.

    `provider` returns a provider by its name, `dns_plugin` a DNS plugin by its entry in `:dns_configs:`.
    """

    db: Database
    settings: Settings
    provider: Callable[[str], Provider]
    clock: Clock
    leases: LeaseRenewer
    retries: Retries
    dns_plugin: Callable[[str], DnsPlugin] = field(default=dict[str, DnsPlugin]().__getitem__)

    def pool(self, name: str) -> Pool:
        """Return the pool's configuration. A pool that is no longer configured is as its last inspection recorded it.

        Raise InvalidInputError if it is not configured, and not recorded with a provider that is configured.
        """
        return self.settings.pool(name) or self.removed_pool(name) or self.configured_pool(name)

    def configured_pool(self, name: str) -> Pool:
        """Return the pool's configuration. Raise InvalidInputError if it is not configured."""
        found = self.settings.pool(name)
        if found is None:
            raise InvalidInputError(f"there is no pool {name!r} in {self.settings.source}")
        return found

    def removed_pool(self, name: str) -> Pool | None:
        """Return a pool as its last inspection recorded it, or None if its provider is not configured here."""
        record = read_managed_pool(self.db, name)
        if record is None or record.provider not in self.settings.providers:
            return None
        try:
            return Pool.model_validate({**record.entry, "name": name, "provider": record.provider})
        except ValidationError:  # it was written by another version, or by VMPooler
            about = {"template": record.template, "clone_target": record.clone_target}
            return Pool.model_validate({"name": name, "provider": record.provider, **about})

    def provider_of(self, pool: Pool) -> Provider:
        return self.provider(self.settings.provider_of(pool))

    def spec(self, pool: Pool, *, template: str | None = None, clone_target: str | None = None) -> PoolSpec:
        """Return the pool as its provider sees it. The arguments are overrides in effect."""
        return pool_spec(self.settings, pool, template=template, clone_target=clone_target)

    def limits(self, pool: Pool) -> VmLimits:
        """Return the pool's own limits; the global ones where it has none."""
        config = self.settings.config

        def own_or_global(name: str) -> float:
            own = getattr(pool, name)
            return float(getattr(config, name) if own is None else own)

        return VmLimits(
            pending_seconds=own_or_global("timeout") * MINUTE,
            notice_seconds=own_or_global("timeout_notification") * MINUTE,
            ready_seconds=own_or_global("ready_ttl") * MINUTE,
            check_seconds=config.vm_checktime * MINUTE,
            lifetime_hours=config.vm_lifetime,
        )

    def missing_guard(self, vm: str, pool: str) -> MissingGuard:
        """Return the guard of a step that acts on a VM because its provider does not have it."""
        return MissingGuard(vm=vm, pool=pool, now=self.clock(), max_percent=self.settings.config.destroy_max_percent)

    def checks_hostname(self, pool: Pool) -> bool:
        """Return whether a ready VM of the pool must report its own name: the pool's option, else the global one."""
        own = pool.check_hostname_for_mismatch
        return self.settings.config.check_ready_vm_hostname_for_mismatch if own is None else own

    def breaker_limits(self, provider: str) -> BreakerLimits:
        """Return when failures suspend this provider or one of its pools."""
        config = self.settings.config
        failing_pools = min(MIN_FAILING_POOLS, max(self.settings.count_pools_of(provider), 1))
        return BreakerLimits(config.breaker_failures, config.breaker_seconds, failing_pools)

    @property
    def dns(self) -> DnsRecords:
        """Return the DNS records of the VMs."""
        return DnsRecords(self.db, self.settings, self.dns_plugin, self.retries, self.clock)

    @property
    def keep_seconds(self) -> float:
        """How long a VM's metadata is kept after its end."""
        return self.settings.redis.data_ttl * HOUR


def provider_context(settings: Settings, name: str) -> ProviderContext:
    """Return what the factory of this provider gets."""
    return ProviderContext(
        name=name,
        options=settings.providers.get(name, {}),
        redis_url=settings.redis.location,
        installation=settings.config.installation,
        config=settings.config.model_dump(include=set(ManagerOptions.model_fields)),
    )


def pool_spec(
    settings: Settings, pool: Pool, *, template: str | None = None, clone_target: str | None = None
) -> PoolSpec:
    """Return the pool as its provider sees it. `template` and `clone_target` are overrides in effect."""
    return PoolSpec(
        name=pool.name,
        template=template or pool.template,
        clone_target=clone_target or pool.clone_target or settings.config.clone_target,
        options=pool.as_written(),
    )


def stamp(now: float) -> bytes:
    """Return the time as VMPooler writes times."""
    return ruby_utc(moment(now))


def day(now: float) -> str:
    """Return the local date (environment variable TZ), as VMPooler names its daily statistics."""
    return time.strftime("%Y-%m-%d", time.localtime(now))
