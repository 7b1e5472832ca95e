"""The worked example of a document, typed as a person types it: its files, then its commands in two terminals.

The first terminal has the blocks up to the one that ends with `vmpooler-tasks run`, which stays in it. The others are
typed in a second terminal.
"""

import shlex
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.support.commands import PROGRAM
from tests.support.guide import fences
from tests.support.local_run import UP, LocalRun, killed_at_last
from tests.support.ports import usual_ports
from tests.support.processes import PATIENCE, ROOT, until
from vmpooler_tasks.model.names import Queue
from vmpooler_tasks.store import Database, keys

RUN = "vmpooler-tasks run"
FILL_SECONDS = 300.0
"""Until a pool must be full: all processes of an installation start meanwhile, on a machine that runs other tests."""


def blocks(document: str, section: str, language: str) -> list[str]:
    """Return the blocks of this language under a heading of the document, in order."""
    text = (ROOT / document).read_text(encoding="utf-8")
    found = [fence.text for fence in fences(text) if fence.section == section and fence.language == language]
    assert found, f"{document} has no block of {language} under {section!r}"
    return found


def replaced(text: str, changes: Mapping[str, str]) -> str:
    """Return the text for this machine. Each part to change has to be in it."""
    for old, new in changes.items():
        assert old in text, f"{old!r} is not in:\n{text}"
        text = text.replace(old, new)
    return text


class WorkedExample:
    """A folder in which the commands of an example are typed, and the installation that they start."""

    def __init__(self, folder: Path, **variables: str) -> None:
        self.folder = folder
        self.run = LocalRun(folder, tuple(shlex.split(RUN)), **variables)
        self._environment = self.run.environment
        self._environment["PATH"] = f"{PROGRAM.parent}:{self._environment['PATH']}"
        self._second = dict(self._environment)

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text, encoding="utf-8")

    def type(self, commands: str, *, second: bool = False) -> str:
        """Run the commands of a block, and return what they print. What they export stays set in their terminal."""
        environment = self._second if second else self._environment
        file = self.folder / ".exported"
        done = subprocess.run(
            ["bash", "-ec", f"{commands}\nenv -0 >{shlex.quote(str(file))}"],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, f"{commands}\n{done.stdout}{done.stderr}"
        for entry in file.read_text(encoding="utf-8").rstrip("\0").split("\0"):
            name, _, value = entry.partition("=")
            environment[name] = value
        return done.stdout

    @contextmanager
    def started(self) -> Iterator[Database]:
        """Start `vmpooler-tasks run`, and yield its private database when everything is up."""
        with ExitStack() as stack:
            stack.callback(self.run.stop)
            with usual_ports():
                self.run.start().says(UP)
            stack.enter_context(killed_at_last(self.run.tree()))
            yield stack.enter_context(closing(Database(self.run.redis_url)))

    def wait_until_full(self, database: Database, pool: str, size: int) -> set[str]:
        """Return the ready VMs of the pool as soon as there are so many."""

        def is_full() -> set[str]:
            ready = {vm.decode() for vm in database.call("SMEMBERS", keys.queue(Queue.READY, pool))}
            return ready if len(ready) == size else set()

        return until(is_full, lambda: f"{pool} is full:\n{self.run.log[-6000:]}", FILL_SECONDS, 0.1)


@contextmanager
def typed(example: WorkedExample, commands: list[str]) -> Iterator[tuple[Database, list[str]]]:
    """Type the blocks up to `vmpooler-tasks run`. Yield the database, and the blocks of the second terminal."""
    start = next(number for number, block in enumerate(commands) if block.endswith(f"\n{RUN}"))
    for block in (*commands[:start], commands[start].removesuffix(f"\n{RUN}")):
        example.type(block)
    with example.started() as database:
        yield database, commands[start + 1 :]


def as_yaml(*parts: str) -> str:
    """Return several parts of a configuration as one. Lists and sections of the same name are joined."""
    whole: dict[str, Any] = {}
    for part in map(yaml.safe_load, parts):
        for name, section in part.items():
            known = whole.setdefault(name, type(section)())
            if isinstance(known, list):
                known.extend(section)
            else:
                known.update(section)
    return yaml.safe_dump(whole, sort_keys=False)
