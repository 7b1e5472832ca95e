"""Redis that is killed, frozen for longer than anybody waits, or refuses or cuts its clients, in the middle of clones.

The system and what must hold are those of `test_kills`. Redis has an append-only file, and returns with every write
that it confirmed. Its other faults (`redis_faults`) come in a random order, each `CHAOS_OUTAGES` times. The time from
the end of a fault until users of all pools have new VMs is printed.
"""

import os
import random

import pytest

from tests.chaos.redis_faults import FAULTS, inject
from tests.chaos.settings import times
from tests.chaos.site import Site

INJECTIONS = int(os.environ.get("CHAOS_OUTAGES", times(1)))
"""How often each fault of `redis_faults` is injected."""

MAX_SECONDS = 2.0
"""The longest that one of them lasts."""

pytestmark = pytest.mark.stage(name="chaos")


@pytest.mark.timeout(240 + 60 * times(1))
def test_redis_that_is_killed_or_frozen_loses_doubles_and_forgets_nothing(site: Site) -> None:
    outages = times(1) * ((site.kill_redis, 0), (site.kill_redis, 2), (site.freeze_redis, 10))
    for outage, seconds in outages:
        site.wait_for_clones()
        outage(seconds)
        print(site.figures(), flush=True)
    site.wait_for_clones()
    print(f"{len(outages)} outages of Redis, and all is well: {site.settle()}", flush=True)


@pytest.mark.timeout(240 + 60 * INJECTIONS)
def test_redis_that_refuses_or_cuts_its_clients_loses_doubles_and_forgets_nothing(
    site: Site, chance: random.Random
) -> None:
    slowest = dict.fromkeys(FAULTS, 0.0)
    for fault in chance.sample(sorted(FAULTS) * INJECTIONS, len(FAULTS) * INJECTIONS):
        site.wait_for_clones()
        slowest[fault] = max(slowest[fault], inject(site, fault, chance.uniform(0, MAX_SECONDS)))
    figures = site.settle()
    shown = {fault: f"{seconds:.1f} s" for fault, seconds in slowest.items()}
    print(f"{INJECTIONS} of each fault, new VMs for users of all pools after at most {shown}: {figures}", flush=True)
