"""Workers, children of workers, and Redis, killed again and again in the middle of clones. See the package's text."""

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.site import Site
from tests.support import servers

pytestmark = pytest.mark.stage(name="chaos")

KILLS = int(os.environ.get("CHAOS_KILLS", "25"))
SEED = int(os.environ.get("CHAOS_SEED", "20240115"))

AOF = ("--appendonly", "yes", "--appendfsync", "always")
"""Every confirmed write is on the disk. With a delay of a second, a killed server may lose writes that it confirmed."""

PROGRESS = 20
"""Kills between two lines."""

OUTAGES = max(1, KILLS // 50)
"""Times that Redis is killed twice and frozen once."""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    print(f"\nCHAOS_SEED={SEED} CHAOS_KILLS={KILLS}", flush=True)
    with (
        servers.running("valkey", tmp_path / "server", AOF) as server,
        Site(server, tmp_path, random.Random(SEED)) as own,
    ):
        yield own


@pytest.mark.timeout(240 + 10 * KILLS)
def test_killed_workers_lose_double_and_forget_nothing(site: Site) -> None:
    for kill in range(1, KILLS + 1):
        site.strike()
        if kill % PROGRESS == 0:
            print(f"{kill} kills: {site.figures()}", flush=True)
    figures = site.settle()
    print(f"{KILLS} kills, and all is well: {figures}", flush=True)
    assert sum(figures["blows"].values()) == KILLS
    assert figures["started"] > KILLS, "so few clones prove nothing"
    assert figures["handed out again"], "nothing was under way when the workers were killed"


@pytest.mark.timeout(240 + 60 * OUTAGES)
def test_redis_that_is_killed_or_frozen_loses_doubles_and_forgets_nothing(site: Site) -> None:
    """What was written is there when it comes back, so that nothing else may be lost either."""
    blows = ((site.kill_redis, 0), (site.kill_redis, 2), (site.freeze_redis, 10))
    for blow, seconds in OUTAGES * blows:
        site.wait_for_clones()
        blow(seconds)
        print(site.figures(), flush=True)
    site.wait_for_clones()
    print(f"{OUTAGES * len(blows)} outages of Redis, and all is well: {site.settle()}", flush=True)
