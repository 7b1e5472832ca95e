"""A run on the Redis of a VMPooler: what it will and will not touch, and the settings that keep it from more.

docs/beside-vmpooler.md describes it for operators.
"""

import os
import textwrap
from collections.abc import Iterator, Mapping, MutableMapping
from pathlib import Path

from vmpooler_tasks.config import Settings, load_settings
from vmpooler_tasks.config.extra_files import NO_FILE
from vmpooler_tasks.errors import VmpoolerTasksError
from vmpooler_tasks.model.names import listed
from vmpooler_tasks.store import Database, broker_keys
from vmpooler_tasks.store.fleet import heartbeats
from vmpooler_tasks.store.vmpooler import queues

FEATURES = {
    "DLQ_ENABLED": "true",
    "PURGE_ENABLED": "true",
    "HEALTH_CHECK_ENABLED": "true",
    "HEALTH_CHECK_INTERVAL": "60",
}
"""What is switched on where no configuration is named: without it there would be nothing to see."""


WIDTH = 80
HANGING_INDENT = " " * 11
MAX_NAMED_POOLS = 3


class OtherFleetError(VmpoolerTasksError):
    """Other workers use this Redis"""

    exit_status = os.EX_TEMPFAIL


class NobodyConfirmedError(VmpoolerTasksError):
    """Nobody confirmed this run: stdin is not a terminal"""

    exit_status = os.EX_CONFIG


def settings_beside(settings: Settings, environ: MutableMapping[str, str], file: Path | None) -> Settings:
    """Return the settings of a run on a Redis that is not its own, and set them in the environment of its processes.

    It only observes, unless the configuration says `observe_only: false`. Without a configuration the three features
    are on.
    """
    changed: dict[str, str] = {}
    if settings.source == NO_FILE:
        changed |= {name: value for name, value in FEATURES.items() if not environ.get(name)}
    if "observe_only" not in settings.config.model_fields_set:
        changed["OBSERVE_ONLY"] = "true"
        if settings.config.manage_pools:
            changed["MANAGE_POOLS"] = "false"
    environ.update(changed)
    return load_settings(environ, file)


def refuse_other_fleet(db: Database, settings: Settings) -> None:
    """Raise OtherFleetError if other workers or beats run on this Redis: they would share their tasks with this run."""
    others = [process.name for process in heartbeats.read_fleet(db).live]
    if settings.config.observe_only and others:
        raise OtherFleetError(
            f"{', '.join(others)}. They would take tasks of this run, and this run theirs. "
            "If they have just been killed, start again in 15 s"
        )


def describe(db: Database, settings: Settings) -> str:
    """Return what a run with these settings will and will not touch, as lines for a terminal of 80 columns."""
    lines = _observing_lines(settings) if settings.config.observe_only else _changing_lines(settings)
    return "".join(f"{_wrapped(line)}\n" for line in [*_place_lines(db, settings), *lines])


def _wrapped(line: str) -> str:
    return textwrap.fill(line, WIDTH, subsequent_indent=HANGING_INDENT, break_long_words=False, break_on_hyphens=False)


def exports(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that `settings_beside` may have set, for other terminals."""
    names = (*FEATURES, "OBSERVE_ONLY", "MANAGE_POOLS")
    return {name: environ[name] for name in names if environ.get(name)}


def _place_lines(db: Database, settings: Settings) -> Iterator[str]:
    registered = queues.pool_names(db)
    yield f"Redis:   {settings.redis.address}"
    named = listed(registered, MAX_NAMED_POOLS) or "the right Redis?"
    yield f"         VMPooler has registered {_count(registered)} there: {named}"
    own = listed([pool.name for pool in settings.pools], MAX_NAMED_POOLS)
    yield f"Pools:   {f'those of {settings.source}: {own}' if own else 'those that VMPooler has registered'}"
    yield f"Options: {settings.source if settings.source != NO_FILE else 'no configuration is named: the defaults'}"


def _observing_lines(settings: Settings) -> Iterator[str]:
    yield "This run only observes (observe_only)."
    yield "It reads   vmpooler__*"
    yield "It writes  vmpooler_tasks__*, and the keys of Celery's messages"
    yield f"           {' '.join(broker_keys.CELERY_KEYS)}"
    yield "           vmpooler__dlq__tasks: its own failed tasks"
    yield "           vmpooler__health, unless another program wrote it in the last hour"
    yield f"A purge    {'is a dry run: it reports, and removes nothing' if settings.config.purge_enabled else 'is off'}"
    yield "It makes, moves and destroys no VM. It registers no pool and does not write"
    yield "vmpooler__config. It refuses to redrive, to delete and to request."
    if targets := list(_targets(settings)):
        yield f"It sends   as your configuration says: {', '.join(targets)}"
    yield "docs/beside-vmpooler.md: every key, and how to remove each trace."


def _targets(settings: Settings) -> Iterator[str]:
    """Yield what leaves these processes: metrics and notifications."""
    for name, server in (("StatsD", settings.statsd.server), ("Graphite", settings.graphite.server)):
        if server:
            yield f"metrics to {name} on {server}"
    if settings.notify.targets:
        yield f"notifications to {', '.join(target.name for target in settings.notify.targets)}"


def _changing_lines(settings: Settings) -> Iterator[str]:
    config = settings.config
    purge = "dry run" if config.is_purge_dry else "REMOVES stale entries from VMPooler's queues"
    yield "This run CHANGES data of VMPooler (observe_only: false)."
    yield f"Purge:   {purge if config.purge_enabled else 'off'}"
    yield f"VMs:     {'it MAKES AND DESTROYS VMs (manage_pools)' if config.manage_pools else 'VMPooler manages them'}"
    yield "It writes vmpooler__config and vmpooler__health."


def _count(names: list[str]) -> str:
    return f"{len(names)} pool{'' if len(names) == 1 else 's'}"
