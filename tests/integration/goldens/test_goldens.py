"""VMPooler's recorded behaviour, replayed on a real server: the same, but for the rules that are named in `Rule`."""

import logging
from collections import Counter
from collections.abc import Iterable
from typing import Any

import pytest

from tests.support import goldens
from tests.support.fleet import record_processes
from tests.support.goldens import (
    IN_SCOPE,
    NOT_HERE_YET,
    OURS,
    POOL_ACTIONS,
    QUEUE_ACTIONS,
    Case,
    Rule,
    Step,
    comparable,
    normal_line,
    timeless,
)
from tests.support.goldens_plan import REFUSED, Expected, Tally, plan, summed
from tests.support.goldens_times import living_in
from vmpooler_tasks.config import Pool, Settings
from vmpooler_tasks.config.load import load_settings
from vmpooler_tasks.errors import ConfigurationError
from vmpooler_tasks.jobs.deadletters.retention import keep
from vmpooler_tasks.jobs.health import check as health_check
from vmpooler_tasks.jobs.health.measure import measure
from vmpooler_tasks.jobs.pools import check_pending, check_ready, clone
from vmpooler_tasks.jobs.pools.clone import CloneFailure
from vmpooler_tasks.jobs.pools.context import PoolContext
from vmpooler_tasks.jobs.pools.failed_vm import log_moved
from vmpooler_tasks.jobs.pools.new_clones import first_metadata
from vmpooler_tasks.jobs.pools.provider_calls import Retries
from vmpooler_tasks.jobs.purge import cycle as purge_cycle
from vmpooler_tasks.jobs.purge.options import PurgeOptions
from vmpooler_tasks.model.deadletters.entry import RequestOrigin, failed_vm
from vmpooler_tasks.model.names import DeadLetterQueue, Queue
from vmpooler_tasks.model.pools.results import CheckResult
from vmpooler_tasks.model.purge import PurgeTarget
from vmpooler_tasks.model.redaction import redacted_text
from vmpooler_tasks.providers import Inventory, PoolSpec, Provider, Readiness, VirtualMachine
from vmpooler_tasks.store import Database, keys
from vmpooler_tasks.store.pools import clones, vms
from vmpooler_tasks.store.pools.leases import LeaseRenewer

pytestmark = [pytest.mark.both_servers, pytest.mark.slow(seconds=20)]

REPLAYED = [name for name in goldens.case_names() if name not in REFUSED]

ALLOWED = {
    Rule.PURE_JSON: 570,
    Rule.ALWAYS_A_RETRY_COUNT: 36,
    Rule.REPORTED_ONCE: 46,
    Rule.TTL_PER_DEAD_LETTER: 750,
    Rule.ORPHAN_EXPIRES_ALREADY: 616,
    Rule.QUEUED_IN_ANY_POOL: 134,
    Rule.PURGED_KEEPS_DATA_TTL: 448,
    Rule.COMPLETED_SINCE_DESTROY: 505,
    Rule.AGES_FROM_FIRST_SEEN: 527,
    Rule.DRY_RUN_FOUND: 6,
    Rule.WRONG_TYPE_STOPS_NOTHING: 85,
    Rule.NOTHING_LOST: 98,
    Rule.REFUSED_CONFIGURATION: 5,
    Rule.HEALTH_FIELDS: 194,
    Rule.RUBYS_GUESSES: 413,
    Rule.QUOTED_OPTION: 168,
    Rule.DATA_TTL_DEFAULT: 81,
    Rule.METADATA_WITHOUT_POOL: 112,
    Rule.UNREADABLE_ORPHAN: 2,
    Rule.UNREADABLE_QUEUE: 25,
    Rule.ORPHANS_THAT_STAY: 194,
    Rule.FURTHER_REASONS: 193,
    Rule.POOL_NAMED_DLQ: 10,
    Rule.ONE_LINE: 318,
    Rule.OWN_WORDS: 68,
    Rule.SAYS_IT_IS_OFF: 5,
    Rule.UNANSWERED_REQUESTS: 258,
    Rule.FAILURE_REASON: 18,
    Rule.NO_ITEM_OF_NONE: 18,
    Rule.SLOTS_IN_USE: 91,
    Rule.BROKEN_COUNTS: 3,
    Rule.STAMPS_IN_UTC: 9,
    Rule.WARNED_ONLY: 13,
    Rule.CHECK_STAMPED: 42,
    Rule.NO_CLONE_TIME: 14,
    Rule.OTHER_WORDS: 63,
    Rule.FEWER_LINES: 342,
    Rule.MINUTES_LEFT: 30,
    Rule.RETRIES_OF_REQUEST: 8,
}
"""How many keys and lines that differ from the recording each rule has touched (several may have touched one)."""


