"""A log line that repeats is limited to one per interval; another text is not held back by it."""

from vmpooler_tasks.throttle import RepeatThrottle


def test_the_same_text_passes_once_per_interval_and_another_one_at_once() -> None:
    now = [0.0]
    throttle = RepeatThrottle(60.0, lambda: now[0])
    assert [throttle.acquire("refused") for _ in range(3)] == [True, False, False]
    assert throttle.acquire("denied")
    assert not throttle.acquire("denied")
    now[0] = 59.9
    assert not throttle.acquire("denied")
    now[0] = 60.0
    assert throttle.acquire("denied")
    assert throttle.acquire("refused")
