"""The state of a pool in one word, with since when and why. The command, the API and the page show the same."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from vmpooler_tasks.model.guards.brake import Brake
from vmpooler_tasks.model.pools.pause import Pause, PauseState

IDLE_SECONDS = 60.0
"""A pool that lacks VMs and has no clone in flight stands still after this time: the next check starts clones."""


class PoolStateName(StrEnum):
    """The states of a pool. Of several that apply, the first in this order is shown."""

    REMOVED = "removed"
    """It is in no configuration, and has VMs."""

    DRAINING = "draining"
    PAUSED = "paused"
    SUSPENDED = "suspended"
    STALLED = "stalled"
    """It lacks VMs, and nothing moves."""

    BRAKED = "braked"
    """Its brake is engaged: strays and missing VMs are not destroyed."""

    EMPTY = "empty"
    """Its size is 0, or it has no ready VM."""

    SHORT = "short"
    """It lacks VMs, and gets them."""

    FULL = "full"


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolState:
    """A pool's state. `since` and `until` are epochs, None where they are not known. `why` is text, '' for none.

    An `until` in the past means: until a clone succeeds.
    """

    name: PoolStateName
    why: str = ""
    since: float | None = None
    until: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolFacts:
    """What decides a pool's state. Times are epochs.

    `suspended_until`: of the pool or its provider, if the breaker suspends one of them; `suspended_by` says which, and
    why.
    `moved`: the last moment at which the pool had all its VMs, a clone of it started, or a VM became ready.
    `obstacles`: what keeps clones from starting anywhere. `waits_for`: what a pool without a clone in flight may wait
    for. `clone_seconds`: how long one clone may take. `brake`: the pool's brake while it is engaged.
    """

    size: int
    ready: int
    pending: int
    cloning: int
    pause: Pause | None = None
    suspended_until: float | None = None
    suspended_by: str = ""
    moved: float | None = None
    last_error: str = ""
    obstacles: Sequence[str] = ()
    waits_for: str = ""
    clone_seconds: float = 900.0
    brake: Brake | None = None


def state_of(facts: PoolFacts, now: float) -> PoolState:
    """Return the state of the pool."""
    if pause := facts.pause:
        name = PoolStateName.DRAINING if pause.state is PauseState.DRAINING else PoolStateName.PAUSED
        why = f"by {pause.who}: {pause.why}" if pause.why else f"by {pause.who}"
        return PoolState(name=name, since=pause.since, why=why)
    lacking = facts.size - facts.ready
    if facts.size == 0 or lacking <= 0:
        return _braked(facts) or _at_rest(facts)
    if facts.suspended_until is not None:
        error = f". Last error: {facts.last_error}" if facts.last_error else ""
        return PoolState(name=PoolStateName.SUSPENDED, until=facts.suspended_until, why=facts.suspended_by + error)
    if why := _standstill(facts, now):
        return PoolState(name=PoolStateName.STALLED, since=facts.moved, why=why)
    if braked := _braked(facts):
        return braked
    progress = f"{facts.cloning} being cloned" if facts.cloning else f"{facts.pending} pending" if facts.pending else ""
    name = PoolStateName.SHORT if facts.ready else PoolStateName.EMPTY
    return PoolState(name=name, why=", ".join(part for part in (f"short by {lacking}", progress) if part))


def _at_rest(facts: PoolFacts) -> PoolState:
    if facts.size == 0:
        return PoolState(name=PoolStateName.EMPTY, why="its size is 0")
    return PoolState(name=PoolStateName.FULL)


def _braked(facts: PoolFacts) -> PoolState | None:
    brake = facts.brake
    return PoolState(name=PoolStateName.BRAKED, since=brake.since, why=brake.counts_text) if brake else None


def _standstill(facts: PoolFacts, now: float) -> str:
    """Return why nothing moves in a pool that lacks VMs; '' if something may move."""
    if facts.obstacles:
        return "; ".join(facts.obstacles)
    patience = facts.clone_seconds if facts.pending else IDLE_SECONDS
    if facts.moved is None or now - facts.moved <= patience:
        return ""
    waits_for = "" if facts.pending else facts.waits_for
    error = f"Last error: {facts.last_error}" if facts.last_error else ""
    return waits_for or error or "no clone has started or ended"