def settings_of(case: Case) -> Settings:
    return load_settings({"VMPOOLER_CONFIG": case.config_yaml})


_tallies: dict[str, Tally] = {}
"""What `planned` has added up so far, by case."""


@pytest.fixture(scope="module", params=REPLAYED)
def planned(request: pytest.FixtureRequest) -> tuple[Case, list[Expected]]:
    """Return a case and what it must come to. It is made once for all servers, since it depends on none."""
    case = goldens.case(request.param)
    expectations = list(plan(case))
    _tallies[case.name] = tallied(case, expectations)
    return case, expectations


def tallied(case: Case, expectations: Iterable[Expected]) -> Tally:
    tally = Tally()
    tally.add(case, expectations)
    return tally


def test_a_recorded_case_comes_out_as_recorded_but_for_the_named_rules(
    db: Database, planned: tuple[Case, list[Expected]], caplog: pytest.LogCaptureFixture
) -> None:
    case, expectations = planned
    caplog.set_level(logging.DEBUG, "vmpooler_tasks")
    with living_in(case.tz):
        replayed = replay(db, case, expectations, caplog)
    assert replayed == Counter(step.action for step in case.steps if step.in_scope)


def replay(
    db: Database, case: Case, expectations: Iterable[Expected], caplog: pytest.LogCaptureFixture
) -> Counter[str]:
    """Do and compare every step in scope. Return how many there are of each action."""
    settings, replayed = settings_of(case), Counter[str]()
    for expected in expectations:
        where = f"{case.name}, step {expected.step.number} ({expected.step.action})"
        if expected.fresh:
            goldens.fill(db.client, case.entries_before(expected.step))
        caplog.clear()
        answer = act(db, settings, expected.step)
        assert_same_database(db, expected, where)
        assert said(caplog, expected.step) == expected.lines, where
        assert answer == expected.outcome.result, where
        replayed[expected.step.action] += 1
    return replayed


def act(db: Database, settings: Settings, step: Step) -> Any:
    """Does here what was recorded there; answers with what is to be compared."""
    if step.action in QUEUE_ACTIONS:
        pool = Pool(name=step.args["pool"])  # VMPooler's method took any; ours has to know it
        order = PurgeOptions(pools=[pool.name], queues=[QUEUE_ACTIONS[step.action]], force=True, who="test")
        return purge_cycle.run(db, settings.model_copy(update={"pools": (pool,)}), lambda: step.now, order).total
    match step.action:
        case "purge_orphaned_metadata":
            order = PurgeOptions(queues=[PurgeTarget.ORPHANED], force=True, who="test")
            return purge_cycle.run(db, settings, lambda: step.now, order).total
        case "purge_cycle":
            skipped = purge_cycle.run(db, settings, lambda: step.now, PurgeOptions(who="test")).skipped
            return None if skipped else "ran"
        case "health_cycle":
            record_processes(db)
            return None if health_check.run(db, settings, lambda: step.now) is None else "ran"
        case "calculate_health_metrics":
            return measure(db, settings, step.now).metrics.as_json()
        case "move_to_dlq":
            return move_to_dlq(db, settings, step)
    assert step.action in POOL_ACTIONS, f"{step.action} is not here yet"
    return act_on_vm(context_of(db, settings, step), step)


def move_to_dlq(db: Database, settings: Settings, step: Step) -> None:
    args = step.args
    queue = DeadLetterQueue(args["queue_type"])
    error_class, message = args["error_class"] or "", args["error_message"] or ""
    names = {name: None if args.get(name) is None else args[name].encode() for name in ("request_id", "pool_alias")}
    dead_letter = failed_vm(
        queue=queue,
        vm=args["vm"].encode(),
        pool=args["pool"],
        error_class=error_class,
        error_message=message,
        now=step.now,
        identity=f"{step.now}:{error_class}:{message}".encode(),
        origin=RequestOrigin(retry_count=args.get("retry_count") or 0, **names),
    )
    if keep(db, settings, queue, dead_letter, step.now):
        log_moved(dead_letter)


