"""The log lines of a worker's start about pools with VMs that left the configuration."""

import logging

from vmpooler_tasks.errors import VmpoolerTasksError
from vmpooler_tasks.jobs.inspection import roster
from vmpooler_tasks.model.names import on_one_line
from vmpooler_tasks.store.guards import removed_pools
from vmpooler_tasks.tasks.process import database, settings

_log = logging.getLogger("vmpooler_tasks.pools")


def name_removed_pools() -> None:
    """Log each pool with VMs that is in no configuration. Where these workers manage pools, record it as well."""
    db, config = database(), settings().config
    try:
        found = roster.find_removed(db, settings())
        if config.manage_pools and not config.observe_only:
            names = [state.name for state in found]
            removed_pools.add(db, names, now=db.clock())
            found = removed_pools.read_states(db, names)
    except VmpoolerTasksError as error:
        _log.warning("[!] [config] pools without a configuration could not be found: %s", on_one_line(str(error)))
        return
    roster.log_removed(settings(), found)
