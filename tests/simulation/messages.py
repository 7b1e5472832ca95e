"""Messages a second with one to eight workers, and what each message costs the server: where its one thread ends.

A worker has one process, so that the number of workers is that of the messages at once.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from tests.benchmarks import clones
from tests.benchmarks.rows import Figures, Row
from tests.benchmarks.target import Target

WORKERS = (1, 2, 4, 8)
MESSAGES = 2_000
KINDS: dict[str, Callable[..., clones.Throughput]] = {
    "no-op messages": clones.nothing_throughput,
    "clones of no time": clones.clone_throughput,
}


class Sizes(NamedTuple):
    messages: int = MESSAGES
    workers: Sequence[int] = WORKERS


def measure_messages(target: Target, sizes: Sizes, folder: Path, say: Callable[[str], None]) -> list[Figures]:
    folder.mkdir(parents=True, exist_ok=True)
    return [_measure(target, kind, workers, sizes.messages, folder, say) for kind in KINDS for workers in sizes.workers]


def _measure(
    target: Target, kind: str, workers: int, messages: int, folder: Path, say: Callable[[str], None]
) -> dict[str, Any]:
    say(f"messages: {messages} {kind}, workers: {workers}")
    found = KINDS[kind](target, messages, folder, workers=workers)
    return {
        "kind": kind,
        "workers": workers,
        "messages": messages,
        "per_second": messages / found.seconds,
        "server_share": found.server_seconds / found.seconds,
        "server_seconds_each": found.server_seconds / messages,
        "commands_each": found.commands / messages,
    }


def rows(figures: Sequence[Figures]) -> Iterator[Row]:
    for one in figures:
        case = f"{one['messages']:,} messages, workers: {one['workers']}"
        row = partial(Row, part="messages", case=case, what=one["kind"])
        yield row(measure="done", value=one["per_second"], unit="/s", digits=0, at=one["workers"])
        yield row(measure="server's share of a core", value=one["server_share"] * 100, unit=" %", digits=0)
        yield row(measure="server's µs each", value=one["server_seconds_each"] * 1e6, digits=0)
        yield row(measure="one server thread carries", value=1 / one["server_seconds_each"], unit="/s", digits=0)
        # What else the workers send in the meantime depends on the time that it takes.
        yield row(measure="commands each", value=one["commands_each"], digits=1)
