"""The inspections of real workers, as Redis shows them: a test that awaits some does not depend on the machine."""

from tests.support.processes import until
from vmpooler_tasks.store import Database, keys
from vmpooler_tasks.store.health.progress import inspections_of


def last_inspection(db: Database, pool: str) -> float:
    """Return when an inspection of the pool ended well last, by the server's clock."""
    return float(db.call("HGET", keys.PROGRESS, inspections_of(pool)) or 0)


def wait_for_inspections(db: Database, *pools: str, times: int = 1, seconds: float = 0.0) -> None:
    """Wait until each pool was inspected so many times from now on, the last time after so many seconds at least."""
    started = db.read_time()
    for _ in range(times):
        since = db.read_time()
        until(
            lambda since=since: all(last_inspection(db, pool) > max(since, started + seconds) for pool in pools),  # type: ignore[misc]
            f"an inspection of each of {pools} ends well",
        )
