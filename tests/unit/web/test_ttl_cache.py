"""A response that many pages request at the same moment is computed once."""

import threading
from collections.abc import Iterator
from itertools import count

import pytest

from vmpooler_tasks.ttl_cache import MAX_RESULTS, ResultCache


class Timer:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def numbers() -> Iterator[int]:
    """1, 2, 3, …: a result shows how often it was computed."""
    return count(1)


def test_result_is_kept_for_its_seconds_and_computed_anew_after(numbers: Iterator[int]) -> None:
    timer = Timer()
    cache: ResultCache[int] = ResultCache(2.0, timer)
    found = []
    for timer.now in (0.0, 1.9, 2.0, 3.9):
        found.append(cache.get("key", lambda: next(numbers)))
    assert found == [1, 1, 2, 2]


def test_each_key_has_its_own_result(numbers: Iterator[int]) -> None:
    cache: ResultCache[int] = ResultCache(60.0)
    assert [cache.get(key, lambda: next(numbers)) for key in ("a", "b", "a")] == [1, 2, 1]


def test_none_is_kept_like_any_other_result(numbers: Iterator[int]) -> None:
    cache: ResultCache[int | None] = ResultCache(60.0)

    def compute() -> None:
        next(numbers)

    assert [cache.get("key", compute), cache.get("key", compute), next(numbers)] == [None, None, 2]


def test_error_is_raised_and_not_kept() -> None:
    cache: ResultCache[int] = ResultCache(60.0)
    with pytest.raises(ZeroDivisionError):
        cache.get("key", lambda: 1 // 0)
    assert cache.get("key", lambda: 7) == 7


def test_caller_that_comes_meanwhile_waits_for_the_same_result(numbers: Iterator[int]) -> None:
    cache: ResultCache[int] = ResultCache(60.0)
    started, released = threading.Event(), threading.Event()
    found: list[int] = []

    def compute() -> int:
        started.set()
        assert released.wait(30)
        return next(numbers)

    threads = [threading.Thread(target=lambda: found.append(cache.get("key", compute))) for _ in range(5)]
    for thread in threads:
        thread.start()
    assert started.wait(30)
    released.set()
    for thread in threads:
        thread.join(30)
    assert found == [1] * 5


def test_number_of_results_is_bounded(numbers: Iterator[int]) -> None:
    cache: ResultCache[int] = ResultCache(60.0)
    for key in range(MAX_RESULTS + 1):
        cache.get(key, lambda: next(numbers))
    assert cache.get(MAX_RESULTS, lambda: 0) == MAX_RESULTS + 1
    assert cache.get(0, lambda: 0) == 0
