"""The options: VMPooler's names and units, bounds and defaults.

The descriptions are the configuration reference. `Settings` is frozen. Only `vmpooler_tasks.config.load` creates it.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any
from urllib.parse import quote

from pydantic import ConfigDict, Field, SecretStr

from vmpooler_tasks.config.dns import DnsConfig
from vmpooler_tasks.config.pools import ManagerOptions, Pool
from vmpooler_tasks.config.redis_address import without_login
from vmpooler_tasks.config.services import GraphiteSection, NotifySection, StatsdSection, WebSection
from vmpooler_tasks.config.types import (
    Age,
    Hours,
    Interval,
    NotBlank,
    Number,
    RemoteCommands,
    Secret,
    Section,
    StuckAge,
    Switch,
    Text,
    Threshold,
    Weights,
)
from vmpooler_tasks.config.vmpooler.options import UnusedOption
from vmpooler_tasks.errors import ObserveOnlyError
from vmpooler_tasks.model.guards.removed import DrainRules
from vmpooler_tasks.model.redaction import redacted
from vmpooler_tasks.model.remote_control import INSPECT, REVOKE


class HealthThresholds(Section):
    """`:config: health_thresholds:`, the limits of the health check."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    pending_queue_max: Threshold = Field(
        100,
        description="VMs in one pool's pending queue above which health is degraded; above twice that, unhealthy",
    )
    ready_queue_max: Threshold = Field(
        500,
        description="VMs in one pool's ready queue above which health is degraded; above twice that, unhealthy",
    )
    dlq_max_warning: Threshold = Field(
        100, description="dead letters in all queues together above which health is degraded"
    )
    dlq_max_critical: Threshold = Field(
        1000, description="dead letters in all queues together above which health is unhealthy"
    )
    stuck_vm_age_threshold: StuckAge = Field(7200, description="seconds in pending after which a VM counts as stuck")
    stuck_vm_max_warning: Threshold = Field(10, description="stuck VMs above which health is degraded")
    stuck_vm_max_critical: Threshold = Field(50, description="stuck VMs above which health is unhealthy")


class Options(ManagerOptions):
    """`:config:`, the options of VMPooler's global section that these workers read."""

    observe_only: Switch = Field(
        False,
        description="observe a VMPooler and change none of its keys: each purge is a dry run, and nothing is redriven, "
        "deleted or requested ([beside your VMPooler](beside-vmpooler.md))",
    )

    dlq_enabled: Switch = Field(False, description="keep failed VMs and tasks as dead letters")
    dlq_ttl: Hours = Field(168, description="hours that a dead letter is kept")
    dlq_max_entries: Annotated[int, Number, Field(ge=1, le=100_000_000)] = Field(
        10_000, description="dead letters kept in each queue; the oldest are dropped first"
    )
    dlq_max_bytes: Annotated[int, Number, Field(ge=65_536, le=10**12)] = Field(
        64 * 2**20, description="bytes of dead letters kept in each queue; the oldest are dropped first"
    )

    backend_weight: Weights = Field(
        {},
        description="clone target → weight, by which `vmpooler-tasks request` chooses among the pools of an alias, as "
        "VMPooler's API does",
    )

    purge_enabled: Switch = Field(False, description="run the auto-purge")
    purge_interval: Interval = Field(3600, description="seconds between two purge cycles")
    purge_dry_run: Switch = Field(False, description="report what would be purged, and change nothing")
    purge_max_percent: Annotated[float, Number, Field(gt=0, le=100, allow_inf_nan=False)] = Field(
        100,
        description="maximum share of one pool's queue that a cycle may purge, in percent; above it the cycle skips "
        "the queue and health reports it (100: no limit)",
    )
    max_pending_age: Age = Field(7200, description="seconds in pending after which a VM is purged")
    max_ready_age: Age = Field(86400, description="seconds in ready after which a VM is moved to completed")
    max_completed_age: Age = Field(3600, description="seconds in completed after which a VM is removed")
    max_orphaned_age: Age = Field(
        86400, description="seconds since cloning after which the metadata of a VM in no queue expires"
    )
    max_request_age: Age = Field(86400, description="seconds after which an unfilled on-demand request fails")

    health_check_enabled: Switch = Field(False, description="run the health check")
    health_check_interval: Interval = Field(300, description="seconds between two health checks")
    health_thresholds: HealthThresholds = Field(
        default_factory=HealthThresholds, description="limits of the health check"
    )
    empty_pool_grace: Age = Field(
        900, description="seconds that a pool with a size may have no ready VM before health is degraded"
    )
    notify_after: StuckAge = Field(
        60,
        description="seconds that a change of the health status must hold before the targets of `:notify:` learn of it",
    )
    remote_control: RemoteCommands = Field(
        (INSPECT, REVOKE),
        description="commands of Celery's remote control that workers carry out: a list of `inspect` (reads), `revoke` "
        "(ends tasks), `all` and names of commands; `false`: none, and workers do not listen ([remote "
        "control](deployment.md#remote-control))",
    )

    @property
    def is_purge_dry(self) -> bool:
        """Return whether every purge is a dry run."""
        return self.purge_dry_run or self.observe_only


