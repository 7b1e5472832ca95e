"""A worker carries out the commands that the configuration permits, with arguments that it survives, and no others."""

import logging
from collections.abc import Collection
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery
from celery.concurrency import prefork, solo, thread
from celery.concurrency.base import BasePool
from celery.worker.control import Panel
from hypothesis import given
from hypothesis import strategies as st

from tests.support.fuzzing import fuzzed
from tests.support.odd_messages import json_values
from vmpooler_tasks.model.remote_control import ALIASES, COMMANDS, GROUPS, INSPECT, LASTING, REVOKE, permitted_commands
from vmpooler_tasks.tasks.broker.commands import MAX_TASK_IDS, check_arguments
from vmpooler_tasks.tasks.broker.parsing import InvalidMessageError
from vmpooler_tasks.tasks.celery import defaults
from vmpooler_tasks.tasks.guards import remote_control
from vmpooler_tasks.tasks.guards.remote_control import MAX_CHANGES, UNANSWERED, LastingChanges, PermittedCommands

DEFAULT = (INSPECT, REVOKE)


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """Put a record in the place of each of Celery's functions."""
    calls: list[tuple[str, dict[str, Any]]] = []

    def recorded(name: str) -> Any:
        def command(state: Any, **arguments: Any) -> Any:
            del state
            calls.append((name, arguments))
            return {"ok": name}

        return command

    for name in Panel.data:
        monkeypatch.setitem(Panel.data, name, recorded(name))
    return calls


def processes() -> BasePool:
    """Return a pool of processes as it is after its start, when it has the methods of billiard's pool."""
    pool = prefork.TaskPool(1)
    pool.terminate_job = prefork.AsynPool.terminate_job.__get__(SimpleNamespace())
    return pool


def state(pool: BasePool | None = None, taken: Collection[str] = ()) -> Any:
    """Return what Celery passes to a command: of a worker with this pool that takes these queues."""
    app = Celery("test", set_as_current=False)
    app.conf.task_queues = defaults.task_queues
    queues = SimpleNamespace(consuming_from=lambda queue: queue in taken)
    return SimpleNamespace(app=app, consumer=SimpleNamespace(pool=pool or processes(), task_consumer=queues))


def carry_out(chosen: tuple[str, ...], method: str, **arguments: Any) -> Any:
    return PermittedCommands(chosen)[method](state(), **arguments)


def test_every_command_of_celery_is_known() -> None:
    """A command of a later version of Celery has to be permitted, or left out on purpose."""
    left_out = {"objgraph", "revoke_by_stamped_headers", *UNANSWERED}
    assert {ALIASES.get(name, name) for name in Panel.data} == COMMANDS | left_out
    assert LASTING <= COMMANDS
    assert not LASTING & permitted_commands(DEFAULT)


@pytest.mark.parametrize("method", sorted(Panel.data))
def test_what_is_not_permitted_is_refused_with_the_option(method: str, called: list[Any]) -> None:
    reply = carry_out((), method)
    assert called == []
    name = ALIASES.get(method, method)
    expected = {"error": f"remote_control in the configuration does not permit {name}"}
    assert reply == (None if method in UNANSWERED else expected)


def test_reading_and_revoking_are_permitted_unless_the_configuration_says_otherwise(called: list[Any]) -> None:
    for method in sorted(Panel.data):
        carry_out(DEFAULT, method)
    permitted = GROUPS[INSPECT] | GROUPS[REVOKE]
    assert {ALIASES.get(name, name) for name, _ in called} == permitted
    assert {"shutdown", "cancel_consumer", "rate_limit", "pool_restart", "hello"}.isdisjoint(permitted)


def test_a_single_command_can_be_permitted(called: list[Any]) -> None:
    assert carry_out(("shutdown",), "shutdown") == {"ok": "shutdown"}
    assert "error" in carry_out(("shutdown",), "ping")
    assert [name for name, _ in called] == ["shutdown"]


