"""Pages that are worked on at the same time, so that the server runs one request while the worker prepares others."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from vmpooler_tasks.store import PendingReply

T = TypeVar("T")


class Page(ABC):
    """A page of work in phases. Each phase but the last ends by `wait_for`, which names the next one."""

    def __init__(self) -> None:
        self._pending: PendingReply[Any] | None = None
        self._next_phase: Callable[[Any], None] | None = None

    @abstractmethod
    def start(self) -> None:
        """Run the first phase."""

    def wait_for(self, pending: PendingReply[T], next_phase: Callable[[T], None]) -> None:
        """Keep a request that was just sent. `next_phase` runs with its reply when the page is advanced."""
        self._pending, self._next_phase = pending, next_phase

    def advance(self) -> bool:
        """Read the reply that the page waits for and run the next phase. Return False if it was the last one."""
        pending, next_phase = self._pending, self._next_phase
        if pending is None or next_phase is None:
            self.start()
        else:
            reply = pending.read()
            self._pending = None
            next_phase(reply)
        return self._pending is not None

    def close(self) -> None:
        """Give up the reply that the page waits for, if it waits for one."""
        if self._pending is not None:
            self._pending.close()


def run(pages: Iterable[Page]) -> None:
    """Advance all pages on the way by one phase for each page that arrives, and then all of them to their end.

    If one raises, the replies of all others are given up.
    """
    on_the_way: list[Page] = []
    try:
        for page in pages:
            on_the_way.append(page)
            on_the_way = _advance(on_the_way)
        while on_the_way:
            on_the_way = _advance(on_the_way)
    except BaseException:
        for page in on_the_way:
            page.close()
        raise


def _advance(pages: list[Page]) -> list[Page]:
    return [page for page in pages if page.advance()]
