"""The progress of a search through dead letters, which may take a minute: shown on a terminal, reported at Ctrl-C."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Self, TypeVar

from vmpooler_tasks.cli.shared.program import PROGRAM
from vmpooler_tasks.cli.shared.terminal import CLEAR_LINE

Found = TypeVar("Found")

PROGRESS_SECONDS = 1.0
"""The time between two lines of progress. A search that is shorter shows none."""


class Search:
    """A search through `total` dead letters. Pass `on_read` to what reads them, and what it finds through `counted`.

    `on_pause` is called once a second while the search goes on, to show what was found so far. `noun` says what happens
    to a dead letter that is found.
    """

    def __init__(self, total: int, *, noun: str = "found", on_pause: Callable[[], None] | None = None) -> None:
        self._total, self._noun, self._on_pause = total, noun, on_pause
        self._read = self._found = 0
        self._is_shown = False
        self._next = time.monotonic() + PROGRESS_SECONDS
        self._has_terminal = sys.stderr.isatty()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove the progress from the terminal. After Ctrl-C, report how far the search came."""
        self._clear()
        if kind is not None and issubclass(kind, KeyboardInterrupt):
            if self._on_pause is not None:
                self._on_pause()
            sys.stderr.write(f"{PROGRAM}: stopped after {self}")  # click ends the line
            sys.stderr.flush()

    def __str__(self) -> str:
        """Return `12,000 of 1,000,000 dead letters, 3 found`."""
        return f"{self._read:,} of {max(self._total, self._read):,} dead letters, {self._found:,} {self._noun}"

    @property
    def found(self) -> int:
        """How many were found so far."""
        return self._found

    def on_read(self, count: int) -> None:
        """Count dead letters that were read; show the progress if it is due."""
        self._read += count
        if time.monotonic() < self._next:
            return
        self._clear()
        if self._on_pause is not None:
            self._on_pause()
        sys.stdout.flush()
        if self._has_terminal:
            sys.stderr.write(f"Searched {self} …")
            sys.stderr.flush()
            self._is_shown = True
        self._next = time.monotonic() + PROGRESS_SECONDS

    def counted(self, found: Iterable[Found]) -> Iterator[Found]:
        """Yield what was found, and count it."""
        for one in found:
            self._found += 1
            yield one

    def _clear(self) -> None:
        if self._is_shown:
            sys.stderr.write(CLEAR_LINE)
            sys.stderr.flush()
            self._is_shown = False
