"""Workers with each of Celery's execution pools, killed in the middle of clones.

The system and what must hold are those of `test_kills`. One worker for clones and destructions runs them in greenlets
or threads, the other one in children that it starts and ends all the time: one for each task, or as many as there is
work for.
"""

import random
from pathlib import Path

import pytest

from tests.chaos.hypervisors import dummy
from tests.chaos.settings import times
from tests.chaos.site import THREADS, Options, Site
from tests.support.servers import TestServer

KILLS = times(6)

pytestmark = [pytest.mark.stage(name="chaos"), pytest.mark.timeout(240 + 10 * KILLS)]

GEVENT: Options = ("-P", "gevent", "-c", "200")
ONE_TASK_PER_CHILD: Options = ("--max-tasks-per-child", "1", "-c", "4")
AUTOSCALE: Options = ("--autoscale", "8,1")


@pytest.mark.parametrize(
    ("threads", "forks"),
    [(GEVENT, ONE_TASK_PER_CHILD), (THREADS, AUTOSCALE)],
    ids=["gevent, and one task per child", "threads, and autoscale"],
)
def test_no_execution_pool_loses_doubles_or_forgets_anything(
    durable: TestServer, tmp_path: Path, chance: random.Random, threads: Options, forks: Options
) -> None:
    with (
        dummy(tmp_path) as hypervisor,
        Site(durable, tmp_path, chance, hypervisor, threads=threads, forks=forks) as site,
    ):
        for _ in range(KILLS):
            site.strike()
        figures = site.settle()
    print(f"{KILLS} kills, and all is well: {figures}", flush=True)
    assert figures["started"] > KILLS, "so few clones prove nothing"
