"""Add a dead letter to its queue."""

from vmpooler_tasks.model.deadletters.entry import DeadLetter
from vmpooler_tasks.model.names import DeadLetterQueue
from vmpooler_tasks.store import keys
from vmpooler_tasks.store.deadletters.trim import DeadLetterLimits, Trimmed, limit_words
from vmpooler_tasks.store.redis.connection import Database


def push(
    db: Database, queue: DeadLetterQueue, dead_letter: DeadLetter, *, now: float, limits: DeadLetterLimits
) -> tuple[bool, Trimmed]:
    """Add a dead letter unless its failure was reported before, and remove what is too old or too many.

    Return (whether it is new, what was removed). It takes one round trip.
    """
    new, dropped, expired = db.run(
        "deadletters/push",
        [keys.dead_letters(queue), keys.DEAD_LETTER_IDS, keys.COUNTERS],
        [queue, now, *limit_words(limits), dead_letter.id, dead_letter.member()],
    )
    return bool(new), Trimmed.read(dropped, expired)