# --- the pool workers -------------------------------------------------------------------------------------------------


class RecordedProvider:
    """Answers what VMPooler's provider answered; every VM is there."""

    def __init__(self, answer: Any) -> None:
        self._answer = answer or {}

    def create_vm(self, pool: PoolSpec, vm: str) -> VirtualMachine:
        del pool
        if "create_vm" in self._answer:
            error_class, message = self._answer["create_vm"]["raise"]
            raise type(error_class, (Exception,), {})(message)
        return VirtualMachine(name=vm, ip=self._answer["ip"])

    def find_vm(self, pool: PoolSpec, vm: str) -> VirtualMachine:
        del pool
        return VirtualMachine(name=vm)

    def is_ready(self, pool: PoolSpec, vm: str) -> Readiness:
        del pool, vm
        return Readiness(ready=bool(self._answer["vm_ready"]))

    def list_vms(self, pool: PoolSpec) -> Inventory:
        raise AssertionError(f"nobody asks for the inventory of {pool.name}")

    def destroy_vm(self, pool: PoolSpec, vm: str) -> bool:
        raise AssertionError(f"nobody destroys {vm} of {pool.name}")

    def close(self) -> None:
        """It holds nothing."""


def context_of(db: Database, settings: Settings, step: Step) -> PoolContext:
    provider: Provider = RecordedProvider(step.provider)
    clock = lambda: step.now  # noqa: E731 - the step's is the only time there is
    leases = LeaseRenewer(db, settings.config.lease_seconds, clock)
    return PoolContext(db, settings, lambda _: provider, clock, leases, retries=Retries(attempts=1))


def act_on_vm(context: PoolContext, step: Step) -> Any:
    if "names" in step.args:
        return failing_clone(context, step)
    vm, pool = step.args["vm"], context.pool(step.args["pool"])
    (fields,) = vms.read_metadata(context.db, [vm.encode()])
    match step.action:
        case "handle_timed_out_vm":
            return check_pending.fail(context, vm, pool.name, fields)
        case "fail_pending_vm":
            minutes = {name: step.args[name] for name in ("timeout", "timeout_notification")}
            return check_pending.fail_if_late(context, vm, pool.model_copy(update=minutes), fields)
    if not isinstance(step.provider["vm_ready"], dict):
        return {"ready": True, "failed": None}[check_ready.check(context, vm, pool.name)]
    readiness = Readiness(
        ready=False, error_class=step.provider["vm_ready"]["raise"][0]
    )  # VMPooler shows no more of it
    failed = check_ready.fail(context, vm, pool.name, fields, readiness, is_missing=False)
    assert failed is CheckResult.FAILED
    return None


def failing_clone(context: PoolContext, step: Step) -> list[str]:
    """Start the clone as the pool workers do, run it, and report the failure as the failed task's hook does."""
    pool, request_id = context.pool(step.args["pool"]), step.args.get("request_id")
    vm, slots = context.settings.config.prefix + step.args["names"][0], clones.slots_for(request_id)
    lineage = {"request_id": request_id, "pool_alias": step.args.get("pool_alias")}
    metadata = {**first_metadata(context.settings, pool, step.now), **lineage}
    words = [word for name, value in metadata.items() if value is not None for word in (name, value)]
    started, _, _ = (
        context.db.run(  # for a request too: `fulfilment.start_clones` does the same, if anybody waits for it
            "pools/start_clones",
            [
                *(keys.queue(queue, pool.name) for queue in (Queue.PENDING, Queue.READY)),
                *(*slots, keys.PAUSED, keys.MOVED),
            ],
            [
                *(pool.name, 10**6, 10**6, repr(step.now + 60), keys.VM_PREFIX, keys.WORK_PREFIX, repr(step.now)),
                *(len(words), *words, vm),
            ],
        )
    )
    assert started == [vm.encode()]
    with pytest.raises(Exception) as caught:  # of whichever class was recorded
        clone.run(context, vm, pool.name, "the task", request_id)
    why = CloneFailure.of(caught.value)
    failure = CloneFailure(why.error_class, redacted_text(why.message), why.permanent)
    assert clone.fail(context, vm, pool.name, failure, "the task", request_id)
    return [failure.error_class, timeless(failure.message.encode()).decode()]


