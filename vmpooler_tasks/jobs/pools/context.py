"""What the pool workers' jobs share: the database, the settings, the providers, and a clock."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from vmpooler_tasks.clock import Clock
from vmpooler_tasks.config import Pool, Settings
from vmpooler_tasks.errors import InvalidInputError
from vmpooler_tasks.jobs.pools.lease_renewer import LeaseRenewer
from vmpooler_tasks.jobs.pools.provider_calls import Retries
from vmpooler_tasks.model.pools.lifecycle import HOUR, MINUTE, Limits, Step
from vmpooler_tasks.model.timestamps import moment, ruby_utc
from vmpooler_tasks.providers import PoolSpec, Provider
from vmpooler_tasks.store import Database


class Work(NamedTuple):
    """Something to be done for one VM, by whichever worker takes it."""

    step: Step
    vm: str
    pool: str
    request_id: str | None = None

    def as_kwargs(self) -> dict[str, str]:
        """The arguments of its task."""
        return {"vm": self.vm, "pool": self.pool, **({"request_id": self.request_id} if self.request_id else {})}


@dataclass(frozen=True)
class PoolContext:
    """`provider` answers with a provider by its name; `retries` says how it is asked again."""

    db: Database
    settings: Settings
    provider: Callable[[str], Provider]
    clock: Clock
    keeper: LeaseRenewer
    retries: Retries = field(default_factory=Retries)

    def pool(self, name: str) -> Pool:
        """Raises InvalidInputError for one that is not configured."""
        found = self.settings.pool(name)
        if found is None:
            raise InvalidInputError(f"there is no pool {name!r} in {self.settings.source}")
        return found

    def provider_of(self, pool: Pool) -> Provider:
        return self.provider(self.settings.provider_of(pool))

    def spec(self, pool: Pool, *, template: str | None = None, clone_target: str | None = None) -> PoolSpec:
        """The pool as its provider sees it, with the overrides in effect."""
        return PoolSpec(
            name=pool.name,
            template=template or pool.template,
            clone_target=clone_target or pool.clone_target or self.settings.config.clone_target,
            options=pool.as_written(),
        )

    def limits(self, pool: Pool) -> Limits:
        """The pool's own where it has them, else the global ones."""
        config = self.settings.config

        def own_or_global(name: str) -> float:
            own = getattr(pool, name)
            return float(getattr(config, name) if own is None else own)

        return Limits(
            pending_seconds=own_or_global("timeout") * MINUTE,
            notice_seconds=own_or_global("timeout_notification") * MINUTE,
            ready_seconds=own_or_global("ready_ttl") * MINUTE,
            check_seconds=config.vm_checktime * MINUTE,
            lifetime_hours=config.vm_lifetime,
        )

    @property
    def keep_seconds(self) -> float:
        """How long a VM's metadata is kept after its end."""
        return self.settings.redis.data_ttl * HOUR


def stamp(now: float) -> bytes:
    """As VMPooler writes times."""
    return ruby_utc(moment(now))


def day(now: float) -> str:
    """As VMPooler names the days of its statistics."""
    return moment(now).date().isoformat()
