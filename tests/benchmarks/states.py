"""The databases for the measurements of cycles: each is made once, and loaded again for every run."""

import json
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hiredis

from tests.benchmarks.target import Target

GENERATOR = Path(__file__).parents[1] / "reference" / "vmpooler_state.py"
CHUNK = 1000
"""Commands sent at once, and members to an SADD."""


@dataclass(frozen=True, slots=True)
class State:
    """`now` is the time of its creation. Cycles run at this time, so that no entry becomes stale between two runs."""

    vms: int
    pools: int
    now: float
    config: Path
    chunks: Sequence[tuple[bytes, int]]

    def load(self, target: Target) -> None:
        """Empty the server, and load the state."""
        target.empty()
        send(target, self.chunks)


def send(target: Target, chunks: Iterable[tuple[bytes, int]]) -> None:
    """Send commands in pipelines: (packed commands, their number) each."""
    reader = hiredis.Reader()
    with target.connect() as line:
        for packed_commands, count in chunks:
            line.sendall(packed_commands)
            answered = 0
            while answered < count:
                reply = reader.gets()
                if reply is False:
                    reader.feed(line.recv(65536))
                else:
                    answered += 1


def make(vms: int, pools: int, folder: Path) -> State:
    """Return the state of a large installation, as `vmpooler_state.py` describes it."""
    folder.mkdir(parents=True, exist_ok=True)
    now, dump, config = time.time(), folder / "state.json", folder / "vmpooler.yaml"
    subprocess.run(
        [
            sys.executable,
            str(GENERATOR),
            "--profile",
            "bench",
            "--vms",
            str(vms),
            "--pools",
            str(pools),
            "--now",
            str(now),
            "--dump",
            str(dump),
            "--config-out",
            str(config),
        ],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    entries = json.loads(dump.read_bytes())
    dump.unlink()
    return State(vms, pools, now, config, list(packed(entries)))


def packed(entries: Iterable[Any]) -> Iterator[tuple[bytes, int]]:
    """Yield the commands that make these entries of `vmpooler_state.py`, in chunks for `send`."""
    commands = [command for entry in entries for command in _commands(entry["key"], entry["type"], entry["value"])]
    for start in range(0, len(commands), CHUNK):
        part = commands[start : start + CHUNK]
        yield b"".join(hiredis.pack_command(command) for command in part), len(part)  # type: ignore[arg-type]


def _commands(key: str, kind: str, value: Sequence[Any]) -> Iterator[tuple[str, ...]]:
    match kind:
        case "hash":
            yield ("HSET", key, *(word for pair in value for word in pair))
        case "set":
            for start in range(0, len(value), CHUNK):
                yield ("SADD", key, *value[start : start + CHUNK])
        case _:
            raise ValueError(f"{key}: the bench profile holds hashes and sets, not a {kind}")
