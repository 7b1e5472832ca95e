"""Celery's settings from VMPooler's configuration, and what a process has to prepare before Celery uses them."""

from dataclasses import dataclass
from typing import Any

from celery.app.backends import BACKEND_ALIASES
from kombu.transport import TRANSPORT_ALIASES

from vmpooler_tasks.config import Settings
from vmpooler_tasks.errors import ConfigurationError
from vmpooler_tasks.logs import end_with_error, is_json_log
from vmpooler_tasks.model.pools.lifecycle import MINUTE
from vmpooler_tasks.tasks import registry as names
from vmpooler_tasks.tasks.celery import defaults, signals
from vmpooler_tasks.tasks.celery.addresses import broker_settings, result_settings
from vmpooler_tasks.tasks.observe import flower_broker, flower_guard, log_format, outages
from vmpooler_tasks.tasks.process import settings

RESERVE_SECONDS = 300

_TRANSPORT = "vmpooler_tasks.tasks.broker.transport:GuardedTransport"
_TRANSPORTS = {
    "redis": _TRANSPORT,
    "rediss": _TRANSPORT,
    "sentinel": "vmpooler_tasks.tasks.broker.sentinel:SentinelTransport",
}

_BACKEND = "vmpooler_tasks.tasks.celery.results:ResultBackend"
_BACKENDS = {
    "redis": _BACKEND,
    "rediss": _BACKEND,
    "sentinel": "vmpooler_tasks.tasks.broker.sentinel:SentinelResultBackend",
}


def prepare_process() -> None:
    """Prepare this process for Celery: its log, our transport and result backends, the signals' receivers.

    Ends the process with status 78 if the configuration is not valid, or if it is a Flower that would be open to
    everybody. Calling it again changes nothing.
    """
    log_format.choose_for_this_program()
    flower_guard.refuse_open_flower()
    try:
        settings()
    except ConfigurationError as error:
        end_with_error(error)
    if flower_guard.is_flower():
        flower_broker.apply_whole_address(settings().broker_location)
        outages.announce_of_flower()
    install_transports()
    BACKEND_ALIASES.update(_BACKENDS)
    signals.connect_receivers()


def install_transports() -> None:
    """Make kombu use our guarded transport for every `redis://` in this process."""
    TRANSPORT_ALIASES.update(_TRANSPORTS)


def celery_settings() -> dict[str, Any]:
    """Return everything that Celery has to know: the defaults, and what follows from VMPooler's configuration."""
    chosen = settings()
    return {
        **{name: value for name, value in vars(defaults).items() if name.islower() and not name.startswith("_")},
        **broker_settings(chosen.broker_location),
        **result_settings(chosen.redis.location),
        "worker_enable_remote_control": bool(chosen.config.remote_control),
        "beat_schedule": schedule(chosen),
        "worker_redirect_stdouts": is_json_log() or defaults.worker_redirect_stdouts,  # a print() would be no JSON
        **time_limits(chosen),
    }


def time_limits(chosen: Settings) -> dict[str, Any]:
    """Return limits above the longest clone that a pool allows: Celery must not end it, nor deliver it twice before."""
    if not chosen.config.manage_pools:
        return {}
    longest = MINUTE * max(map(chosen.timeout_of, chosen.pools))
    soft = max(defaults.task_soft_time_limit, longest + RESERVE_SECONDS)
    hard = soft + defaults.task_time_limit - defaults.task_soft_time_limit
    options = broker_settings(chosen.broker_location)["broker_transport_options"]
    visibility = max(options["visibility_timeout"], hard + RESERVE_SECONDS)
    return {
        "task_soft_time_limit": soft,
        "task_time_limit": hard,
        "broker_transport_options": {**options, "visibility_timeout": visibility},
    }


@dataclass(frozen=True, slots=True)
class ScheduleSpec:
    """An entry of beat's schedule: its task, and the options that switch it on and set its interval in seconds."""

    name: str
    task: str
    switch: str
    interval: str


SCHEDULE_ENTRIES = (
    ScheduleSpec("purge", names.PURGE, "purge_enabled", "purge_interval"),
    ScheduleSpec("health", names.HEALTH_CHECK, "health_check_enabled", "health_check_interval"),
    ScheduleSpec("pools", names.CHECK_POOLS, "manage_pools", "check_loop_delay_min"),
    ScheduleSpec("requests", names.PROCESS_REQUESTS, "manage_pools", "check_loop_delay_min"),
)


def schedule(chosen: Settings) -> dict[str, dict[str, Any]]:
    """Return beat's entries: what is switched on, at the configured interval."""
    config = chosen.config
    return {
        entry.name: _tick(entry.task, getattr(config, entry.interval))
        for entry in SCHEDULE_ENTRIES
        if getattr(config, entry.switch)
    }


def _tick(task: str, interval: float) -> dict[str, Any]:
    return {
        "task": task,
        "schedule": interval,
        # Expires with the next one, so that ticks do not pile up while no worker runs. Nobody reads its result.
        "options": {"expires": interval, "ignore_result": True, "headers": {"tick": True}},
    }
