"""Work on several pages at once, so that the server answers about one while the worker thinks about another."""

from collections.abc import Iterable, Iterator

Steps = Iterator[None]
"""What is to be done for one page: it pauses (`yield`) after each question to the server, until it needs the answer."""


def convey(pages: Iterable[Steps]) -> None:
    """Takes every page one step further for each page that arrives, and then all to their end."""
    under_way: list[Steps] = []
    for page in pages:
        under_way = _one_step([*under_way, page])
    while under_way:
        under_way = _one_step(under_way)


def _one_step(pages: list[Steps]) -> list[Steps]:
    return [page for page in pages if next(page, _END) is not _END]


_END = object()
