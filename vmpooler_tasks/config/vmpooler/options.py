"""The options that VMPooler reads and these workers do not, each with the reason.

An option of VMPooler is honoured here (it is a field of the schema), or belongs to VMPooler's API server, or has no
effect here. docs/configuration.md is made from these tables. Source: VMPooler 3.9's `docs/configuration.md`,
`vmpooler.yaml.example`, `lib/vmpooler.rb`, `lib/vmpooler/pool_manager.rb` and `lib/vmpooler/providers`; the tests have
the list (`tests/data/vmpooler`).
"""

from collections.abc import Mapping
from dataclasses import dataclass

HONOURED_BY_THE_LOADER = {
    "config": frozenset({"extra_config"}),
    "providers": frozenset(
        {
            "folder_whitelist",
            "provider_class",
            "purge_unconfigured_folders",
            "purge_unconfigured_resources",
            "resources_allowlist",
            "skip_dns_check_before_creating_vm",
        }
    ),
    "dns_configs": frozenset({"dns_class", "domain"}),
}
"""Place → options that are honoured and are no field of the schema."""

API_OPTIONS: Mapping[str, Mapping[str, str]] = {
    "config": {
        "allowed_tags": "tags that a user may set",
        "experimental_features": "routes that change size, template and clone target; these workers obey the changes",
        "max_lifetime_upper_limit": "longest lifetime that a user may set",
        "rate_limiting_enabled": "limits of the requests",
        "rate_limits": "limits of the requests",
        "request_logger": "log of the requests",
        "site_name": "name on VMPooler's dashboard",
        "usage_stats": "statistics of the users",
    },
    "sections": {
        "auth": "login of the users",
        "graphs": "graphs of VMPooler's dashboard",
        "tagfilter": "changes to the tags that users set",
    },
}
"""Place → option → what VMPooler's API server does with it. The API server goes on reading the same file."""

_DELAY = "each pool is inspected every check_loop_delay_min seconds: raise that to spare the provider"
_POOL_DELAY = "one tick inspects all pools: use check_loop_delay_min of :config:"
_CONNECTIONS = "each process opens as many connections as it needs"
_SIZES = "a pool has the size of the file, or the one set through the API"
_FAILURES = "the option of this dummy is failures"
_MIGRATION = "VMs are not migrated to other hosts: DRS of vSphere does that"
_BREAKER = "breaker_failures and breaker_seconds of :config: apply to each provider"

WITHOUT_EFFECT: Mapping[str, Mapping[str, str]] = {
    "config": {
        "check_loop_delay_decay": _DELAY,
        "check_loop_delay_max": _DELAY,
        "circuit_breaker": _BREAKER,
        "logfile": "the workers log to their output; celery's --logfile names a file",
        "migration_limit": _MIGRATION,
        "retry_factor": "a provider call is tried again after a growing random pause",
        "vm_prefix": "the name of this option is prefix, also in VMPooler",
    },
    "pools": {
        "auto_scale": _SIZES,
        "backingservice": "the name of this option is provider, also in VMPooler",
        "check_loop_delay_decay": _POOL_DELAY,
        "check_loop_delay_max": _POOL_DELAY,
        "check_loop_delay_min": _POOL_DELAY,
        "clone_target_concurrency": "task_limit of :config: applies to all pools together",
        "dns_config": "the name of this option is dns_plugin, also in VMPooler",
        "rate_provisioning": "task_limit of :config: applies to all pools together",
    },
    "redis": {
        "connection_pool_size": _CONNECTIONS,
        "connection_pool_timeout": _CONNECTIONS,
        "reconnect_attempts": "a lost connection is opened again until Redis replies",
    },
    "sections": {
        "backingservice": "the name of this section is :providers:, also in VMPooler",
        "prometheus": "the web process serves the metrics, under the names of the operator guide",
        "tracing": "these workers write no traces",
    },
    "providers": {},
    "providers.dummy": {
        "circuit_breaker": _BREAKER,
        "connection_pool_size": _CONNECTIONS,
        "connection_pool_timeout": _CONNECTIONS,
        "createdisk_fail_percent": _FAILURES,
        "createdisk_max_time": "the option of this dummy is disk_seconds",
        "createsnapshot_fail_percent": _FAILURES,
        "createsnapshot_max_time": "the option of this dummy is snapshot_seconds",
        "createvm_fail_percent": _FAILURES,
        "createvm_max_time": "the option of this dummy is clone_seconds",
        "destroyvm_fail_percent": _FAILURES,
        "destroyvm_max_shutdown_time": "the option of this dummy is destroy_seconds",
        "destroyvm_max_time": "the option of this dummy is destroy_seconds",
        "filename": "this dummy keeps its VMs in Redis",
        "getvm_poweroff_percent": "the option of this dummy is unreachable",
        "getvm_rename_percent": "the option of this dummy is wrong_hostname",
        "is_ready_timeout": "the dummy replies at once",
        "migratevm_couldmove_percent": _MIGRATION,
        "migratevm_fail_percent": _MIGRATION,
        "migratevm_max_time": _MIGRATION,
        "revertsnapshot_fail_percent": _FAILURES,
        "revertsnapshot_max_time": "the option of this dummy is revert_seconds",
        "vmready_fail_percent": _FAILURES,
    },
}
"""Place → option → why it has no effect here. Places are sections; `sections` are the sections themselves."""

FAMILIES = ("circuit_breaker",)
"""Starts of names: `circuit_breaker_timeout` has no effect for the reason of `circuit_breaker`."""

VARIABLES: Mapping[str, Mapping[str, str]] = {
    "config": {
        name: name.upper()
        for name in (
            "logfile",
            "migration_limit",
            "retry_factor",
        )
    },
    "redis": {
        "connection_pool_size": "REDIS_CONNECTION_POOL_SIZE",
        "connection_pool_timeout": "REDIS_CONNECTION_POOL_TIMEOUT",
        "reconnect_attempts": "REDIS_RECONNECT_ATTEMPTS",
    },
}
"""Place → option without effect → the environment variable that sets it in VMPooler."""


@dataclass(frozen=True, slots=True)
class UnusedOption:
    """An option of VMPooler's manager that has no effect here: its path, and the reason as the end of a sentence."""

    path: str
    because: str

    def __str__(self) -> str:
        return f"{self.path}: has no effect here, because {self.because}"


TRACING_VARIABLE = "VMPOOLER_TRACING_ENABLED"
"""The environment variable that switches the section `tracing` on in VMPooler, unless it is `false`."""


def why_without_effect(place: str, option: str) -> str | None:
    """Return why the option has no effect at this place; None if it is not in the tables."""
    table = WITHOUT_EFFECT[place]
    family = next((start for start in FAMILIES if option.startswith(f"{start}_")), option)
    return table.get(option) or table.get(family)


def is_ignored_by_dummy(option: str) -> bool:
    """Return whether the dummy here accepts this option and does not read it."""
    honoured = HONOURED_BY_THE_LOADER["providers"] - {"provider_class"}
    return option in honoured or any(why_without_effect(place, option) for place in ("providers", "providers.dummy"))
