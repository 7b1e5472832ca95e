"""Each sick state is shown within seconds by every reader, and its end as well, with nobody asking for a check."""

from collections.abc import Iterator

import pytest

from tests.support.zoo import Zoo, zoo
from tests.support.zoo_states import MAIN, STATES, SickState

pytestmark = pytest.mark.slow(seconds=150)

ZOO = pytest.mark.stage(name="zoo")


@pytest.fixture(scope="module")
def living(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zoo]:
    with zoo(tmp_path_factory.mktemp("zoo"), page=True) as made:
        yield made


@pytest.mark.parametrize(
    "state",
    [pytest.param(state, id=name, marks=() if name in MAIN else ZOO) for name, state in STATES.items()],
)
def test_a_state_is_shown_by_all_readers_and_so_is_its_end(living: Zoo, state: SickState) -> None:
    living.is_well()
    state.make(living)
    sick = living.shows(state.is_shown, f"{state.name} is shown")
    state.repair(living)
    well = living.is_well()
    print(f"{state.name}: shown after {sick:.1f} s, healthy again after {well:.1f} s")
