"""Runs dead letters again. system.md: Redrive.

A run is begun with a frozen selection and gone on with letter by letter; each letter leaves its queue in the step in
which its successor begins, and the run's position moves in it. So anybody can go on with a run, after a crash as
well, and nothing is lost or doubled.
"""

import logging
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any, Protocol

from vmpooler_tasks.clock import Clock
from vmpooler_tasks.config import Pool, Settings
from vmpooler_tasks.errors import InvalidInputError
from vmpooler_tasks.jobs.deadletters import query
from vmpooler_tasks.jobs.pools.context import Work
from vmpooler_tasks.jobs.pools.inspect import SPARE_NAMES, first_metadata, planned_until
from vmpooler_tasks.jobs.redrive.eligibility import decided, size_of, wanted_by
from vmpooler_tasks.model.deadletters.entry import StoredDeadLetter, error_of
from vmpooler_tasks.model.deadletters.filters import DeadLetterFilter
from vmpooler_tasks.model.names import DeadLetterQueue, on_one_line
from vmpooler_tasks.model.pools.lifecycle import Step
from vmpooler_tasks.model.pools.vm_names import candidates
from vmpooler_tasks.model.redrive import Lineage, Outcome, OwnTasks, RunState, is_poison, successor, too_many_failed
from vmpooler_tasks.store import Database
from vmpooler_tasks.store.redrive import runs
from vmpooler_tasks.store.redrive.runs import Run, Successor

_log = logging.getLogger("vmpooler_tasks.redrive")

EXPECTED = (Outcome.REDRIVEN, Outcome.OBSOLETE, Outcome.KEPT)
"""What a run can be expected to do with a letter."""

WAIT_SECONDS = 1.0
"""Pause while there is no free slot for a clone."""


class Broker(Protocol):
    """The way to the workers, who know these tasks of ours."""

    own: OwnTasks

    def prepare(self, task: str, args: Any, kwargs: Any, lineage: Lineage) -> tuple[str, bytes]:
        """(the list in Redis, the message) of a task; raises InvalidInputError for one that cannot be sent.

        The message is empty if the broker is another server: then it has been sent.
        """

    def hand_out(self, work: Work) -> None:
        """Sends a clone to the workers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What would be redriven. `poisoned` letters have come back too often, and are left out unless named by id."""

    letters: Sequence[StoredDeadLetter]
    poisoned: int

    def groups(self) -> list[tuple[tuple[str, str, str], int]]:
        """((queue, pool, error class and message), how many), most first."""
        counted = Counter((str(one.queue), one.text("pool"), error_of(one)) for one in self.letters)
        return counted.most_common()

    def as_json(self, expected: Mapping[Outcome, int]) -> dict[str, Any]:
        """As a preview shows it, which expects this of a run."""
        return {
            "dry_run": True,
            "selected": len(self.letters),
            "poisoned": self.poisoned,
            "expected": {str(what): expected.get(what, 0) for what in EXPECTED},
            "groups": [{"queue": q, "pool": p, "error": e, "count": n} for (q, p, e), n in self.groups()],
        }


def select(db: Database, wanted: DeadLetterFilter, limit: int | None = None) -> Selection:
    """The letters meant, oldest first, since they have waited longest."""
    found = list(query.find(db, wanted))[::-1]
    sound = [one for one in found if wanted.ids or not is_poison(one.fields)]
    return Selection(letters=list(islice(sound, limit)), poisoned=len(found) - len(sound))


def start(
    db: Database, selection: Selection, *, who: str, why: str | None, rate: float, max_failed_percent: float, now: float
) -> str:
    """The id of a new run over these letters."""
    run = uuid.uuid4().hex[:12]
    runs.start(db, run, selection.letters, who=who, why=why, rate=rate, max_failed_percent=max_failed_percent, now=now)
    _log.info(
        "[*] [redrive] Run %s of %d dead letters, ordered by %s", run, len(selection.letters), who, extra={"run": run}
    )
    return run


def cancel(db: Database, run_id: str) -> bool:
    """False if it had ended before. Raises InvalidInputError if there is no such run."""
    return runs.end(db, known(db, run_id), RunState.CANCELLED)


def known(db: Database, run_id: str) -> Run:
    """Raises InvalidInputError if there is no such run."""
    run = runs.read(db, run_id)
    if run is None:
        raise InvalidInputError(f"there is no run {run_id!r}, or not any more")
    return run


