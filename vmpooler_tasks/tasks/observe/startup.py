"""The first log lines of a worker: which features are on, their settings, and what has no effect."""

from collections.abc import Iterator

from vmpooler_tasks.config import Settings
from vmpooler_tasks.config.checks.advice import find_zero_ready_ttl
from vmpooler_tasks.config.schema import as_yaml
from vmpooler_tasks.jobs.notifications.notifier import is_active
from vmpooler_tasks.model.names import on_one_line

MAX_WARNING_LINES = 20
"""Warnings that a starting worker logs. A mistake may be repeated for each of hundreds of pools."""


def feature_lines(settings: Settings) -> list[str]:
    """Return a log line for each feature."""
    config = settings.config
    targets = ", ".join(target.name for target in settings.notify.targets)
    pools = ", ".join(pool.name for pool in settings.pools) or "those that VMPooler has registered in Redis"
    purge = f"every {as_yaml(config.purge_interval)} s" + (
        ", dry run: nothing is changed" if config.is_purge_dry else ""
    )
    return [
        f"[*] [config] Read {settings.source}; Redis at {settings.redis.address}; pools: {pools}",
        *_observing_lines(config.observe_only),
        _line(
            "dead letters",
            config.dlq_enabled,
            f"kept {as_yaml(config.dlq_ttl)} h, at most {config.dlq_max_entries} and {_size(config.dlq_max_bytes)} "
            "per queue",
        ),
        _line("purge", config.purge_enabled, purge),
        _line(
            "pool manager",
            config.manage_pools,
            f"a check every {as_yaml(config.check_loop_delay_min)} s, {config.task_limit} clones at once for pools and "
            f"{config.ondemand_clone_limit} for requests",
        ),
        *(_recycling_lines(settings) if config.manage_pools else ()),
        _line("health check", config.health_check_enabled, f"every {as_yaml(config.health_check_interval)} s"),
        _line("notifications", is_active(settings), f"after {as_yaml(config.notify_after)} s, to {targets}"),
    ]


def warning_lines(settings: Settings) -> list[str]:
    """Return a log line for each doubtful value, and one for all options of VMPooler that have no effect here."""
    lines = [f"[!] [config] {on_one_line(warning)}" for warning in settings.warnings[:MAX_WARNING_LINES]]
    if (more := len(settings.warnings) - MAX_WARNING_LINES) > 0:
        lines.append(f"[!] [config] {more} more warnings: `vmpooler-tasks config check` shows them")
    if settings.unused and settings.config.manage_pools:
        names = ", ".join(option.path for option in settings.unused)
        lines.append(
            f"[!] [config] options of VMPooler without effect here: {on_one_line(names)} "
            "(`vmpooler-tasks config check` says why)"
        )
    return lines


def _recycling_lines(settings: Settings) -> Iterator[str]:
    """Yield when ready VMs are recycled. Earlier versions recycled none without `ready_ttl`, or with 0."""
    config, start = settings.config, "[*] [config] ready VMs:"
    if "ready_ttl" not in config.model_fields_set:
        yield (
            f"{start} recycled after {as_yaml(config.ready_ttl)} minutes, VMPooler's default, as ready_ttl is not set. "
            "Earlier versions recycled none"
        )
    elif config.ready_ttl:
        yield f"{start} recycled after {as_yaml(config.ready_ttl)} minutes"
    if zero := find_zero_ready_ttl(settings):
        yield f"{start} recycled at their next check, as {', '.join(zero)} is 0. In earlier versions 0 meant never"


def _observing_lines(is_observing: bool) -> list[str]:
    return ["[*] [config] observe only: no key of VMPooler is changed"] if is_observing else []


def _size(count: int) -> str:
    return f"{count} bytes" if count % 2**20 else f"{count // 2**20} MiB"


def _line(what: str, on: bool, details: str) -> str:
    return f"[*] [config] {what}: {'on, ' + details if on else 'off'}"