NESTED_OPTIONS = frozenset({"backend_weight", "health_thresholds"})
"""Options of `:config:` that are sections themselves: no environment variable sets them."""


class RedisSection(Section):
    """`:redis:`, the database of VMPooler and of these workers."""

    server: Annotated[Text, NotBlank] = Field("localhost", description="host name or address")
    port: Annotated[int, Number, Field(ge=1, le=65535)] = Field(6379, description="port")
    username: Text | None = Field(None, description="user, if the server has an ACL")
    password: Secret | None = Field(None, description="password")
    data_ttl: Hours = Field(168, description="hours that a VM's metadata is kept after its destruction")
    url: SecretStr | None = Field(
        None,
        description="whole address, `redis://`, `rediss://`, `sentinel://` or `unix://`; overrides the other options",
    )

    @property
    def location(self) -> str:
        """Return the address to connect to, with the password. Never log it."""
        if self.url is not None:
            return self.url.get_secret_value()
        user = quote(self.username or "", safe="")
        secret = f":{quote(self.password.get_secret_value(), safe='')}" if self.password else ""
        login = f"{user}{secret}@" if user or secret else ""
        bare = ":" in self.server and not self.server.startswith("[")  # an address of IPv6
        host = f"[{self.server}]" if bare else self.server
        return f"redis://{login}{host}:{self.port}/0"

    @property
    def address(self) -> str:
        """Return the address without user and password."""
        return without_login(self.location)


PURGE_SWITCHES = ("purge_unconfigured_resources", "purge_unconfigured_folders")
"""The option, and its older name."""


