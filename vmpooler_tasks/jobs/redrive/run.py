"""Run dead letters again. docs/operator-guide.md: Running dead letters again. docs/reliability.md: Each write.

A run starts with a copy of the selected dead letters and handles one after another. Each leaves its queue in the step
in which its successor starts, and the same step moves the run's position. So any process can continue a run, after a
crash as well, and nothing is lost or doubled.
"""

import logging
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Any, Protocol

from vmpooler_tasks.clock import Clock
from vmpooler_tasks.config import Pool, Settings
from vmpooler_tasks.errors import InvalidInputError
from vmpooler_tasks.jobs.deadletters import query
from vmpooler_tasks.jobs.pools.context import Work
from vmpooler_tasks.jobs.pools.new_clones import SPARE_NAMES, first_metadata, planned_until
from vmpooler_tasks.jobs.redrive.eligibility import (
    CHECKED_OUT_AGAIN,
    ELSEWHERE,
    Decision,
    count_wanted,
    decided_outcome,
    is_beside_manager,
    order_of,
    pools_elsewhere,
    size_of,
    why_kept,
)
from vmpooler_tasks.jobs.redrive.selection import Selection
from vmpooler_tasks.model.deadletters.entry import StoredDeadLetter
from vmpooler_tasks.model.names import DeadLetterQueue, on_one_line
from vmpooler_tasks.model.pools.lifecycle import Step
from vmpooler_tasks.model.pools.vm_names import candidates
from vmpooler_tasks.model.redrive import (
    Lineage,
    OwnTasks,
    Redrive,
    RedriveOutcome,
    RunOptions,
    RunState,
    lineage_of_successor,
    too_many_failed,
)
from vmpooler_tasks.model.vm_orders import origin_text
from vmpooler_tasks.store import Database
from vmpooler_tasks.store.pools import pauses
from vmpooler_tasks.store.redrive import runs, steps
from vmpooler_tasks.store.redrive.runs import FAILED_AGAIN, Run
from vmpooler_tasks.store.redrive.steps import Successor, TaskMessage

_log = logging.getLogger("vmpooler_tasks.redrive")

REDRIVING = "running dead letters again"
"""What a process that may only observe refuses."""

WAIT_SECONDS = 1.0
"""Pause while no slot for a clone is free."""


class Broker(Protocol):
    """The way to the workers, and the tasks of ours that they know."""

    own: OwnTasks

    @property
    def is_same_server(self) -> bool:
        """Return True if messages are in the Redis of the dead letters, so that both change in one step."""

    def prepare(self, task: str, args: Any, kwargs: Any, lineage: Lineage) -> TaskMessage:
        """Return the message of a task, or send it if the broker is another server, and return an empty message.

        Raises InvalidInputError for a task that cannot be sent.
        """

    def hand_out(self, work: Work) -> None:
        """Send a clone to the workers."""


def start(
    db: Database, selection: Selection, options: RunOptions, now: float, *, on_read: query.OnRead | None = None
) -> str:
    """Store a new run over the dead letters that are selected now, and return its id. `on_read` is as in `find`."""
    run = uuid.uuid4().hex[:12]
    options = replace(options, confirmed=selection.confirmed)
    total = runs.start(db, run, selection.read(db, on_read=on_read), options, now)
    _log.info("[*] [redrive] Run %s of %d dead letters, ordered by %s", run, total, options.who, extra={"run": run})
    return run


def cancel(db: Database, run_id: str) -> bool:
    """End a run. Return False if it had ended before. Raises InvalidInputError if there is no such run."""
    return runs.end(db, read_run(db, run_id), RunState.CANCELLED)


def read_run(db: Database, run_id: str) -> Run:
    """Return the run. Raises InvalidInputError if there is no such run."""
    run = runs.read(db, run_id)
    if run is None:
        raise InvalidInputError(f"there is no run {run_id!r}, or not any more")
    return run


