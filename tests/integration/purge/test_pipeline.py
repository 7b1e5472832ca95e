"""Pages that are worked on at the same time: their phases, and what happens to them when one fails."""

from collections.abc import Iterator

import pytest

from tests.support.world import World
from vmpooler_tasks.jobs.purge import pipeline
from vmpooler_tasks.store.vmpooler import queues


class TwoQueries(pipeline.Page):
    """A page of three phases. It fails in the phase of this number."""

    def __init__(self, world: World, name: str, log: list[str], fails_in: int | None = None) -> None:
        super().__init__()
        self._world, self._name, self._log, self._fails_in = world, name, log, fails_in

    def start(self) -> None:
        self._enter(1)
        self.wait_for(queues.query_fields(self._world.db, [b"absent"], b"pool"), self._second)

    def _second(self, rows: list[list[bytes | None]]) -> None:
        assert rows == [[None]]
        self._enter(2)
        self.wait_for(queues.query_fields(self._world.db, [b"absent"], b"pool", b"ip"), self._third)

    def _third(self, rows: list[list[bytes | None]]) -> None:
        assert rows == [[None, None]]
        self._enter(3)

    def _enter(self, phase: int) -> None:
        if phase == self._fails_in:
            raise ValueError("on purpose")
        self._log.append(f"{self._name}{phase}")


def test_every_page_that_arrives_advances_the_others(world: World) -> None:
    log: list[str] = []
    pipeline.run(TwoQueries(world, name, log) for name in "abc")
    assert log == ["a1", "a2", "b1", "a3", "b2", "c1", "b3", "c2", "c3"]


@pytest.mark.parametrize("fails_in", [1, 2, 3])
def test_a_page_that_fails_gives_up_the_replies_of_all_others(world: World, fails_in: int) -> None:
    log: list[str] = []
    pages = (TwoQueries(world, name, log, fails_in if name == "b" else None) for name in "abcd")
    with pytest.raises(ValueError, match="on purpose"):
        pipeline.run(pages)
    assert world.db.client.connection_pool._in_use_connections == set()
    assert world.db.call("PING") in {b"PONG", True}


def test_a_source_of_pages_that_fails_gives_up_their_replies(world: World) -> None:
    def pages() -> Iterator[pipeline.Page]:
        yield TwoQueries(world, "a", [])
        raise ValueError("on purpose")

    with pytest.raises(ValueError, match="on purpose"):
        pipeline.run(pages())
    assert world.db.client.connection_pool._in_use_connections == set()
