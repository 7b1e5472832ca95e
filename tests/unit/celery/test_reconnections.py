"""A worker does not reconnect hundreds of times a second to a Redis that refuses its commands."""

from vmpooler_tasks.tasks.celery.consumer import MAX_PAUSE_SECONDS, STABLE_SECONDS, Reconnections


def test_first_loss_is_followed_by_a_connection_at_once() -> None:
    now = 0.0
    reconnections = Reconnections(lambda: now)
    assert reconnections.next_pause() == 0
    now += STABLE_SECONDS
    assert reconnections.next_pause() == 0


def test_pause_grows_while_each_connection_fails_soon() -> None:
    now = 0.0
    reconnections = Reconnections(lambda: now)
    pauses = []
    for _ in range(7):
        pauses.append(pause := reconnections.next_pause())
        now += pause + 0.1
    assert pauses == [0, 1, 2, 4, MAX_PAUSE_SECONDS, MAX_PAUSE_SECONDS, MAX_PAUSE_SECONDS]
    now += STABLE_SECONDS
    assert reconnections.next_pause() == 0
