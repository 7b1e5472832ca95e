"""Each sick state is shown within seconds by every reader, and its end as well, with nobody asking for a check."""

import signal
from collections.abc import Callable, Iterator

import pytest

from tests.support.processes import until
from tests.support.zoo import Seen, Zoo, zoo
from tests.support.zoo_states import MAIN, STATES, SickState

pytestmark = pytest.mark.slow(seconds=130)

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


def _freeze_redis(living: Zoo) -> None:
    assert living.server.process is not None
    living.server.process.send_signal(signal.SIGSTOP)


def _thaw_redis(living: Zoo) -> None:
    assert living.server.process is not None
    living.server.process.send_signal(signal.SIGCONT)


@ZOO
@pytest.mark.parametrize(
    ("make", "repair"),
    [
        pytest.param(_freeze_redis, _thaw_redis, id="frozen"),
        pytest.param(lambda living: living.server.kill(), lambda living: living.server.start(), id="killed"),
    ],
)
def test_redis_down_is_shown_by_all_readers_and_so_is_its_end(
    living: Zoo, make: Callable[[Zoo], None], repair: Callable[[Zoo], None]
) -> None:
    living.is_well()
    make(living)
    try:
        gone = living.shows_no_redis()
    finally:
        repair(living)
    print(f"Redis: shown after {gone:.1f} s, healthy again after {living.is_well():.1f} s")


@ZOO
@pytest.mark.parametrize(
    ("make", "repair"),
    [
        pytest.param(lambda living: living.freeze("web"), lambda living: living.thaw("web"), id="frozen"),
        pytest.param(lambda living: living.kill("web"), lambda living: living.start("web"), id="killed"),
    ],
)
def test_the_web_process_down_changes_no_status(
    living: Zoo, make: Callable[[Zoo], None], repair: Callable[[Zoo], None]
) -> None:
    """Nobody gets less VMs. A probe of /healthz notices, and Prometheus, which cannot scrape it."""
    living.is_well()
    make(living)
    try:
        until(lambda: not living.serves(), "the web process does not respond")
        assert living.by_command() == Seen("healthy", frozenset())
    finally:
        repair(living)
    until(living.serves, "it responds again")
    print(f"web: the same status everywhere after {living.is_well():.1f} s")
