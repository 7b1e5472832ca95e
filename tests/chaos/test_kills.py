"""Workers, and children of workers, that are killed in the middle of clones.

What is set up
    Two pools: of the dummy provider, whose clones take 0.05 to 0.4 seconds and fail at times, for a while or for good;
    of vSphere on govmomi's simulator; of EC2 on moto, whose instances are pending for a moment. The VMs are outside
    Redis. A beat; a worker for checks; and for clones and destructions a worker with threads and one with forked
    children. Leases of one second. All the while users take VMs that are ready and return them a moment later, order
    disks, request VMs, and change the sizes of the pools, so that there are always clones and destructions under way.

What is done
    SIGKILL, mostly while a clone is under way: to a worker with all its processes, as a power failure does it; to one
    child of the forking worker, as the kernel does it when memory is short; at times to the worker for the checks. What
    was killed is started again at once.

What must hold, all the time
    No VM is in two queues, of one pool or of two. No name has two machines. No VM is destroyed while a user has it.

What must hold when the killing has ended, and other workers have taken its work over (`Site.settle`, `Books`)
    - every VM that was ever seen is ready or running; or it is gone from the hypervisor, and has either a dead letter
      or was destroyed. None was handed out twice;
    - the hypervisor has the VMs of ready and running, and no other, and nothing else that was made for a VM;
    - every pool has its size;
    - no clone is in flight, and VMPooler's counters of them are 0;
    - no VM has two dead letters in one queue;
    - every request is ready, with as many VMs as were requested, or has failed;
    - every disk that was ordered was made once, or is a dead letter;
    - no message is left that nobody acknowledged.
"""

import os
import random
from pathlib import Path

import pytest

from tests.chaos.hypervisors import HYPERVISORS
from tests.chaos.settings import times
from tests.chaos.site import Site
from tests.support.servers import TestServer

pytestmark = pytest.mark.stage(name="chaos")

KILLS = int(os.environ.get("CHAOS_KILLS", times(25)))

PROGRESS = 20
"""Kills between two lines."""


@pytest.mark.timeout(600 + 20 * KILLS)
@pytest.mark.parametrize("name", sorted(HYPERVISORS))
def test_killed_workers_lose_double_and_forget_nothing(
    name: str, durable: TestServer, tmp_path: Path, chance: random.Random
) -> None:
    with HYPERVISORS[name](tmp_path) as hypervisor, Site(durable, tmp_path, chance, hypervisor) as site:
        for kill in range(1, KILLS + 1):
            site.strike()
            if kill % PROGRESS == 0:
                print(f"{kill} kills: {site.figures()}", flush=True)
        figures = site.settle()
    print(f"{name}: {KILLS} kills, and all is well: {figures}", flush=True)
    assert sum(figures["blows"].values()) == KILLS
    assert figures["started"] > KILLS, "so few clones prove nothing"
    assert figures["handed out again"], "nothing was under way when the workers were killed"
