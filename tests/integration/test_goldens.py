"""VMPooler's recorded behaviour, replayed on a real server: the same, but for the rules that are named in `Rule`."""

import logging
from collections import Counter
from typing import Any

import pytest

from tests.support import goldens
from tests.support.goldens import IN_SCOPE, NOT_HERE_YET, OURS, QUEUE_ACTIONS, Case, Rule, Step, comparable, told
from tests.support.goldens_plan import REFUSED, UNSAID, Expected, Tally, plan, summed
from tests.support.goldens_times import living_in
from vmpooler_tasks.config import Pool, Settings
from vmpooler_tasks.config.load import load_settings
from vmpooler_tasks.errors import ConfigurationError
from vmpooler_tasks.jobs import health, purge
from vmpooler_tasks.jobs.health_metrics import measure
from vmpooler_tasks.jobs.keep import keep
from vmpooler_tasks.jobs.purge_order import PurgeOrder
from vmpooler_tasks.model.deadletter import failed_vm
from vmpooler_tasks.model.names import ORPHANED, DeadLetterQueue
from vmpooler_tasks.store import Database

REPLAYED = [name for name in goldens.case_names() if name not in REFUSED]

ALLOWED = {
    Rule.PURE_JSON: 235,
    Rule.ALWAYS_A_RETRY_COUNT: 14,
    Rule.TTL_PER_LETTER: 558,
    Rule.ORPHAN_EXPIRES_ALREADY: 629,
    Rule.QUEUED_IN_ANY_POOL: 134,
    Rule.PURGED_KEEPS_DATA_TTL: 448,
    Rule.COMPLETED_SINCE_DESTROY: 505,
    Rule.AGES_FROM_FIRST_SEEN: 527,
    Rule.DRY_RUN_FOUND: 6,
    Rule.WRONG_TYPE_STOPS_NOTHING: 119,
    Rule.NOTHING_LOST: 98,
    Rule.REFUSED_CONFIGURATION: 5,
    Rule.HEALTH_FIELDS: 194,
    Rule.RUBYS_GUESSES: 415,
    Rule.QUOTED_OPTION: 143,
    Rule.DATA_TTL_DEFAULT: 56,
    Rule.METADATA_WITHOUT_POOL: 112,
    Rule.UNREADABLE_ORPHAN: 2,
    Rule.ORPHANS_THAT_STAY: 194,
    Rule.FURTHER_REASONS: 58,
    Rule.POOL_NAMED_DLQ: 10,
    Rule.ONE_LINE: 210,
    Rule.OWN_WORDS: 30,
    Rule.SAYS_IT_IS_OFF: 5,
}
"""How many keys and lines that differ from the recording each rule has touched (several may have touched one)."""


def settings_of(case: Case) -> Settings:
    return load_settings({"VMPOOLER_CONFIG": case.config_yaml})