def test_a_command_that_changes_something_is_logged(caplog: pytest.LogCaptureFixture, called: list[Any]) -> None:
    carry_out(("all",), "ping")
    carry_out(("all",), "rate_limit", task_name="celery.chain", rate_limit="1/h\n[*] forged")
    (line,) = caplog.messages
    assert line == "[!] [workers] Remote control: rate_limit task_name=celery.chain rate_limit=1/h\\n[*] forged"
    assert len(called) == 2


def test_changes_that_last_are_remembered_until_they_are_undone() -> None:
    changes = LastingChanges()
    changes.note("cancel_consumer", "a", "cancel_consumer queue=a")
    changes.note("rate_limit", "t", "rate_limit task_name=t rate_limit=1/h")
    changes.note("rate_limit", "t", "rate_limit task_name=t rate_limit=2/h")
    changes.note("revoke", "", "revoke task_id=x")
    assert changes.as_texts() == ("cancel_consumer queue=a", "rate_limit task_name=t rate_limit=2/h")
    changes.note("add_consumer", "b", "add_consumer queue=b")
    changes.note("add_consumer", "a", "add_consumer queue=a")
    changes.note("cancel_consumer", "b", "cancel_consumer queue=b")
    changes.note("disable_events", "", "disable_events")
    changes.note("enable_events", "", "enable_events")
    assert changes.as_texts() == ("rate_limit task_name=t rate_limit=2/h",)
    for number in range(3 * MAX_CHANGES):
        changes.note("time_limit", str(number), f"time_limit task_name={number}")
    assert len(changes.as_texts()) == MAX_CHANGES


@pytest.mark.usefixtures("called")
@pytest.mark.parametrize(
    ("sent", "taken", "changes"),
    [
        (["cancel_consumer"], False, ()),
        (["add_consumer"], True, ()),
        (["add_consumer", "cancel_consumer"], True, ("cancel_consumer queue=vmpooler.check",)),
        (["cancel_consumer", "cancel_consumer"], True, ("cancel_consumer queue=vmpooler.check",)),
        (["cancel_consumer", "add_consumer"], True, ()),
        (["add_consumer"], False, ("add_consumer queue=vmpooler.check",)),
    ],
)
def test_only_a_command_that_changes_the_queues_is_remembered(
    monkeypatch: pytest.MonkeyPatch, sent: list[str], taken: bool, changes: tuple[str, ...]
) -> None:
    """The worker carries a command out after its reply: until then, it takes the queues that it took before."""
    monkeypatch.setattr(remote_control, "LASTING_CHANGES", LastingChanges())
    worker = state(taken=["vmpooler.check"] if taken else [])
    for method in sent:
        PermittedCommands(("all",))[method](worker, queue="vmpooler.check")
    assert remote_control.LASTING_CHANGES.as_texts() == changes


@pytest.mark.usefixtures("called")
@pytest.mark.parametrize(
    ("sent", "changes"),
    [
        ([("pool_grow", {"n": 2}), ("pool_shrink", {"n": 2})], ()),
        ([("pool_shrink", {}), ("pool_grow", {"n": 1})], ()),
        ([("pool_grow", {"n": 3}), ("pool_shrink", {"n": 1}), ("pool_shrink", {"n": 1})], ("pool_grow n=1",)),
        ([("pool_grow", {"n": 2}), ("pool_shrink", {"n": 5})], ("pool_shrink n=3",)),
        ([("pool_grow", {"n": 1}), ("pool_grow", {"n": 1})], ("pool_grow n=2",)),
    ],
)
def test_slots_that_were_added_and_taken_away_cancel_each_other(
    monkeypatch: pytest.MonkeyPatch, sent: list[tuple[str, dict[str, int]]], changes: tuple[str, ...]
) -> None:
    monkeypatch.setattr(remote_control, "LASTING_CHANGES", LastingChanges())
    for method, arguments in sent:
        PermittedCommands(("all",))[method](state(), **arguments)
    assert remote_control.LASTING_CHANGES.as_texts() == changes