def drive(
    db: Database,
    settings: Settings,
    broker: Broker,
    clock: Clock,
    run_id: str,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Run]:
    """Continue a run until it ends, and yield it after each step.

    Raises InvalidInputError if there is no such run, or this process may only observe.
    """
    settings.refuse_if_observing(REDRIVING)
    run = read_run(db, run_id)
    driver = _Driver(db, settings, broker, clock, run)
    while run.state is RunState.RUNNING:
        if run.position >= run.total:
            runs.end(db, run, RunState.DONE)
        elif too_many_failed(run.counts[RedriveOutcome.REDRIVEN], run.counts[FAILED_AGAIN], run.max_failed_percent):
            runs.end(db, run, RunState.STOPPED)
        else:
            outcome = driver.step(run.position)
            sleep(WAIT_SECONDS if outcome is RedriveOutcome.WAIT else _pause(run, outcome))
        run = read_run(db, run_id)
        yield run
    _log.info("[*] [redrive] Run %s is %s: %s", run.id, run.state, dict(run.counts), extra={"run": run.id})


def _pause(run: Run, outcome: RedriveOutcome) -> float:
    return 1 / run.rate if run.rate and outcome is RedriveOutcome.REDRIVEN else 0.0


class _Driver:
    """Handles one dead letter of a run after another, by its kind."""

    def __init__(self, db: Database, settings: Settings, broker: Broker, clock: Clock, run: Run) -> None:
        self._db, self._settings, self._broker, self._clock = db, settings, broker, clock
        self._run, self._who, self._confirmed = run.id, run.who, run.confirmed
        self._page: Mapping[int, StoredDeadLetter] = {}
        self._elsewhere: frozenset[str] | None = None

    def _dead_letter_at(self, position: int) -> StoredDeadLetter | None:
        """Return the run's copy of a dead letter; None behind the last. They are read page by page."""
        if position not in self._page:
            self._page = dict(enumerate(runs.read_page(self._db, self._run, position), position))
            self._elsewhere = None
        return self._page.get(position)

    def step(self, position: int) -> RedriveOutcome:
        """Handle the dead letter at this position, log its outcome and return it."""
        dead_letter = self._dead_letter_at(position)
        if dead_letter is None:
            return steps.skip(self._db, self._run, position)
        own = self._broker.own
        known = decided_outcome(dead_letter, own, self._settings, confirmed=self._confirmed)
        decided, reason = known or self._decided_elsewhere(dead_letter) or (None, "")
        if decided is None and dead_letter.queue is not DeadLetterQueue.TASKS:
            outcome = self._redrive_vm(position, dead_letter)
            if outcome is RedriveOutcome.KEPT:
                decided, reason = outcome, self._why_kept(dead_letter)
        elif decided is None and dead_letter.text("task") in own.orders:
            outcome = self._redrive_order(position, dead_letter)
            if outcome is RedriveOutcome.KEPT:
                decided, reason = outcome, CHECKED_OUT_AGAIN
        else:
            outcome = self._redrive_task(position, dead_letter, decided)
        self._log_outcome(dead_letter, outcome, reason if outcome is decided else "")
        return outcome

    def _decided_elsewhere(self, dead_letter: StoredDeadLetter) -> Decision | None:
        """Return the decision about a VM whose pool only other live processes have in their configuration."""
        pool = dead_letter.text("pool")
        if dead_letter.queue is DeadLetterQueue.TASKS or self._settings.pool(pool):
            return None
        if self._elsewhere is None:
            self._elsewhere = pools_elsewhere(self._db)
        return ELSEWHERE if pool in self._elsewhere else None

    def _why_kept(self, dead_letter: StoredDeadLetter) -> str:
        pool, request = dead_letter.text("pool"), dead_letter.text("request_id")
        beside = is_beside_manager(self._db, self._settings)
        return why_kept(self._settings, pauses.read_paused(self._db), pool, request, beside=beside)

    def _log_outcome(self, dead_letter: StoredDeadLetter, outcome: RedriveOutcome, reason: str) -> None:
        vm = dead_letter.text("vm")
        text = f"{outcome}: {reason}" if reason else outcome
        name = on_one_line(vm or dead_letter.text("task"))
        level = logging.DEBUG if outcome is RedriveOutcome.WAIT else logging.INFO  # a wait is repeated each second
        about = {"dead_letter": dead_letter.id, "run": self._run, "vm": vm, "pool": dead_letter.text("pool")}
        _log.log(level, "[*] [redrive] %s of %s: %s", on_one_line(dead_letter.id), name, text, extra=about)

    def _redrive_task(
        self, position: int, dead_letter: StoredDeadLetter, decided: RedriveOutcome | None
    ) -> RedriveOutcome:
        completed = None
        if dead_letter.text("task") == self._broker.own.destroy:
            completed = (dead_letter.text("vm"), dead_letter.text("pool"))
        step = partial(steps.redrive_task, self._db, self._run, position, dead_letter, completed=completed)
        if decided:
            return step(decided=decided)
        # To another server a message goes before the dead letter leaves, and nothing recalls it: the check comes first.
        if not self._broker.is_same_server and (outcome := step()) is not RedriveOutcome.REDRIVEN:
            return outcome
        try:
            message = self._broker.prepare(
                dead_letter.text("task"),
                dead_letter.fields.get("args") or [],
                dead_letter.fields.get("kwargs") or {},
                self._lineage(dead_letter),
            )
        except InvalidInputError as error:
            outcome = step(decided=RedriveOutcome.KEPT)
            if outcome is RedriveOutcome.KEPT:
                about = {"dead_letter": dead_letter.id, "run": self._run}
                _log.warning("[!] [redrive] %s is kept: %s", on_one_line(dead_letter.id), error, extra=about)
            return outcome
        return step(message=message)

    def _lineage(self, dead_letter: StoredDeadLetter) -> Lineage:
        redrive = Redrive(run=self._run, who=self._who, at=self._clock())
        return lineage_of_successor(dead_letter.fields, redrive)

    def _redrive_vm(self, position: int, dead_letter: StoredDeadLetter) -> RedriveOutcome:
        request_id = dead_letter.text("request_id") or None
        pool_name = dead_letter.text("pool")
        successor = self._successor(dead_letter, self._settings.pool(pool_name), request_id)
        outcome, vm = steps.redrive_vm(self._db, self._run, position, dead_letter, successor)
        if vm:
            self._broker.hand_out(Work(Step.CLONE, vm, pool_name, request_id))
        return outcome

    def _redrive_order(self, position: int, dead_letter: StoredDeadLetter) -> RedriveOutcome:
        own, task = self._broker.own, dead_letter.text("task")
        return steps.redrive_order(
            self._db,
            self._run,
            position,
            dead_letter,
            order_of(dead_letter, own),
            origin=origin_text(dead_letter.text("order"), self._lineage(dead_letter)),
            needs_checkout=task in own.starts_once,
        )

    def _successor(self, dead_letter: StoredDeadLetter, pool: Pool | None, request_id: str | None) -> Successor:
        config, now = self._settings.config, self._clock()
        limit = config.ondemand_clone_limit if request_id else config.task_limit
        raw = request_id.encode() if request_id else None
        alias = dead_letter.text("pool_alias")
        origin = {"request_id": raw, "pool_alias": alias.encode()} if raw else {}
        wanted = None
        if pool is not None:
            wanted = count_wanted(self._db, raw, alias, pool.name) if raw else size_of(self._db, pool)
        return Successor(
            pool=dead_letter.text("pool"),
            wanted=wanted,
            limit=limit if config.manage_pools else None,
            leased_until=planned_until(self._settings, now),
            metadata={} if pool is None else {**first_metadata(self._settings, pool, now), **origin},
            lineage=self._lineage(dead_letter),
            names=list(islice(candidates(config.prefix), SPARE_NAMES)),
            request_id=raw,
            alias=alias,
        )


def as_json(run: Run) -> Mapping[str, Any]:
    """Return the run as the command line and the API show it."""
    return {
        "run": run.id,
        "state": str(run.state),
        "selected": run.total,
        "position": run.position,
        **run.counts,
        "who": run.who,
        "why": run.why,
    }
