"""Every key in Redis that Celery and kombu define, and what is kept beside them. The others: `keys`, `fleet_keys`.

The docstring of a key starts with its type, as in `keys`.
"""

CELERY_KEYS = ("vmpooler.*", "unacked*", "_kombu.*", "celery-task-meta-*", "celeryev.*", "*.celery.pidbox*")
"""Patterns of all keys of Celery and kombu; deploy/redis/users.acl has the same."""

UNACKNOWLEDGED = b"unacked"
"""Hash: messages that workers hold. The key is kombu's."""

UNACKNOWLEDGED_HOLDERS = b"unacked_holders"
"""Hash: delivery tag → the holder of the message: a channel of a worker."""

LIVE_HOLDERS = b"unacked_alive"
"""Sorted set: holder → epoch of its last sign of life; those that were silent for a day are removed."""

BINDINGS = b"_kombu.binding.vmpooler"
"""Set: the queues of this project. The key is kombu's; a worker and a beat write it at their start."""

_PRIORITIES = (b"", b"\x06\x163", b"\x06\x166", b"\x06\x169")
"""kombu keeps one list for each priority. Only the tasks may import kombu: a test compares these with kombu's own."""


def messages(queue: str) -> list[bytes]:
    """Return the keys of the lists of one of Celery's queues."""
    return [queue.encode() + priority for priority in _PRIORITIES]
