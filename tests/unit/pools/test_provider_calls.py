"""A call of a provider runs in another thread, which the next call uses again, and is abandoned at its time limit."""

import os
import threading

import pytest

from vmpooler_tasks.errors import ProviderTimeoutError
from vmpooler_tasks.jobs.pools.provider_calls import call_within

PATIENCE = 60.0


def test_calls_one_after_another_share_a_thread() -> None:
    used = {call_within(PATIENCE, threading.get_ident) for _ in range(20)}
    assert len(used) == 1
    assert threading.get_ident() not in used


def test_calls_at_the_same_time_have_threads_of_their_own() -> None:
    ends = threading.Event()
    inner: list[int] = []

    def outer() -> int:
        inner.append(call_within(PATIENCE, threading.get_ident))
        ends.set()
        return threading.get_ident()

    assert call_within(PATIENCE, outer) not in inner
    assert ends.is_set()


def test_a_call_at_its_time_limit_keeps_its_thread_and_hinders_no_other() -> None:
    hangs, ended = threading.Event(), threading.Event()

    def hang() -> None:
        hangs.wait(PATIENCE)
        ended.set()

    with pytest.raises(ProviderTimeoutError):
        call_within(0.0, hang)
    assert call_within(PATIENCE, int, "7") == 7
    assert not ended.is_set()
    hangs.set()
    assert ended.wait(PATIENCE)


def test_an_error_is_raised_in_the_thread_of_the_caller_and_the_next_call_works() -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        call_within(PATIENCE, int, "seven")
    assert call_within(PATIENCE, int, "7") == 7


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # of later Pythons, about the threads of the parent
def test_a_forked_child_starts_threads_of_its_own() -> None:
    call_within(PATIENCE, int, "7")
    child = os.fork()
    if child == 0:
        os._exit(0 if call_within(PATIENCE, int, "7") == 7 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
