"""Redis that is killed, or frozen for longer than anybody waits for a reply, in the middle of clones.

The system and what must hold are those of `test_kills`. Redis has an append-only file, and returns with every write
that it confirmed.
"""

import pytest

from tests.chaos.settings import times
from tests.chaos.site import Site

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
