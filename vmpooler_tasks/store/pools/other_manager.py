"""The watch for another pool manager on the same Redis: VMPooler's own, known by what it writes there.

docs/beside-vmpooler.md: what is watched, and what cannot be seen.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from vmpooler_tasks.model.manager_watch import UNWATCHED, ManagerWatch, WatchState
from vmpooler_tasks.model.names import Queue, readable
from vmpooler_tasks.model.timestamps import parse_time
from vmpooler_tasks.store import keys
from vmpooler_tasks.store.redis.connection import Database
from vmpooler_tasks.store.redis.numbers import finite, leading_number
from vmpooler_tasks.store.redis.reads import Reads

QUIET_SECONDS = 120.0
"""Without a sighting for this long, another manager is gone. Two sightings within this time prove one."""

WATCHED_INTERVALS = 2
"""Check intervals that a watch takes."""

GAP_SECONDS = 120.0
"""The pool workers start anew, with a watch, if no check of theirs ran for this long. A restart takes less."""

CLOCK_SLACK_SECONDS = 60.0
"""How far the clock of another manager may be behind: an older `clone` time is not a new one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CorrectedCounter:
    """One of VMPooler's counters, which another manager had left behind."""

    key: str
    wrong: str
    right: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchCheck:
    """The result of one check of the watch: the state before (None for the first check) and now, and what was seen."""

    before: WatchState | None
    state: WatchState
    evidence: str
    corrected: Sequence[CorrectedCounter]

    @property
    def is_alone(self) -> bool:
        return self.state is WatchState.ALONE

    @property
    def became_alone(self) -> bool:
        return self.is_alone and self.before is not WatchState.ALONE


def observe(db: Database, pools: Sequence[str], *, now: float, interval_seconds: float) -> WatchCheck:
    """Check whether another manager is at work. If there is none, correct VMPooler's counters. Return what was seen.

    `now` is the server's time. One process calls this at each check interval.
    """
    watch_seconds = WATCHED_INTERVALS * interval_seconds
    quiet_seconds = max(QUIET_SECONDS, watch_seconds)
    before, state, evidence, *corrected = db.run(
        "pools/watch_managers",
        [
            *(keys.MANAGER_WATCH, keys.FOREIGN_CLONES, keys.LAST_BOOT),
            *(*keys.POOL_SLOTS[:2], *keys.REQUEST_SLOTS[:2], keys.OWN_BOOTS, keys.SET_ASIDE),
        ],
        [
            *(f"{now:.3f}", watch_seconds, quiet_seconds, max(GAP_SECONDS, quiet_seconds, 2 * watch_seconds)),
            *(keys.VM_PREFIX, keys.WORK_PREFIX, keys.queue(Queue.PENDING, "")),
            *_candidates(db, pools, now - watch_seconds - CLOCK_SLACK_SECONDS),
        ],
    )
    words = [readable(word) for word in corrected]
    return WatchCheck(
        before=WatchState(before.decode()) if before else None,
        state=WatchState(state.decode()),
        evidence=readable(evidence),
        corrected=[
            CorrectedCounter(key=key, wrong=wrong, right=right)
            for key, wrong, right in zip(words[::3], words[1::3], words[2::3], strict=True)
        ],
    )


def _candidates(db: Database, pools: Sequence[str], new_after: float) -> Iterator[str | bytes | int]:
    """Yield the words of each pending VM that holds no slot: its pool, its name, 1 if its clone time is new."""
    reads = Reads()
    for pool in pools:  # before the slots: a VM that is started meanwhile is no candidate
        reads.add(pool, "SMEMBERS", keys.queue(Queue.PENDING, pool))
    for slots in (keys.POOL_SLOTS, keys.REQUEST_SLOTS):
        reads.add(slots.key, "ZRANGE", slots.key, 0, -1)
    found = reads.send(db)
    held = {vm for slots in (keys.POOL_SLOTS, keys.REQUEST_SLOTS) for vm in found.get(slots.key, ())}
    vms = [(pool, vm) for pool in pools for vm in sorted(set(found.get(pool, ())) - held)]
    times = Reads()
    for _, vm in vms:
        times.add(vm, "HGET", keys.vm(vm), "clone")
    clone_times = times.send(db)
    for pool, vm in vms:
        started = parse_time(clone_times.get(vm, b""))
        yield from (pool, vm, int(started is not None and started.timestamp() >= new_after))


def read_watch(db: Database) -> ManagerWatch:
    """Return the watch. Raise WrongTypeError."""
    with db.translated_errors(keys.MANAGER_WATCH):
        pipe = db.client.pipeline(transaction=False)
        pipe.hmget(keys.MANAGER_WATCH, *WATCH_FIELDS)
        pipe.execute_command("TIME")
        fields, time = pipe.execute()
    return parse_watch(fields, time)


WATCH_FIELDS = ("state", "until", "valid_until", "sightings", "evidence")


def parse_watch(fields: Sequence[bytes | None], time: tuple[int, int]) -> ManagerWatch:
    """Return the watch; `fields` are the values of WATCH_FIELDS, `time` is the reply to TIME."""
    state, until, valid_until, sightings, evidence = fields
    if state is None or (finite(readable(valid_until or b"")) or 0.0) < time[0]:
        return UNWATCHED
    try:
        known = WatchState(readable(state))
    except ValueError:
        return UNWATCHED
    return ManagerWatch(
        state=known,
        until=finite(readable(until or b"")),
        sightings=leading_number(sightings),
        evidence=readable(evidence or b""),
    )


def has_traces(db: Database) -> bool:
    """Return True if Redis has anything that a pool manager leaves: then one may be at work now."""
    traces = (keys.POOLS, keys.LAST_BOOT, *(slots.counter for slots in (keys.POOL_SLOTS, keys.REQUEST_SLOTS)))
    return bool(db.call("EXISTS", *traces))
