"""The publication of the effective configuration.

docs/operator-guide.md: `redis-cli HGET vmpooler__config dlq_enabled`.
"""

import logging

from vmpooler_tasks.errors import VmpoolerTasksError
from vmpooler_tasks.model.names import on_one_line
from vmpooler_tasks.store.fleet import heartbeats
from vmpooler_tasks.store.pools import other_manager
from vmpooler_tasks.store.vmpooler.config import is_published, publish_config
from vmpooler_tasks.tasks.other_manager import is_alone
from vmpooler_tasks.tasks.process import database, settings

_log = logging.getLogger("vmpooler_tasks")


def publish(*, only_if_missing: bool = False) -> None:
    """Write `vmpooler__config`, unless this process only observes, or is no pool manager and a live process is one.

    With `only_if_missing`, what is there stays: a key that was lost is written again.
    """
    if settings().config.observe_only:
        return
    db = database()
    try:
        if settings().config.manage_pools and not is_alone() and other_manager.has_traces(db):
            return  # another manager's values stay; check_pools does it when the watch for one has ended
        if only_if_missing and is_published(db):
            return
        if not settings().config.manage_pools and any(one.manages_pools for one in heartbeats.read_fleet(db).live):
            return  # the managers' values stay: VMPooler's API shows them
        publish_config(db, settings().published())
    except VmpoolerTasksError as error:
        _log.warning("[!] [config] vmpooler__config could not be written: %s", on_one_line(str(error)))
