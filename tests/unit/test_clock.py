"""The clock that follows the server's, with few reads of it."""

import pytest

from vmpooler_tasks.clock import RESYNC_SECONDS, ServerClock
from vmpooler_tasks.errors import StoreUnavailableError

SERVER = 1_705_314_600.0


class Machine:
    """A machine's timer, and a server whose time a read returns half-way through its delay."""

    def __init__(self) -> None:
        self.timer, self.ahead, self.delay, self.reads, self.is_down = 500.0, SERVER - 500.0, 0.0, 0, False
        self.clock = ServerClock(self.read, lambda: self.timer)

    def read(self) -> float:
        if self.is_down:
            raise StoreUnavailableError("redis://localhost:6379")
        self.reads += 1
        self.timer += self.delay / 2
        server = self.timer + self.ahead
        self.timer += self.delay / 2
        return server


@pytest.fixture
def machine() -> Machine:
    return Machine()


def test_it_shows_the_servers_time_and_reads_it_once_in_a_while(machine: Machine) -> None:
    assert machine.clock() == SERVER
    machine.timer += RESYNC_SECONDS - 1
    assert (machine.clock(), machine.reads) == (SERVER + RESYNC_SECONDS - 1, 1)
    machine.timer += 1
    assert (machine.clock(), machine.reads) == (SERVER + RESYNC_SECONDS, 2)


@pytest.mark.parametrize("seconds", [3600, -3600, 0.5, -0.5])
def test_it_follows_a_server_whose_time_changes_and_a_timer_that_stood_still(machine: Machine, seconds: float) -> None:
    machine.clock()
    machine.ahead += seconds
    machine.timer += RESYNC_SECONDS
    assert machine.clock() == SERVER + RESYNC_SECONDS + seconds


def test_a_slow_read_does_not_move_it(machine: Machine) -> None:
    machine.clock()
    machine.timer, machine.delay = machine.timer + RESYNC_SECONDS, 4.0
    assert machine.clock() == machine.timer + machine.ahead


def test_a_slow_first_read_leaves_it_behind_by_no_more_than_its_delay_until_the_next_one(machine: Machine) -> None:
    machine.delay = 4.0
    assert -4.0 <= machine.clock() - machine.timer - machine.ahead <= 0
    machine.timer, machine.delay = machine.timer + RESYNC_SECONDS, 0.0
    assert machine.clock() == machine.timer + machine.ahead


def test_threads_that_read_it_first_at_once_agree_and_it_never_goes_back(machine: Machine) -> None:
    reads = [(0.2, 1.0), (0.2, 0.0)]
    shown: list[float] = []

    def read() -> float:
        before, after = reads.pop(0)
        machine.timer += before
        server = machine.timer + machine.ahead
        if reads:  # another thread reads it for the first time, too, and its reply is there earlier
            shown.append(clock())
        machine.timer += after
        return server

    clock = ServerClock(read, lambda: machine.timer)
    shown += [clock(), clock()]
    assert shown == sorted(shown)
    assert shown[1] - shown[0] == pytest.approx(1.0)


def test_it_raises_what_the_read_raises_and_recovers(machine: Machine) -> None:
    machine.is_down = True
    with pytest.raises(StoreUnavailableError):
        machine.clock()
    machine.is_down = False
    assert machine.clock() == SERVER
