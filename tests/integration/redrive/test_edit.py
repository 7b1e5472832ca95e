"""A failed task runs again with changed arguments: which, whose, once, and what the audit keeps."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.integration.redrive.test_tasks import waiting
from tests.support.redriver import Redriver
from tests.support.servers import TestServer
from tests.support.world import POOL
from vmpooler_tasks.errors import InvalidInputError
from vmpooler_tasks.jobs.redrive.edit import Arguments, Edit, redrive_edited, why_not_editable
from vmpooler_tasks.model.names import DeadLetterQueue
from vmpooler_tasks.model.redrive import RedriveOutcome, read_lineage
from vmpooler_tasks.store import Database, keys
from vmpooler_tasks.store.fleet import audit
from vmpooler_tasks.tasks import registry as names
from vmpooler_tasks.tasks.registry import OWN, TASKS

pytestmark = pytest.mark.both_servers

WRONG = {"pools": [POOL, "wrnog"], "who": "beat"}


@pytest.fixture
def world(db: Database, server: TestServer) -> Iterator[Redriver]:
    with ExitStack() as stack:
        yield Redriver(db, url=server.url, stack=stack)


def purge(world: Redriver, kwargs: Any = WRONG, **fields: Any) -> Any:
    """Add the dead letter of a purge, and return it."""
    world.dead_letter("tasks", **{"task": names.PURGE, "kwargs": kwargs, **fields})
    return world.found(DeadLetterQueue.TASKS)[0]


def edit(world: Redriver, entry: Any, *args: Any, audited: str | None = None, **kwargs: Any) -> RedriveOutcome:
    order = Edit(arguments=Arguments(args, kwargs), who="anna@host", why=audited, at=world.now)
    return redrive_edited(world.db, world.settings, world.broker(), entry, order)


def test_a_task_runs_again_with_changed_arguments_and_the_audit_keeps_both(world: Redriver) -> None:
    entry = purge(world, {"pools": ["wrnog"], "who": "beat"}, redrives=1)
    assert (
        edit(world, entry, audited="a typing error", pools=[POOL], dry_run=True, who="beat") is RedriveOutcome.REDRIVEN
    )
    [sent] = world.messages(names.MAINTENANCE_QUEUE)
    assert (sent.headers["task"], sent.kwargs) == (names.PURGE, {"pools": [POOL], "dry_run": True, "who": "beat"})
    lineage = read_lineage(sent.headers["redrive"])
    assert lineage is not None
    assert (lineage.dead_letter_id, lineage.redrives, lineage.retry_count) == (entry.id, 2, 1)
    assert (lineage.attempts[-1]["who"], lineage.attempts[-1]["edited"]) == ("anna@host", True)
    assert world.left() == set()
    fields = audit.read_newest(world.db, 1)[0].fields
    assert (fields["action"], fields["who"], fields["why"]) == ("edit", "anna@host", "a typing error")
    assert (fields["dead_letter"], fields["task"], fields["count"]) == (entry.id, names.PURGE, "1")
    assert json.loads(fields["before"])["kwargs"] == {"pools": ["wrnog"], "who": "beat"}
    assert json.loads(fields["after"])["kwargs"] == {"pools": [POOL], "dry_run": True, "who": "beat"}


@pytest.mark.parametrize(
    ("kwargs", "complaint"),
    [
        ({"pool": POOL}, "got an unexpected keyword argument 'pool'; the arguments .* are: dry_run, pools, queues"),
        ({"dry_run": "yes"}, "dry_run: must be true or false, not 'yes'"),
        ({"pools": POOL}, "pools: must be a list of text, not"),
        ({"why": 7}, "why: must be text or null, not 7"),
        ({"who": "somebody else"}, "who: has to stay 'beat'"),
        ({"why": "[redacted]"}, "put the real value in its place"),
        ({"pools": ["other", "wrnog"]}, "pools: has to stay .*only a name that is no pool can be corrected"),
        ({"pools": []}, "pools: has to stay"),
        ({"why": float("nan")}, "not valid JSON"),
        ({"why": "x" * 70_000}, "more than 65536"),
    ],
)
def test_what_is_wrong_is_named_and_nothing_runs(world: Redriver, kwargs: dict[str, Any], complaint: str) -> None:
    entry = purge(world)
    with pytest.raises(InvalidInputError, match=complaint):
        edit(world, entry, **{**WRONG, **kwargs})
    assert (world.left(), waiting(world)) == ({entry.id}, {})


def test_arguments_by_position_count_as_well(world: Redriver) -> None:
    entry = purge(world, {}, args=[True, [POOL]])
    with pytest.raises(InvalidInputError, match="pools: has to stay"):
        edit(world, entry, pools=["other"])
    with pytest.raises(InvalidInputError, match="too many positional arguments"):
        edit(world, entry, *range(9))
    assert edit(world, entry, dry_run=False, pools=[POOL]) is RedriveOutcome.REDRIVEN


def test_only_marked_tasks_are_editable(world: Redriver) -> None:
    editable = {name for name, task in TASKS.items() if task.is_editable}
    assert editable == {names.PURGE, names.HEALTH_CHECK}
    for task in (*sorted(set(TASKS) - editable), "some.task", ""):
        entry = purge(world, {"vm": "v", "pool": POOL}, task=task)
        assert why_not_editable(entry, OWN)
        with pytest.raises(InvalidInputError):
            edit(world, entry, vm="v", pool=POOL)
        world.client.delete(keys.dead_letters(DeadLetterQueue.TASKS))
    world.dead_letter("clone")
    assert "it is a VM" in (why_not_editable(world.found(DeadLetterQueue.CLONE)[0], OWN) or "")
    assert waiting(world) == {}


def test_a_dead_letter_that_left_meanwhile_is_not_run(world: Redriver) -> None:
    entry = purge(world)
    world.client.delete(keys.dead_letters(DeadLetterQueue.TASKS))
    assert edit(world, entry, pools=[POOL, "right"], who="beat") is RedriveOutcome.GONE
    assert waiting(world) == {}
    assert audit.read_newest(world.db, 1) == []


def test_secrets_are_not_in_the_audit(world: Redriver) -> None:
    entry = purge(world, {"why": "password=[redacted]"})
    assert edit(world, entry, queues=[]) is RedriveOutcome.REDRIVEN
    world.client.delete(names.MAINTENANCE_QUEUE)
    entry = purge(world, {})
    kwargs = {"why": "password=geheim"}
    order = Edit(arguments=Arguments((), kwargs), who="anna", why=None, at=world.now)
    assert redrive_edited(world.db, world.settings, world.broker(), entry, order) is RedriveOutcome.REDRIVEN
    assert "geheim" not in repr(audit.read_newest(world.db, 9))
    [sent] = world.messages(names.MAINTENANCE_QUEUE)
    assert sent.kwargs == kwargs


def test_to_a_broker_on_another_server_it_is_sent_once(world: Redriver, elsewhere: Redriver) -> None:
    entry = purge(world, {})
    assert edit(world, entry, dry_run=True) is RedriveOutcome.REDRIVEN
    assert edit(world, entry, dry_run=True) is RedriveOutcome.GONE
    assert waiting(elsewhere) == {names.MAINTENANCE_QUEUE: 1}
    assert (world.left(), waiting(world)) == (set(), {})
