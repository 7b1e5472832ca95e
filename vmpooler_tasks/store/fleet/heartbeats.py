"""The heartbeats of workers and beats. Their times are the server's, so a wrong clock elsewhere does not matter."""

from collections.abc import Collection, Mapping

from vmpooler_tasks.model.fleet import Fleet, Heartbeat, SeenProcess
from vmpooler_tasks.store import fleet_keys
from vmpooler_tasks.store.fleet import pool_lists
from vmpooler_tasks.store.redis.connection import Database
from vmpooler_tasks.store.redis.numbers import finite

HEARTBEAT_KEPT_SECONDS = 600
"""A heartbeat is kept for this long, so that health can name the process that is missing."""


def record(db: Database, heartbeat: Heartbeat, pools: Collection[str] = ()) -> float:
    """Record the heartbeat, and remove those that are too old. Return the server's time, in seconds since the epoch.

    `pools`: those of its configuration. Their list is written again if it does not exist.
    """
    configuration = heartbeat.configuration
    now, is_listed = db.run(
        "fleet/record_heartbeat",
        [fleet_keys.HEARTBEATS, fleet_keys.HEARTBEAT_TIMES, fleet_keys.pool_list(configuration)],
        [heartbeat.process, heartbeat.as_record(), HEARTBEAT_KEPT_SECONDS, pool_lists.POOL_LIST_SECONDS],
    )
    if not is_listed:
        pool_lists.publish(db, configuration, pools)
    return float(now)


def read_fleet(db: Database) -> Fleet:
    """Return all processes. Raises WrongTypeError."""
    with db.translated_errors(fleet_keys.HEARTBEATS):
        pipe = db.client.pipeline(transaction=False)
        pipe.execute_command("HGETALL", fleet_keys.HEARTBEATS)
        pipe.execute_command("TIME")
        found, time = pipe.execute()
    return parse_fleet(found, time)


def read_fleet_with_pools(db: Database) -> Fleet:
    """Return the workers and beats, with the pools in their configurations. Two round trips."""
    return pool_lists.with_pool_lists(db, read_fleet(db))


def parse_fleet(found: Mapping[bytes, bytes], time: tuple[int, int] | None) -> Fleet:
    """Return the processes by name; `time` is the reply to TIME. A record that cannot be read is left out."""
    now = 0.0 if time is None else time[0] + time[1] / 1e6
    processes = [process for raw in found.values() if (process := _parse(raw, now))]
    return Fleet(sorted(processes, key=lambda process: process.last.process))


def _parse(raw: bytes, now: float) -> SeenProcess | None:
    seen, _, record = raw.decode(errors="replace").partition(" ")
    epoch, heartbeat = finite(seen), Heartbeat.from_record(record)
    return None if epoch is None or heartbeat is None else SeenProcess(heartbeat, max(now - epoch, 0.0))