@pytest.mark.parametrize("pool", [thread.TaskPool, solo.TaskPool])
@pytest.mark.parametrize(
    ("method", "arguments"),
    [("terminate", {"signal": "TERM", "task_id": "x"}), ("revoke", {"task_id": ["x"], "terminate": True})],
)
def test_a_worker_without_processes_refuses_to_end_a_task_before_it_is_revoked(
    pool: type[BasePool], method: str, arguments: dict[str, Any], called: list[Any]
) -> None:
    reply = PermittedCommands(DEFAULT)[method](state(pool(1)), **arguments)
    assert reply == {"error": "this worker cannot end a task that runs (threads); revoke it without terminate"}
    assert called == []
    assert PermittedCommands(DEFAULT)["revoke"](state(pool(1)), task_id=["x"]) == {"ok": "revoke"}
    assert PermittedCommands(DEFAULT)[method](state(), **arguments) == {"ok": method}


def test_refusals_are_logged_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    commands = PermittedCommands(DEFAULT)
    for number in range(50):
        commands["shutdown"](state())
        commands[f"any text {number}"](state())
    assert len(caplog.records) == 2
    assert {record.levelno for record in caplog.records} == {logging.WARNING}
    assert all(record.exc_info is None for record in caplog.records)


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("cancel_consumer", {"queue": "vmpooler__ready__a"}),
        ("add_consumer", {"queue": "vmpooler__dlq__tasks"}),
        ("rate_limit", {"task_name": "nobody's", "rate_limit": "1/s"}),
        ("revoke", {"task_id": ["x"] * (MAX_TASK_IDS + 1)}),
        ("revoke", {"task_id": {"a": 1}}),
        ("terminate", {"task_id": "x", "signal": "STOP"}),
        ("terminate", {"task_id": "x", "signal": 19}),
        ("terminate", {"task_id": "x", "signal": "INT"}),
        ("terminate", {"task_id": "x", "signal": 2}),
        ("revoke", {"task_id": "x", "terminate": True, "signal": "SIGUSR1"}),
        ("terminate", {"task_id": "x", "signal": 10}),
        ("terminate", {"task_id": "x", "signal": "term"}),
        ("pool_grow", {"n": 10**6}),
        ("pool_shrink", {"n": -1}),
        ("time_limit", {"task_name": "celery.chain", "hard": 0}),
        ("pool_restart", {"modules": ["antigravity"]}),
        ("shutdown", {"msg": "x"}),
        ("ping", {"self": 1}),
    ],
)
def test_arguments_that_a_worker_does_not_survive_are_refused(
    method: str, arguments: dict[str, Any], called: list[Any]
) -> None:
    assert "error" in carry_out(("all",), method, **arguments)
    assert called == []


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"task_id": ["x"], "terminate": True, "signal": "SIGKILL"},
        {"task_id": "x", "terminate": False, "signal": None},
        {"signal": "QUIT", "task_id": ["x"]},
        {"task_id": "x", "signal": 9},
        {"safe": None},
        {"with_defaults": False},
        {"taskinfoitems": ["rate_limit"]},
        {"task_name": "x", "hard": None, "soft": 60.0},
        {"task_name": "x", "rate_limit": 10},
        {"queue": "x", "exchange": None, "exchange_type": "direct", "routing_key": None},
        {"modules": None, "reload": False, "reloader": None},
    ],
)
def test_what_celery_and_flower_send_is_valid(arguments: dict[str, Any]) -> None:
    check_arguments(arguments)


@fuzzed(200)
@given(st.dictionaries(st.sampled_from(["task_id", "signal", "n", "queue", "soft", "state", "ids"]), json_values))
def test_any_arguments_are_usable_or_refused(arguments: dict[str, Any]) -> None:
    with suppress(InvalidMessageError):
        check_arguments(arguments)
