"""Dead letters and redrive runs on a real server, driven with the real broker."""

import base64
import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from tests.support.pool_world import PoolWorld
from tests.support.world import POOL
from vmpooler_tasks.config import RedisSection, Settings
from vmpooler_tasks.jobs.deadletters.query import find
from vmpooler_tasks.jobs.redrive import run as job
from vmpooler_tasks.jobs.redrive.preview import Preview, preview
from vmpooler_tasks.jobs.redrive.selection import Selection
from vmpooler_tasks.jobs.requests import fulfil
from vmpooler_tasks.model.deadletters.entry import dead_letter_id
from vmpooler_tasks.model.deadletters.filters import DeadLetterFilter
from vmpooler_tasks.model.names import DeadLetterQueue, Queue
from vmpooler_tasks.model.redrive import RunOptions, RunState
from vmpooler_tasks.model.requests import Wanted
from vmpooler_tasks.store import keys
from vmpooler_tasks.store.keys import REQUEST_SLOTS
from vmpooler_tasks.store.redrive.runs import Run
from vmpooler_tasks.store.requests import fulfilment as requests
from vmpooler_tasks.tasks.enqueue import redrive_broker
from vmpooler_tasks.tasks.redrive import RedriveBroker
from vmpooler_tasks.tasks.registry import OWN

ALIAS = "centos-7"
REQUEST = "0b2f1c9e"


@dataclass(frozen=True)
class Message:
    """A task's message as it waits for a worker."""

    task: str
    args: list[Any]
    kwargs: dict[str, Any]
    headers: dict[str, Any]


@dataclass
class Redriver(PoolWorld):
    """Drives runs with the real broker. A pause moves the tests' clock and is kept in `slept`."""

    url: str = ""
    broker_url: str | None = None
    stack: ExitStack = field(default_factory=ExitStack)

    @property
    def settings(self) -> Settings:
        changes: dict[str, Any] = {"redis": RedisSection(url=self.url, data_ttl=self.data_ttl)}
        if self.broker_url:
            changes["broker_url"] = Settings.model_validate({"broker_url": self.broker_url}).broker_url
        return super().settings.model_copy(update=changes)

    def broker(self) -> RedriveBroker:
        return self.stack.enter_context(redrive_broker(self.settings))

    def dead_letter(self, queue: str = "clone", age: float = 60, *, old_form: bool = False, **fields: Any) -> str:
        """Add a dead letter of a VM of the pool, or of a task in the queue `tasks`, and return its id."""
        epoch = self.now - age
        given = {"pool": POOL, "vm": f"gone-{age:g}"} if queue != "tasks" else {"task": "t.t", "args": [], "kwargs": {}}
        entry = {"queue_from": queue, "error_class": "E", "error_message": "no", "retry_count": 0, **given, **fields}
        text = json.dumps({name: value for name, value in entry.items() if value is not None}, ensure_ascii=False)
        if old_form:
            raw = f"{entry['vm']}:{int(epoch)}:{text}"
        else:
            entry["id"] = dead_letter_id(queue, text, str(epoch))
            raw = json.dumps({**json.loads(text), "id": entry["id"]}, ensure_ascii=False)
        self.client.zadd(keys.dead_letters(DeadLetterQueue(queue)), {raw: epoch})
        return next(str(one.id) for one in self.found(DeadLetterQueue(queue)) if one.raw == raw.encode())

    def found(self, *queues: DeadLetterQueue) -> list[Any]:
        """Return the dead letters of these queues, or of all, newest first."""
        return list(find(self.db, DeadLetterFilter(queues=queues or tuple(DeadLetterQueue))))

    def left(self) -> set[str]:
        """Return the ids of the dead letters that are left."""
        return {one.id for one in self.found()}

    def start(
        self,
        *ids: str,
        limit: int | None = None,
        rate: float = 0,
        max_failed: float = 100,
        confirmed: bool = False,
        **wanted: Any,
    ) -> str:
        """Start a run over these dead letters and return its id."""
        chosen = DeadLetterFilter(ids=frozenset(ids), **wanted)
        selection = Selection(wanted=chosen, limit=limit, confirmed=confirmed)
        options = RunOptions(who="anna@host", why="fixed", rate=rate, max_failed_percent=max_failed)
        return job.start(self.db, selection, options, self.now)

    def steps(self, run: str) -> Iterator[Run]:
        return job.drive(self.db, self.settings, self.broker(), self.clock, run, self.sleep)

    def drive(self, run: str) -> Run:
        """Drive a run until it ends."""
        *_, last = self.steps(run)
        return last

    def redrive(self, *ids: str, **wanted: Any) -> dict[str, int]:
        """Redrive these dead letters, or all. Return the count of each outcome, which was forecast before."""
        expected = self.expected_counts(*ids, **wanted)
        run = self.drive(self.start(*ids, **wanted))
        assert run.state is RunState.DONE
        counts = {name: count for name, count in run.counts.items() if count}
        assert expected == counts or "failed_again" in counts
        return counts

    def expected_counts(self, *ids: str, **wanted: Any) -> dict[str, int]:
        """Return the forecast of a preview, which changes nothing."""
        before = self.snapshot()
        found = self.preview(*ids, **wanted)
        assert self.snapshot() == before
        return {str(what): count for what, count in found.expected.items() if count}

    def preview(self, *ids: str, confirmed: bool = False, **wanted: Any) -> Preview:
        selection = Selection(wanted=DeadLetterFilter(ids=frozenset(ids), **wanted), confirmed=confirmed)
        return preview(self.db, self.settings, OWN, selection)

    def messages(self, queue: str = "vmpooler.clone") -> list[Message]:
        """Return the messages in this queue, in the order in which workers take them."""
        found = []
        for raw in reversed(self.client.lrange(queue, 0, -1)):
            whole = json.loads(raw)
            assert whole["content-type"] == "application/json"
            args, kwargs, _ = json.loads(base64.b64decode(whole["body"]))
            found.append(Message(whole["headers"]["task"], args, kwargs, whole["headers"]))
        return found

    def create_request(self, *parts: Wanted, request: str = REQUEST) -> str:
        """Create a request that is being filled. None of its clones is queued."""
        requests.create(self.db, request, parts, self.now)
        fulfil.run(self.context)
        for items in (keys.PENDING_ONDEMAND_CLONES, *REQUEST_SLOTS):
            self.client.delete(items)
        for part in parts:
            self.client.delete(keys.queue(Queue.PENDING, part.pool))
        return request

    def request_dead_letter(self, age: float = 60, **fields: Any) -> str:
        return self.dead_letter("clone", age, **{"request_id": REQUEST, "pool_alias": ALIAS, **fields})

    def delivered(self, *vms: str, alias: str = ALIAS) -> None:
        self.client.sadd(keys.delivered(REQUEST.encode(), alias, POOL), *vms)
        self.client.sadd(keys.queue(Queue.RUNNING, POOL), *vms)

    def items(self) -> list[str]:
        return [raw.decode() for raw in requests.read_items(self.db)]
