"""Which queues have no worker, whether a beat is missing, and whose clock is wrong."""

import pytest

from tests.support.fleet import beat, worker
from vmpooler_tasks.model.fleet import ALIVE_SECONDS, STOPPED_GRACE_SECONDS, Fleet, Heartbeat, SeenProcess, clock_offset

CLONE, CHECK = "vmpooler.clone", "vmpooler.check"


def fleet(*processes: tuple[Heartbeat, float]) -> Fleet:
    return Fleet([SeenProcess(*process) for process in processes])


def test_a_queue_is_missing_without_a_live_worker() -> None:
    one = worker(queues=(CLONE,))
    assert not fleet((one, ALIVE_SECONDS)).is_queue_missing(CLONE)
    assert fleet((one, ALIVE_SECONDS)).is_queue_missing(CHECK)
    assert fleet((one, ALIVE_SECONDS + 0.1)).is_queue_missing(CLONE)
    assert fleet().is_queue_missing(CLONE)
    assert fleet((beat(), 0)).is_queue_missing(CLONE)


def test_a_worker_that_said_goodbye_is_missing_after_a_minute() -> None:
    stopped = worker(queues=(CLONE,), stopped=True)
    assert fleet((stopped, 0)).workers == []
    assert not fleet((stopped, STOPPED_GRACE_SECONDS)).is_queue_missing(CLONE)
    assert fleet((stopped, STOPPED_GRACE_SECONDS + 0.1)).is_queue_missing(CLONE)


def test_the_goodbye_of_one_worker_does_not_excuse_another_that_was_killed_later() -> None:
    stopped, killed = worker("a@one", (CLONE,), stopped=True), worker("a@two", (CLONE,))
    assert fleet((stopped, 30), (killed, 20)).is_queue_missing(CLONE)
    assert not fleet((stopped, 30), (killed, 40)).is_queue_missing(CLONE)


def test_beats_count_likewise() -> None:
    assert fleet((worker(), 0)).is_beat_missing()
    assert not fleet((beat(), ALIVE_SECONDS)).is_beat_missing()
    assert fleet((beat(), ALIVE_SECONDS + 0.1)).is_beat_missing()
    assert not fleet((beat(stopped=True), STOPPED_GRACE_SECONDS)).is_beat_missing()
    assert not fleet((beat("one:1"), 100), (beat("two:1"), 1)).is_beat_missing()


@pytest.mark.parametrize(
    ("sent", "server", "received", "offset"),
    [(10, 10, 10, 0), (10, 11, 12, 0), (10, 9, 12, 1), (3610, 10, 3612, 3600), (10, 3610, 12, -3598), (10, 20, 40, 0)],
)
def test_a_clock_is_right_between_sending_and_reply(sent: float, server: float, received: float, offset: float) -> None:
    assert clock_offset(sent, server, received) == offset