def go_on(
    db: Database,
    settings: Settings,
    broker: Broker,
    clock: Clock,
    run_id: str,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Run]:
    """Goes on with a run until it ends, and shows how it stands after each letter.

    Raises InvalidInputError if there is no such run.
    """
    driver = _Driver(db, settings, broker, clock, run_id)
    run = known(db, run_id)
    while run.state is RunState.RUNNING:
        if run.position >= run.total:
            runs.end(db, run, RunState.DONE)
        elif too_many_failed(run.counts["redriven"], run.counts["failed_again"], run.max_failed_percent):
            runs.end(db, run, RunState.STOPPED)
        else:
            outcome = driver.step(run.position)
            sleep(WAIT_SECONDS if outcome is Outcome.WAIT else _pause(run, outcome))
        run = known(db, run_id)
        yield run
    _log.info("[*] [redrive] Run %s is %s: %s", run.id, run.state, dict(run.counts), extra={"run": run.id})


def _pause(run: Run, outcome: Outcome) -> float:
    return 1 / run.rate if run.rate and outcome is Outcome.REDRIVEN else 0.0


class _Driver:
    """Takes one letter after another, as its kind wants it."""

    def __init__(self, db: Database, settings: Settings, broker: Broker, clock: Clock, run_id: str) -> None:
        self._db, self._settings, self._broker, self._clock, self._run = db, settings, broker, clock, run_id

    def step(self, position: int) -> Outcome:
        letter = runs.letter_at(self._db, self._run, position)
        if letter is None:
            return runs.pass_over(self._db, self._run, position)
        before, why = decided(letter, self._broker.own) or (None, "")
        if before is None and letter.queue is not DeadLetterQueue.TASKS:
            outcome = self._vm(position, letter)
        else:
            outcome = self._task(position, letter, before)
        told = f"{outcome}: {why}" if why and outcome is before else outcome
        name = on_one_line(letter.text("vm") or letter.text("task"))
        level = logging.DEBUG if outcome is Outcome.WAIT else logging.INFO  # it is told again each second
        about = {"letter": letter.id, "run": self._run, "vm": letter.text("vm"), "pool": letter.text("pool")}
        _log.log(level, "[*] [redrive] %s of %s: %s", on_one_line(letter.id), name, told, extra=about)
        return outcome

    def _task(self, position: int, letter: StoredDeadLetter, before: Outcome | None) -> Outcome:
        completed = None
        if letter.text("task") == self._broker.own.destroy:
            completed = (letter.text("vm"), letter.text("pool"))
        step = partial(runs.redrive_task, self._db, self._run, position, letter, completed=completed)
        # Looked at first: to another server a message goes before the letter leaves, and nothing takes it back.
        outcome = step(decided=before)
        if before or outcome is not Outcome.REDRIVEN:
            return outcome
        try:
            queue, message = self._broker.prepare(
                letter.text("task"),
                letter.fields.get("args") or [],
                letter.fields.get("kwargs") or {},
                successor(letter.fields, self._run),
            )
        except InvalidInputError as error:
            _log.warning(
                "[!] [redrive] %s is kept: %s", letter.id, error, extra={"letter": letter.id, "run": self._run}
            )
            return step(decided=Outcome.KEPT)
        return step(queue=queue, message=message)

    def _vm(self, position: int, letter: StoredDeadLetter) -> Outcome:
        request_id = letter.text("request_id") or None
        pool = self._settings.pool(letter.text("pool"))
        outcome, vm = runs.redrive_vm(self._db, self._run, position, letter, self._successor(letter, pool, request_id))
        if vm:
            self._broker.hand_out(Work(Step.CLONE, vm, letter.text("pool"), request_id))
        return outcome

    def _successor(self, letter: StoredDeadLetter, pool: Pool | None, request_id: str | None) -> Successor:
        config, now = self._settings.config, self._clock()
        limit = config.ondemand_clone_limit if request_id else config.task_limit
        raw = request_id.encode() if request_id else None
        alias = letter.text("pool_alias")
        origin = {"request_id": raw, "pool_alias": alias.encode()} if raw else {}
        wanted = None
        if pool is not None:
            wanted = wanted_by(self._db, raw, alias, pool.name) if raw else size_of(self._db, pool)
        return Successor(
            pool=letter.text("pool"),
            wanted=wanted,
            limit=limit if config.manage_pools else None,
            leased_until=planned_until(self._settings, now),
            metadata={} if pool is None else {**first_metadata(self._settings, pool, now), **origin},
            lineage=successor(letter.fields, self._run),
            names=list(islice(candidates(config.prefix), SPARE_NAMES)),
            request_id=raw,
            alias=alias,
        )


def as_json(run: Run) -> Mapping[str, Any]:
    return {
        "run": run.id,
        "state": str(run.state),
        "selected": run.total,
        "position": run.position,
        **run.counts,
        "who": run.who,
        "why": run.why,
    }
