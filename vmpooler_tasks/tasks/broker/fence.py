"""The fence of a message: a task is not run whose message another worker has taken meanwhile.

A worker may freeze with messages that it has reserved, and wake after they were given to others. It would run them a
second time. The message of a reserved task names its holder, and the server knows who holds it now.
"""

from collections.abc import Mapping
from typing import Any

from vmpooler_tasks.errors import VmpoolerTasksError
from vmpooler_tasks.store import Database, broker_keys
from vmpooler_tasks.tasks.broker import scripts

HOLDER = "holder"
"""The property of a message that names who took it. It is in the memory of that worker alone, never in Redis."""


def is_held(broker: Database, properties: Mapping[str, Any] | None) -> bool:
    """Return False if the message with these properties was given to another worker, or is done.

    Return True where that cannot be found out: the task itself has to be safe for a second run in any case.
    """
    tag, holder = ((properties or {}).get(name) for name in ("delivery_tag", HOLDER))
    if not tag or not holder:
        return True  # not taken from a queue: the task was called
    names = (broker_keys.UNACKNOWLEDGED, broker_keys.UNACKNOWLEDGED_HOLDERS)
    try:
        return bool(broker.call("EVAL", scripts.IS_HELD, len(names), *names, tag, holder))
    except VmpoolerTasksError:
        return True
