"""A worker that runs what a redrive sends, and the command on the same database."""

import json
import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

from tests.support.commands import CommandLine, dead_letter
from tests.support.failing_tasks import PREFIX
from tests.support.processes import Installation, Process, until
from tests.support.world import World
from vmpooler_tasks.model.names import DeadLetterQueue
from vmpooler_tasks.store import Database, fleet_keys, keys
from vmpooler_tasks.tasks.registry import MAINTENANCE_QUEUE

DEAD_LETTERS = keys.dead_letters(DeadLetterQueue.TASKS)


def add_sums(world: World, numbers: Iterable[int], **fields: Any) -> None:
    """Add a dead letter of a task for each number, oldest first. Run again, the task succeeds and logs its number."""
    for place, number in enumerate(numbers):
        dead_letter(
            world,
            "tasks",
            1000 - place,
            id=f"{number:016d}",
            task=f"{PREFIX}.take_two",
            args=[number, 0],
            kwargs={},
            error_class="Outage",
            error_message=f"attempt {number} failed",
            **fields,
        )


class Bench:
    """One worker for all tests of this module, and the command on the same database."""

    def __init__(self, installation: Installation, worker: Process) -> None:
        self.installation, self.worker = installation, worker
        self.world = World(Database(installation.environment["REDIS_URL"]))
        self.run = CommandLine(installation.folder, installation.environment)
        self.next_number = 1_000_000

    def empty(self) -> None:
        """Between two tests: the worker is idle, and the numbers that were used are not used again."""
        left = ("HLEN", "unacked"), ("LLEN", MAINTENANCE_QUEUE)
        until(lambda: not any(self.world.db.call(*one) for one in left), "the worker has acknowledged its messages")
        self.world.client.delete(*(keys.dead_letters(queue) for queue in DeadLetterQueue), fleet_keys.AUDIT)
        self.world.now = float(self.world.client.time()[0])
        self.next_number += 1000

    def sums(self, count: int, **fields: Any) -> list[int]:
        """Add so many dead letters with numbers that no others have, and return the numbers."""
        numbers = list(range(self.next_number, self.next_number + count))
        add_sums(self.world, numbers, **fields)
        self.next_number += count
        return numbers

    def succeeded(self, numbers: list[int]) -> Counter[int]:
        """How often each of these was run."""
        found = re.findall(r"take_two\[\S+\] succeeded in \S+: (\d+)", self.worker.log)
        return Counter(number for number in map(int, found) if number in set(numbers))

    def each_once(self, numbers: list[int]) -> None:
        until(lambda: len(self.succeeded(numbers)) == len(numbers), lambda: f"all run; did: {self.succeeded(numbers)}")
        assert set(self.succeeded(numbers).values()) <= {1}
        assert self.dead_letters() == []

    def dead_letters(self) -> list[dict[str, Any]]:
        return [json.loads(raw) for raw in self.world.client.zrange(DEAD_LETTERS, 0, -1)]

    def dead_letter_of(self, task: str, number: int) -> dict[str, Any]:
        """The dead letter of this task with this argument, as soon as there is one."""

        def there() -> list[dict[str, Any]]:
            return [one for one in self.dead_letters() if one.get("task") == task and one["args"] == [number]]

        [found] = until(there, f"{task}({number}) fails")
        return found
