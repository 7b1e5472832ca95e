"""All pairs of sick states that can exist together: each reader shows both, and neither hides the other."""

from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import pytest

from tests.support.zoo import Seen, Zoo, zoo
from tests.support.zoo_states import STATES, TWINS, SickState, readers_expect

pytestmark = pytest.mark.stage(name="zoo")

Pair = frozenset[str]


def in_order(pairs: set[Pair]) -> Iterator[Pair]:
    """Yield all pairs so that most have a state in common with the one before: that state stays."""
    left, last = set(pairs), Pair()
    while left:
        last = min(left, key=lambda pair: (-len(pair & last), sorted(pair)))
        left.remove(last)
        yield last


ONCE = [state for state in STATES.values() if state.name not in TWINS]
PAIRS = {frozenset((one.name, other.name)) for one, other in combinations(ONCE, 2) if one.coexists(other)}

SUSPENDING = {"provider down", "template gone"}
"""A suspension ends with a clone that succeeds: not while the workers of the next pair of states are frozen or dead."""


@pytest.mark.timeout(1500)
def test_each_pair_is_shown_whole(tmp_path: Path) -> None:
    with zoo(tmp_path) as living:
        now = Pair()
        for pair in in_order(PAIRS):
            if SUSPENDING & (now - pair):
                _turn(living, now, Pair())
                now = Pair()
            _turn(living, now, pair)
            now = pair
        _turn(living, now, Pair())


def _turn(living: Zoo, before: Pair, after: Pair) -> None:
    """Repair and make sick, so that the other pair of states remains; wait for all readers."""
    for name in before - after:
        STATES[name].repair(living)
    for name in after - before:
        STATES[name].make(living)
    states: list[SickState] = [STATES[name] for name in after]

    def is_shown(seen: Seen) -> bool:
        return readers_expect(seen, states)

    took = living.shows(is_shown, f"{' and '.join(sorted(after)) or 'no state'} is shown")
    print(f"{' + '.join(sorted(after)) or 'healthy'}: {took:.1f} s")
