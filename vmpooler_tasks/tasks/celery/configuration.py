"""VMPooler's configuration as Celery's: where the messages go, and what is due when."""

from functools import cache
from typing import Any

from celery.app.backends import BACKEND_ALIASES
from kombu.transport import TRANSPORT_ALIASES

from vmpooler_tasks.config import Settings, load_settings
from vmpooler_tasks.errors import ConfigurationError
from vmpooler_tasks.logs import in_json, refuse
from vmpooler_tasks.model.pools.lifecycle import MINUTE
from vmpooler_tasks.tasks import registry as names
from vmpooler_tasks.tasks.celery import defaults
from vmpooler_tasks.tasks.celery.addresses import broker_settings, result_settings
from vmpooler_tasks.tasks.observe.flower_broker import apply_whole_address
from vmpooler_tasks.tasks.observe.flower_guard import is_flower, refuse_open_flower
from vmpooler_tasks.tasks.observe.log_format import begin

RESERVE_SECONDS = 300

_GUARDED = "vmpooler_tasks.tasks.celery.transport:Transport"
GUARDED_TRANSPORTS = {
    "redis": _GUARDED,
    "rediss": _GUARDED,
    "sentinel": "vmpooler_tasks.tasks.celery.sentinel:Transport",
}

_FORGIVING = "vmpooler_tasks.tasks.celery.results:Backend"
FORGIVING_BACKENDS = {
    "redis": _FORGIVING,
    "rediss": _FORGIVING,
    "sentinel": "vmpooler_tasks.tasks.celery.sentinel:Backend",
}


@cache
def settings() -> Settings:
    """This process's settings, read once. Ends the process with status 78 and every problem if they are not valid."""
    try:
        return load_settings()
    except ConfigurationError as error:
        refuse(error)


def deployment() -> dict[str, Any]:
    """Everything that Celery has to know: the defaults, and what follows from VMPooler's configuration.

    Whoever runs with it talks to Redis through our guard, and stores results where that cannot fail a task.
    """
    begin()
    refuse_open_flower()
    chosen = settings()
    if is_flower():
        apply_whole_address(chosen.broker_location)
    guard_transport()
    BACKEND_ALIASES.update(FORGIVING_BACKENDS)
    return {
        **{name: value for name, value in vars(defaults).items() if name.islower() and not name.startswith("_")},
        **broker_settings(chosen.broker_location),
        **result_settings(chosen.redis.location),
        "beat_schedule": schedule(chosen),
        "worker_redirect_stdouts": in_json() or defaults.worker_redirect_stdouts,  # a print() would be no JSON
        **time_limits(chosen),
    }


def time_limits(chosen: Settings) -> dict[str, Any]:
    """A clone may take as long as its pool allows: Celery must neither end it nor deliver it a second time before."""
    if not chosen.config.manage_pools:
        return {}
    longest = MINUTE * max(pool.timeout or chosen.config.timeout for pool in chosen.pools)
    soft = max(defaults.task_soft_time_limit, longest + RESERVE_SECONDS)
    hard = soft + defaults.task_time_limit - defaults.task_soft_time_limit
    options = broker_settings(chosen.broker_location)["broker_transport_options"]
    visibility = max(options["visibility_timeout"], hard + RESERVE_SECONDS)
    return {
        "task_soft_time_limit": soft,
        "task_time_limit": hard,
        "broker_transport_options": {**options, "visibility_timeout": visibility},
    }


def guard_transport() -> None:
    """From now on, `redis://` is our own transport in this process."""
    TRANSPORT_ALIASES.update(GUARDED_TRANSPORTS)


def schedule(chosen: Settings) -> dict[str, dict[str, Any]]:
    """Beat's entries: what is switched on, at the interval that the configuration gives it."""
    config = chosen.config
    entries: dict[str, dict[str, Any]] = {}
    if config.purge_enabled:
        entries["purge"] = _tick(names.PURGE, config.purge_interval)
    if config.health_check_enabled:
        entries["health"] = _tick(names.HEALTH_CHECK, config.health_check_interval)
    if config.manage_pools:
        entries["pools"] = _tick(names.CHECK_POOLS, config.check_loop_delay_min)
        entries["requests"] = _tick(names.PROCESS_REQUESTS, config.check_loop_delay_min)
    return entries


def _tick(task: str, interval: float) -> dict[str, Any]:
    return {
        "task": task,
        "schedule": interval,
        # Expires with the next one, so that ticks do not pile up while no worker runs; nobody reads its result.
        "options": {"expires": interval, "ignore_result": True, "headers": {"tick": True}},
    }
