"""The state of a pool in one word, with since when and why."""

from typing import Any

import pytest

from vmpooler_tasks.model.pools.pause import Pause, PauseState
from vmpooler_tasks.model.pools.state import PoolFacts, PoolState, PoolStateName, state_of

NOW = 1_700_000_000.0
SUSPENDED = {"suspended_until": NOW + 9, "suspended_by": "provider x failed repeatedly, or hung", "last_error": "reset"}
PAUSE = Pause(state=PauseState.PAUSED, since=NOW - 9, who="olga", why="disks")
NOBODY = {"obstacles": ("no beat is alive", "no worker takes vmpooler.clone")}


def state(**facts: Any) -> PoolState:
    return state_of(PoolFacts(**{"size": 4, "ready": 1, "pending": 0, "cloning": 0, "moved": NOW, **facts}), NOW)


@pytest.mark.parametrize(
    ("facts", "name", "why"),
    [
        ({"ready": 4}, "full", ""),
        ({"ready": 5, **SUSPENDED, **NOBODY}, "full", ""),
        ({"pending": 2, "cloning": 2}, "short", "short by 3, 2 being cloned"),
        ({"pending": 2}, "short", "short by 3, 2 pending"),
        ({"moved": None}, "short", "short by 3"),
        ({"ready": 0, "pending": 1, "cloning": 1}, "empty", "short by 4, 1 being cloned"),
        ({"size": 0, "ready": 0}, "empty", "its size is 0"),
        (SUSPENDED, "suspended", "provider x failed repeatedly, or hung. Last error: reset"),
        ({**SUSPENDED, **NOBODY, "last_error": ""}, "suspended", "provider x failed repeatedly, or hung"),
        (NOBODY, "stalled", "no beat is alive; no worker takes vmpooler.clone"),
        ({"moved": NOW - 61}, "stalled", "no clone has started or ended"),
        ({"moved": NOW - 59}, "short", "short by 3"),
        ({"moved": NOW - 61, "last_error": "reset"}, "stalled", "Last error: reset"),
        ({"moved": NOW - 61, "last_error": "reset", "waits_for": "no slot is free"}, "stalled", "no slot is free"),
        ({"moved": NOW - 899, "pending": 1, "cloning": 1}, "short", "short by 3, 1 being cloned"),
        ({"moved": NOW - 901, "pending": 1, "waits_for": "no slot"}, "stalled", "no clone has started or ended"),
        ({"pause": PAUSE, **SUSPENDED}, "paused", "by olga: disks"),
        ({"pause": Pause(state=PauseState.DRAINING, since=NOW, who="olga", why="")}, "draining", "by olga"),
    ],
)
def test_the_first_state_that_applies_is_shown(facts: dict[str, Any], name: str, why: str) -> None:
    found = state(**facts)
    assert (found.name, found.why) == (PoolStateName(name), why)


def test_since_and_until_are_those_of_the_state() -> None:
    assert (state(pause=PAUSE).since, state(**SUSPENDED).until) == (NOW - 9, NOW + 9)
    assert (state(**NOBODY).since, state().since) == (NOW, None)
