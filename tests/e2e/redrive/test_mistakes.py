"""`vmpooler-tasks dlq redrive` says in one line what is wrong."""

import os
import re

import pytest

from tests.support.commands import CommandLine, dead_letter
from tests.support.redrive_bench import DEAD_LETTERS
from tests.support.world import World

pytestmark = pytest.mark.slow(seconds=10)

NOWHERE = "redis://127.0.0.1:1/0"


@pytest.mark.parametrize(
    ("typed", "complaint"),
    [
        ("", "name ids or filters, or say --all"),
        ("--queue clone", "queues alone are not enough: name ids or filters as well, or say --all"),
        ("--resume nowhere", "there is no run 'nowhere', or not any more"),
        ("--cancel nowhere", "there is no run 'nowhere', or not any more"),
        ("--status nowhere", "there is no run 'nowhere', or not any more"),
        ("--all --rate -1", "Invalid value for '--rate': -1.0 is not in the range x>=0."),
        ("--all --rate soon", "Invalid value for '--rate': 'soon' is not a valid float range."),
        ("--all --limit 0", "Invalid value for '--limit': 0 is not in the range x>=1."),
        ("--all --max-failed 101", "Invalid value for '--max-failed': 101.0 is not in the range 0<=x<=100."),
        ("--quue clone", "No such option '--quue'. (Did you mean one of: '--enqueue', '--queue', '--request'?)"),
    ],
)
def test_a_mistake_is_answered_by_one_line(run: CommandLine, typed: str, complaint: str) -> None:
    result = run("dlq", "redrive", *typed.split())
    assert (result.status, result.out) == (os.EX_USAGE, "")
    program = "vmpooler-tasks dlq redrive"
    assert result.err == f"{program}: {complaint} (see {program} --help)\n"


@pytest.mark.parametrize(
    "typed", ["--all --yes", "--all --dry-run", "--resume x", "--cancel x", "--status x", "--runs"]
)
def test_without_redis_each_form_names_its_address_in_one_line(run: CommandLine, typed: str) -> None:
    result = run("dlq", "redrive", *typed.split(), REDIS_URL=NOWHERE)
    assert (result.status, result.out) == (os.EX_UNAVAILABLE, "")
    assert re.fullmatch(r"vmpooler-tasks: Redis does not reply: redis://127\.0\.0\.1:1/0: [^\n]+\n", result.err)


def test_a_run_that_an_unreachable_broker_stopped_can_be_resumed(run: CommandLine, world: World) -> None:
    dead_letter(world, "tasks", 60, id="a" * 16, task="t", args=[], kwargs={}, error_class="E", error_message="no")
    result = run("dlq", "redrive", "--all", "--yes", CELERY_BROKER_URL="redis://127.0.0.1:1/1")
    assert (result.status, result.out) == (os.EX_UNAVAILABLE, "")
    assert "redis://127.0.0.1:1/1" in result.err
    assert "Traceback" not in result.err
    assert world.client.zcard(DEAD_LETTERS) == 1
    [stood] = run.json("dlq", "redrive", "--runs")
    assert (stood["state"], stood["position"]) == ("running", 0)
    assert run.json("dlq", "redrive", "--resume", stood["run"])["redriven"] == 1


def test_help_has_an_example_and_names_every_way(run: CommandLine) -> None:
    shown = run("dlq", "redrive", "--help").out
    for words in ("Example: vmpooler-tasks dlq redrive", "--resume RUN", "--cancel RUN", "--status RUN", "--runs"):
        assert words in shown
