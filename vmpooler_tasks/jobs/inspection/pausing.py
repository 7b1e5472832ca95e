"""The inspection of a pool that its operator has paused or drains."""

import logging

from vmpooler_tasks.config import Pool
from vmpooler_tasks.jobs.pools.context import PoolContext
from vmpooler_tasks.model.names import Queue
from vmpooler_tasks.model.pools.pause import Pause, PauseState
from vmpooler_tasks.store.pools import clones, pauses, views
from vmpooler_tasks.store.pools.views import PoolView

_log = logging.getLogger("vmpooler_tasks.pools")


def keep_paused(context: PoolContext, pool: Pool, view: PoolView, pause: Pause) -> PoolView:
    """Take back the clones of a paused pool that no worker has started, and empty a draining pool.

    Return the pool as it is afterwards.
    """
    db, name = context.db, pool.name
    taken = clones.take_back(db, name, sorted(view.queues[Queue.PENDING]), now=context.clock())
    moved = []
    if pause.state is PauseState.DRAINING:
        moved = [vm for queue in (Queue.PENDING, Queue.READY) for vm in pauses.drain(db, name, queue)]
    if taken:
        _log.info("[*] [%s] paused: %d clones that no worker had started are taken back", name, len(taken))
    if moved:
        _log.info("[*] [%s] draining: %d pending and ready VMs moved to completed", name, len(moved))
    return views.read_view(db, name, context.settings.provider_of(pool)) if taken or moved else view
