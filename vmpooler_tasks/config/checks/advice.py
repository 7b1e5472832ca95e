"""Find what is valid and probably not meant: `config check` warns about it, and nothing is refused."""

from collections.abc import Iterator

from vmpooler_tasks.config.pools import ManagerOptions
from vmpooler_tasks.config.schema import Settings, as_yaml
from vmpooler_tasks.config.vmpooler.names import VMPOOLER_OPTIONS

MINUTE = 60

# The switch of a feature → the options that matter only with it. VMPooler's own manager reads the others of
# ManagerOptions: beside it they have an effect without `manage_pools`.
OPTIONS_OF_SWITCH = {
    "dlq_enabled": ("dlq_ttl", "dlq_max_entries", "dlq_max_bytes"),
    "purge_enabled": (
        "purge_interval",
        "purge_dry_run",
        "purge_max_percent",
        "max_pending_age",
        "max_ready_age",
        "max_completed_age",
        "max_orphaned_age",
        "max_request_age",
    ),
    "health_check_enabled": ("health_check_interval", "health_thresholds", "empty_pool_grace", "notify_after"),
    "manage_pools": tuple(sorted(ManagerOptions.model_fields.keys() - VMPOOLER_OPTIONS - {"manage_pools"})),
}


def find_advice(settings: Settings) -> list[str]:
    """Return a line for each doubtful value: its path, and what it means."""
    return [
        *settings.warnings,
        *_find_idle_processes(settings),
        *_find_crossed_thresholds(settings),
        *_find_early_purge(settings),
        *_find_options_without_switch(settings),
        *_find_options_of_pools(settings),
        *_find_ready_ttl_of_zero(settings),
        *_find_unused_weights(settings),
    ]


def _find_idle_processes(settings: Settings) -> Iterator[str]:
    if not any(getattr(settings.config, switch) for switch in OPTIONS_OF_SWITCH):
        yield f"config: nothing will run: {', '.join(OPTIONS_OF_SWITCH)} are all false"


def _find_crossed_thresholds(settings: Settings) -> Iterator[str]:
    limits = settings.config.health_thresholds
    for what in ("dlq_max", "stuck_vm_max"):
        warning, critical = getattr(limits, f"{what}_warning"), getattr(limits, f"{what}_critical")
        if warning > critical:
            yield (
                f"config.health_thresholds.{what}_warning: {as_yaml(warning)} is above {what}_critical "
                f"({as_yaml(critical)}): health becomes unhealthy without being degraded first"
            )


def _find_early_purge(settings: Settings) -> Iterator[str]:
    age = settings.config.max_pending_age
    if not settings.config.purge_enabled:
        return
    for index, pool in enumerate(settings.pools):
        timeout = settings.timeout_of(pool)
        if age < timeout * MINUTE:
            yield (
                f"config.max_pending_age: {as_yaml(age)} seconds are less than the timeout of pools[{index}] "
                f"({pool.name}, {as_yaml(timeout)} minutes): a purge removes VMs that may still become ready"
            )


def _find_options_without_switch(settings: Settings) -> Iterator[str]:
    config = settings.config
    for switch, options in OPTIONS_OF_SWITCH.items():
        for option in options if not getattr(config, switch) else ():
            if option in config.model_fields_set:
                yield f"config.{option}: has no effect, as {switch} is false"
    for name, section in (("statsd", settings.statsd), ("graphite", settings.graphite)):
        if section.model_fields_set and not section.server:
            yield f"{name}: has no effect without a server"
        elif section.server and not config.health_check_enabled:
            yield f"{name}: has no effect, as health_check_enabled is false"


def _find_options_of_pools(settings: Settings) -> Iterator[str]:
    for index, pool in enumerate(settings.pools):
        given = pool.timeout_notification
        timeout = settings.timeout_of(pool)
        if settings.config.manage_pools and given and given >= timeout:
            yield (
                f"pools[{index}].timeout_notification: has no effect: {as_yaml(given)} minutes are not less than the "
                f"timeout ({as_yaml(timeout)})"
            )


def _find_ready_ttl_of_zero(settings: Settings) -> Iterator[str]:
    for path in find_zero_ready_ttl(settings) if settings.config.manage_pools else ():
        yield (
            f"{path}: 0 recycles each ready VM at its next check, as in VMPooler. In earlier versions 0 meant never: "
            f"set a large number for that"
        )


def find_zero_ready_ttl(settings: Settings) -> list[str]:
    """Return the paths of the options `ready_ttl` that are 0."""
    values: dict[str, float | None] = {"config.ready_ttl": settings.config.ready_ttl}
    values |= {f"pools[{index}].ready_ttl": pool.ready_ttl for index, pool in enumerate(settings.pools)}
    return [path for path, value in values.items() if value == 0]


def _find_unused_weights(settings: Settings) -> Iterator[str]:
    used = {settings.clone_target_of(pool.name) for pool in settings.pools}
    for target in settings.config.backend_weight:
        if target not in used:
            yield f"config.backend_weight.{target}: has no effect: no pool has this clone target"
