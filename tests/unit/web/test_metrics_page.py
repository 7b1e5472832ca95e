"""The document of /metrics is made once for all who scrape it at the same time."""

import asyncio
import threading
from itertools import count

import pytest

from tests.support.asgi import run_async
from vmpooler_tasks.web.metrics_page import MAX_KEPT_SECONDS, MetricsPage


class Timer:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(("takes", "kept"), [(0.01, 1.0), (1.0, 5.0), (60.0, MAX_KEPT_SECONDS)])
def test_a_document_is_kept_by_what_it_took(takes: float, kept: float) -> None:
    timer, numbers = Timer(), count()

    def make() -> bytes:
        timer.now += takes
        return b"%d" % next(numbers)

    async def read_thrice() -> list[bytes]:
        page = MetricsPage(make, timer)
        found = [await page.read()]
        made_at = timer.now
        for timer.now in (made_at + kept - 0.001, made_at + kept):
            found.append(await page.read())
        return found

    assert run_async(read_thrice) == [b"0", b"0", b"1"]


def test_scrapes_that_come_meanwhile_get_the_same_document_without_a_thread() -> None:
    released, numbers = threading.Event(), count()

    def make() -> bytes:
        assert released.wait(30)
        return b"%d" % next(numbers)

    async def read_at_once() -> list[bytes]:
        page = MetricsPage(make)
        reads = [asyncio.create_task(page.read()) for _ in range(500)]
        await asyncio.sleep(0)  # all of them wait now
        released.set()
        return await asyncio.gather(*reads)

    assert run_async(read_at_once) == [b"0"] * 500


def test_an_error_is_raised_and_not_kept() -> None:
    results = iter([None, b"text"])

    def make() -> bytes:
        if (result := next(results)) is None:
            raise ZeroDivisionError
        return result

    async def read_twice() -> bytes:
        page = MetricsPage(make)
        with pytest.raises(ZeroDivisionError):
            await page.read()
        return await page.read()

    assert run_async(read_twice) == b"text"