# --- what came of it --------------------------------------------------------------------------------------------------


def assert_same_database(db: Database, expected: Expected, where: str) -> None:
    """Key by key. What we keep for ourselves is not compared, and all of it bears our own prefix."""
    found = comparable(goldens.snapshot(db.client))
    assert found.keys() == expected.state.keys(), where
    for key, cell in expected.state.items():
        assert found[key] == cell, f"{where}: {key!r}"
    for key in set(db.client.keys()) - set(found):
        assert key.startswith(OURS), where


def said(caplog: pytest.LogCaptureFixture, step: Step) -> Counter[bytes]:
    """The log's lines; the explanations behind a verdict, which VMPooler has not, are tested with the health check."""
    lines = [record.getMessage() for record in caplog.records if record.name.startswith("vmpooler_tasks")]
    left_out: tuple[str, ...] = ("[!] [health]", "[!] [health_check]", "[!] [queue_purge]")
    if step.action in QUEUE_ACTIONS or step.action == "purge_orphaned_metadata":
        # Recorded without the cycle around them.
        left_out += ("[*] [purge] Starting", "[*] [purge] Completed", "[*] [purge][dry-run] Completed")
    return summed(normal_line(line.encode()) for line in lines if not line.startswith(left_out))


@pytest.mark.parametrize("name", REFUSED)
def test_a_recorded_configuration_that_lost_data_is_refused_by_name(name: str) -> None:
    case = goldens.case(name)
    with pytest.raises(ConfigurationError) as caught:
        settings_of(case)
    assert sorted(problem.partition(":")[0] for problem in caught.value.problems) == sorted(REFUSED[name])


def tally_of_all() -> Tally:
    """Return the sum over all cases, most of which `planned` has added up already."""
    tally = Tally()
    for name in goldens.case_names():
        if name not in _tallies:  # refused, or the test runs alone
            case = goldens.case(name)
            _tallies[name] = tallied(case, () if name in REFUSED else plan(case))
        tally.update(_tallies[name])
    return tally


def test_what_is_compared_what_is_allowed_and_what_is_not_here_yet_adds_up() -> None:
    """The numbers themselves, so that nothing drops out of the comparison unseen."""
    tally = tally_of_all()
    assert tally.unexplained == []
    assert tally.replayed == {
        "purge_pending_queue": 50,
        "purge_ready_queue": 33,
        "purge_completed_queue": 33,
        "purge_orphaned_metadata": 19,
        "purge_cycle": 33,
        "health_cycle": 64,
        "calculate_health_metrics": 15,
        "move_to_dlq": 75,
        "handle_timed_out_vm": 60,
        "fail_pending_vm": 56,
        "vm_still_ready?": 54,
        "_clone_vm": 75,
        "clone_vm": 42,
    }
    assert tally.refused == {
        "purge_pending_queue": 10,
        "purge_ready_queue": 3,
        "purge_completed_queue": 3,
        "purge_orphaned_metadata": 2,
        "purge_cycle": 3,
        "health_cycle": 11,
        "calculate_health_metrics": 2,
        "move_to_dlq": 15,
        "handle_timed_out_vm": 5,
        "fail_pending_vm": 4,
        "vm_still_ready?": 4,
        "_clone_vm": 15,
        "clone_vm": 3,
    }
    assert tally.not_here_yet == {"metric": 3318}
    assert tally.exact == {"keys": 54_456, "values": 277_534, "values in changed keys": 5723, "lines": 1844}
    assert tally.changed == {"keys": 1969, "lines": 2327, "sums": 52}
    assert tally.allowed == ALLOWED
    assert set(ALLOWED) == set(Rule)


def test_every_recorded_action_is_either_replayed_or_named_as_not_here_yet() -> None:
    tally = tally_of_all()
    actions = tally.replayed.keys() | tally.refused.keys() | tally.not_here_yet.keys() - {"metric"}
    assert actions == IN_SCOPE | NOT_HERE_YET
    assert not IN_SCOPE & NOT_HERE_YET
    assert len(goldens.case_names()) == len(REPLAYED) + len(REFUSED) == 39
