"""Dead letters that cannot be run again stay where they are, and end no run."""

import json
from typing import Any

import pytest

from tests.support.cycles import audit, counters
from tests.support.pool_world import pool
from tests.support.redriver import ALIAS, REQUEST, Redriver
from tests.support.world import POOL
from vmpooler_tasks.errors import InvalidInputError
from vmpooler_tasks.jobs.redrive import run as job
from vmpooler_tasks.model.names import Queue
from vmpooler_tasks.store.redrive import runs

pytestmark = pytest.mark.both_servers


def test_a_dead_letter_that_somebody_deleted_meanwhile_is_gone(world: Redriver) -> None:
    world.dead_letter("clone")
    world.dead_letter("tasks")
    run = world.start()
    world.client.delete("vmpooler__dlq__clone", "vmpooler__dlq__tasks")
    last = world.drive(run)
    assert {name: count for name, count in last.counts.items() if count} == {"gone": 2}
    assert world.messages() == world.messages("vmpooler.maintenance") == []
    assert counters(world) == {}


@pytest.mark.parametrize("queue", ["pending", "clone", "ready", "tasks"])
@pytest.mark.parametrize("raw", ["no letter", "{}", '{"vm":"v"}', b"\xff\xfe", "v:1:{broken"])
def test_what_is_no_dead_letter_of_a_vm_or_task_stays_where_it_is(
    world: Redriver, queue: str, raw: str | bytes
) -> None:
    world.client.zadd(f"vmpooler__dlq__{queue}", {raw: world.now})
    assert world.redrive() == {"kept": 1}
    assert world.client.zcard(f"vmpooler__dlq__{queue}") == 1


@pytest.mark.parametrize("name", ["vm", "pool", "request_id", "pool_alias"])
def test_a_dead_letter_with_a_name_that_is_none_does_not_end_a_run(world: Redriver, name: str) -> None:
    fields = {"vm": "v", "pool": POOL, "request_id": REQUEST, "pool_alias": ALIAS, name: "\ud800"}
    raw = json.dumps({"error_class": "E", "error_message": "no", **fields})
    world.client.zadd("vmpooler__dlq__clone", {raw: world.now - 90})
    world.dead_letter(age=30)
    assert world.redrive() == {"kept": 1, "redriven": 1}


@pytest.mark.parametrize("counts", [{"retry_count": "x", "redrives": None}, {"retry_count": -3, "redrives": [1]}])
def test_counts_that_are_none_count_as_none(world: Redriver, counts: dict[str, Any]) -> None:
    world.dead_letter(**counts)
    assert world.redrive() == {"redriven": 1}
    [vm] = world.names_in(Queue.PENDING)
    [lineage] = runs.read_lineages(world.db, [vm])
    assert lineage is not None
    assert (lineage.redrives, lineage.retry_count) == (1, 1)


def test_a_run_that_nobody_knows_is_refused(world: Redriver) -> None:
    for act in (lambda: list(world.steps("nowhere")), lambda: job.cancel(world.db, "nowhere")):
        with pytest.raises(InvalidInputError, match="there is no run 'nowhere', or not any more"):
            act()


def test_a_run_leaves_one_audit_entry_with_its_outcomes(world: Redriver) -> None:
    world.pools = [pool(size=1)]
    world.dead_letter(age=60)
    world.dead_letter(age=50)
    world.client.zadd("vmpooler__dlq__tasks", {"no letter": world.now})
    run = world.start()
    world.drive(run)
    assert list(world.steps(run)) == [], "it is over"
    assert audit(world) == [
        {
            "action": "redrive",
            "who": "anna@host",
            "why": "fixed",
            "run": run,
            "state": "done",
            "selected": "3",
            "count": "1",
            "obsolete": "1",
            "kept": "1",
            "gone": "0",
            "failed_again": "0",
        }
    ]
