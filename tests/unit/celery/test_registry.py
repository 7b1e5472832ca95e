"""The table of tasks is complete: whatever is registered in Celery stands in it, with what follows from it."""

import importlib

import pytest

from vmpooler_tasks.model.pools.lifecycle import Step
from vmpooler_tasks.tasks.celery import defaults
from vmpooler_tasks.tasks.celery.app import app
from vmpooler_tasks.tasks.registry import BY_STEP, OWN, QUEUES, TASKS, TaskSpec

OURS = "vmpooler_tasks."


def registered() -> set[str]:
    for module in defaults.imports:
        importlib.import_module(module)
    return {name for name in app.tasks if name.startswith(OURS)}


def test_registered_tasks_are_those_of_the_table() -> None:
    assert registered() == set(TASKS)
    assert OWN.names == set(TASKS)


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)
def test_task_is_routed_and_sends_events_as_the_table_says(task: TaskSpec) -> None:
    registered()
    assert task.queue in QUEUES
    assert defaults.task_routes[task.name] == {"queue": task.queue}
    assert app.tasks[task.name].send_events is not task.has_own_lines


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)
def test_a_task_without_events_sends_none_when_it_is_sent(task: TaskSpec) -> None:
    message = app.amqp.as_task_v2("an id", task.name, create_sent_event=True)
    assert (message.sent_event is None) is task.has_own_lines


def test_every_step_has_a_task() -> None:
    assert set(BY_STEP) == set(Step)


def test_repeated_task_has_own_lines() -> None:
    assert all(task.has_own_lines for task in TASKS.values() if task.is_repeated)