class Settings(Section):
    """The whole configuration, valid and frozen."""

    source: str = Field("defaults", description="where it was read from")
    config: Options = Field(default_factory=Options)
    redis: RedisSection = Field(default_factory=RedisSection)
    pools: tuple[Pool, ...] = ()
    providers: Mapping[str, Mapping[str, Any]] = Field(default_factory=dict)
    dns_configs: Mapping[str, DnsConfig] = Field(default_factory=dict)
    broker_url: SecretStr | None = None
    statsd: StatsdSection = Field(default_factory=StatsdSection)
    graphite: GraphiteSection = Field(default_factory=GraphiteSection)
    web: WebSection = Field(default_factory=WebSection)
    notify: NotifySection = Field(default_factory=NotifySection)
    warnings: tuple[str, ...] = Field((), description="what the source says and probably does not mean")
    unused: tuple[UnusedOption, ...] = Field((), description="options of VMPooler's manager that have no effect here")

    @property
    def broker_location(self) -> str:
        """Return the address for Celery's messages: CELERY_BROKER_URL, else the same Redis."""
        return self.broker_url.get_secret_value() if self.broker_url else self.redis.location

    def pool(self, name: str) -> Pool | None:
        """Return the pool of this name, None if it is not configured."""
        return self._pools_by_name.get(name)

    @cached_property
    def _pools_by_name(self) -> dict[str, Pool]:
        return {pool.name: pool for pool in self.pools}

    def provider_of(self, pool: Pool) -> str:
        """Return the name of the pool's provider. If the pool names none, it is the only provider."""
        return pool.provider or next(iter(self.providers), "")

    def count_pools_of(self, provider: str) -> int:
        """Return how many pools the provider has."""
        return self._pools_by_provider[provider]

    @cached_property
    def _pools_by_provider(self) -> Counter[str]:
        return Counter(map(self.provider_of, self.pools))

    def timeout_of(self, pool: Pool) -> float:
        """Return the minutes that a VM of the pool may be pending."""
        return pool.timeout or self.config.timeout

    def clone_target_of(self, name: str) -> str:
        """Return the configured clone target of this pool; "" if neither it nor the global section sets one."""
        pool = self.pool(name)
        return (pool and pool.clone_target) or self.config.clone_target or ""

    def domain_of(self, pool: Pool) -> str | None:
        """Return the domain of the pool's VMs, by VMPooler's rules."""
        named = self.dns_configs.get(pool.dns_plugin or "")
        return (named.domain if named else None) or self.config.domain

    def records_of(self, pool: Pool) -> str | None:
        """Return the entry of `:dns_configs:` that writes the DNS records of the pool; None if nobody here does."""
        named = self.dns_configs.get(pool.dns_plugin or "")
        return pool.dns_plugin if named and named.writes_records else None

    @cached_property
    def written_dns(self) -> tuple[str, ...]:
        """Return the entries of `:dns_configs:` whose records these workers write."""
        return tuple(name for name, entry in self.dns_configs.items() if entry.writes_records)

    @property
    def writes_records(self) -> bool:
        """Return whether any pool may have DNS records that these workers wrote."""
        return bool(self.written_dns)

    @cached_property
    def purging_providers(self) -> tuple[str, ...]:
        """Return the providers whose VMs of no pool are found and, once that is confirmed, destroyed.

        Their sections or `:config:` ask for it. The installation must have a name.
        """
        if not (self.config.manage_pools and self.config.installation):
            return ()
        asks = any(getattr(self.config, name) for name in PURGE_SWITCHES)
        return tuple(
            name
            for name, section in self.providers.items()
            if asks or any((section or {}).get(switch) is True for switch in PURGE_SWITCHES)
        )

    def skips_name_check(self, pool: Pool) -> bool:
        """Return whether a new name is not checked in DNS before its VM is made: an option of the provider."""
        given = self.providers.get(self.provider_of(pool), {}).get("skip_dns_check_before_creating_vm")
        return given is not None and str(given).strip().casefold() != "false"

    @property
    def drain_rules(self) -> DrainRules:
        """Return what decides whether a pool that left the configuration is drained."""
        config = self.config
        return DrainRules(
            is_managed=config.manage_pools, providers=self.providers, grace_seconds=config.removed_pool_grace
        )

    def refuse_if_observing(self, what: str) -> None:
        """Raise ObserveOnlyError with `what` if this process may only observe."""
        if self.config.observe_only:
            raise ObserveOnlyError(what)

    def published(self) -> dict[str, str]:
        """Return the effective options for `vmpooler__config`: no secrets, booleans as true and false."""
        flat: dict[str, str] = {}
        for name, value in self.config.model_dump().items():
            if isinstance(value, dict):
                flat.update({f"{name}.{key}": as_yaml(inner) for key, inner in value.items()})
            else:
                flat[name] = as_yaml(value)
        flat["redis"] = self.redis.address
        flat["data_ttl"] = as_yaml(self.redis.data_ttl)
        flat["pools"] = ",".join(pool.name for pool in self.pools)
        flat["notify.targets"] = ",".join(target.name for target in self.notify.targets)
        return flat

    def digest(self) -> str:
        """Return a digest of what all workers and beats of one installation must have in common.

        It covers the options, the pools and the providers, and no secret. It does not cover addresses and files, which
        may differ between machines.
        """
        shared = {name: value for name, value in self.published().items() if name not in ("redis", "pools")}
        pools = sorted((pool.model_dump(mode="json") for pool in self.pools), key=lambda pool: str(pool["name"]))
        text = json.dumps(
            [shared, redacted(pools), redacted({name: dict(one) for name, one in self.providers.items()})],
            sort_keys=True,
            default=str,
        )
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def as_yaml(value: Any) -> str:
    """Return a value as VMPooler's YAML writes it: true, 7200, 0.5, and nothing for an option that is not set.

    The items of a list are joined by commas.
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return str(value)
