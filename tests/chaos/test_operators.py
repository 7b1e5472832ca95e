"""Operators who purge Celery's queues and terminate tasks, in the middle of clones.

The system and what must hold are those of `test_kills`. `celery purge` deletes all messages that wait. `revoke` with
`terminate` kills the process of a clone that runs. A message that is gone is sent again; a clone that was terminated is
a failure.
"""

import json
from functools import partial

import pytest
from celery import Celery

from tests.chaos.settings import times
from tests.chaos.site import Site
from tests.support.processes import until
from vmpooler_tasks.model.names import DeadLetterQueue
from vmpooler_tasks.tasks import registry as names

ROUNDS = times(3)
"""Each has a purge and a clone that is terminated."""

pytestmark = [pytest.mark.stage(name="chaos"), pytest.mark.timeout(240 + 60 * ROUNDS)]


def test_purged_messages_and_terminated_clones_lose_double_and_forget_nothing(site: Site) -> None:
    with Celery("tests", broker=site.server.url, set_as_current=False) as client:
        for count in range(1, ROUNDS + 1):
            site.wait_for_clones()
            site.installation.run("celery", "-A", "vmpooler_tasks", "purge", "-f")
            until(partial(has_terminated, site, client, count), "a clone is terminated")
    figures = site.settle()
    print(f"{ROUNDS} purges and terminations, and all is well: {figures}", flush=True)
    assert [process.running for process in site.workers] == [True, True, True]


def has_terminated(site: Site, client: Celery, count: int) -> bool:
    """Terminate a clone that a worker holds. Return True if so many were terminated.

    Some end before, or run in threads, where nothing is terminated.
    """
    if running := clones_under_way(site):
        client.control.revoke(site.chance.choice(running), terminate=True, signal="SIGKILL")
    errors = [entry["error_class"] for entry in site.dead_letters(DeadLetterQueue.CLONE)]
    return errors.count("TaskRevokedError") >= count


def clones_under_way(site: Site) -> list[str]:
    """Return the ids of the clones that workers hold."""
    messages = (json.loads(raw)[0] for raw in site.db.call("HVALS", "unacked"))
    return [one["headers"]["id"] for one in messages if one["headers"]["task"] == names.CLONE_VM]