@pytest.mark.parametrize("name", REPLAYED)
def test_a_recorded_case_comes_out_as_recorded_but_for_the_named_rules(
    db: Database, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    case = goldens.case(name)
    caplog.set_level(logging.DEBUG, "vmpooler_tasks")
    with living_in(case.tz):
        replayed = replay(db, case, settings_of(case), caplog)
    assert replayed == Counter(step.action for step in case.steps if step.in_scope)


def replay(db: Database, case: Case, settings: Settings, caplog: pytest.LogCaptureFixture) -> Counter[str]:
    """Does and compares every step in scope; answers how many of each action."""
    replayed = Counter[str]()
    for expected in plan(case):
        where = f"{case.name}, step {expected.step.number} ({expected.step.action})"
        if expected.fresh:
            goldens.fill(db.client, case.entries_before(expected.step))
        caplog.clear()
        answer = act(db, settings, expected.step)
        assert_same_database(db, expected, where)
        assert said(caplog, expected.step) == expected.lines, where
        assert answer == expected_answer(expected), where
        replayed[expected.step.action] += 1
    return replayed


def act(db: Database, settings: Settings, step: Step) -> Any:
    """Does here what was recorded there; answers with what is to be compared."""
    if step.action in QUEUE_ACTIONS:
        pool = Pool(name=step.args["pool"])  # VMPooler's method took any; ours has to know it
        order = PurgeOrder(pools=[pool.name], queues=[QUEUE_ACTIONS[step.action]], force=True, who="test")
        return purge.run(db, settings.model_copy(update={"pools": (pool,)}), lambda: step.now, order).total
    match step.action:
        case "purge_orphaned_metadata":
            order = PurgeOrder(queues=[ORPHANED], force=True, who="test")
            return purge.run(db, settings, lambda: step.now, order).total
        case "purge_cycle":
            skipped = purge.run(db, settings, lambda: step.now, PurgeOrder(who="test")).skipped
            return None if skipped else "ran"
        case "health_cycle":
            return None if health.run(db, settings, lambda: step.now) is None else "ran"
        case "calculate_health_metrics":
            return measure(db, settings, step.now)[0].nested()
        case "move_to_dlq":
            return move_to_dlq(db, settings, step)
    raise AssertionError(f"{step.action} is not here yet")


def move_to_dlq(db: Database, settings: Settings, step: Step) -> None:
    args = step.args
    queue = DeadLetterQueue(args["queue_type"])
    error_class, message = args["error_class"] or "", args["error_message"] or ""
    origin = {name: None if args.get(name) is None else args[name].encode() for name in ("request_id", "pool_alias")}
    letter = failed_vm(
        queue=queue, vm=args["vm"].encode(), pool=args["pool"], error_class=error_class, error_message=message,
        now=step.now, retry_count=args.get("retry_count") or 0,
        identity=f"{step.now}:{error_class}:{message}".encode(), **origin,
    )  # fmt: skip
    keep(db, settings, queue, letter, step.now)


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
    if step.action == UNSAID:
        return Counter()
    lines = [record.getMessage() for record in caplog.records if record.name.startswith("vmpooler_tasks")]
    left_out: tuple[str, ...] = ("[!] [health]", "[!] [health_check]", "[!] [queue_purge]")
    if step.action in QUEUE_ACTIONS or step.action == "purge_orphaned_metadata":
        # Recorded without the cycle around them.
        left_out += ("[*] [purge] Starting", "[*] [purge] Completed", "[*] [purge][dry-run] Completed")
    return summed(told(line.encode()) for line in lines if not line.startswith(left_out))


def expected_answer(expected: Expected) -> Any:
    return None if expected.step.action == UNSAID else expected.outcome.result


@pytest.mark.parametrize("name", REFUSED)
def test_a_recorded_configuration_that_lost_data_is_refused_by_name(name: str) -> None:
    case = goldens.case(name)
    with pytest.raises(ConfigurationError) as caught:
        settings_of(case)
    assert sorted(problem.partition(":")[0] for problem in caught.value.problems) == sorted(REFUSED[name])


def test_what_is_compared_what_is_allowed_and_what_is_not_here_yet_adds_up() -> None:
    """The numbers themselves, so that nothing drops out of the comparison unseen."""
    tally = Tally()
    for name in goldens.case_names():
        tally.add(goldens.case(name))
    assert tally.unexplained == []
    assert tally.replayed == {
        "purge_pending_queue": 50, "purge_ready_queue": 33, "purge_completed_queue": 33,
        "purge_orphaned_metadata": 19, "purge_cycle": 33,
        "health_cycle": 64, "calculate_health_metrics": 15, "move_to_dlq": 75,
    }  # fmt: skip
    assert tally.refused == {
        "purge_pending_queue": 10, "purge_ready_queue": 3, "purge_completed_queue": 3,
        "purge_orphaned_metadata": 2, "purge_cycle": 3,
        "health_cycle": 11, "calculate_health_metrics": 2, "move_to_dlq": 15,
    }  # fmt: skip
    assert tally.not_here_yet == {
        "handle_timed_out_vm": 65, "fail_pending_vm": 60, "vm_still_ready?": 58, "_clone_vm": 90, "clone_vm": 45,
        "metric": 2923, "log line": 73,
    }  # fmt: skip
    assert tally.exact == {"keys": 28_049, "values": 141_989, "values in changed keys": 5011, "lines": 1302}
    assert tally.changed == {"keys": 1381, "lines": 1585, "sums": 52}
    assert tally.allowed == ALLOWED
    assert set(ALLOWED) == set(Rule)


def test_every_recorded_action_is_either_replayed_or_named_as_not_here_yet() -> None:
    actions = {step.action for name in goldens.case_names() for step in goldens.case(name).steps}
    assert actions == IN_SCOPE | NOT_HERE_YET
    assert not IN_SCOPE & NOT_HERE_YET
    assert len(goldens.case_names()) == len(REPLAYED) + len(REFUSED) == 39
