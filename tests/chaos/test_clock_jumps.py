"""A beat whose clock jumps by hours while it runs, forwards and backwards.

What must hold
    After each jump the next tick comes as usual, and never more ticks than intervals have passed by the clock of Redis.
"""

from pathlib import Path

import pytest

from tests.chaos.settings import times
from tests.support.processes import ROOT, Installation, until
from vmpooler_tasks.store import Database

pytestmark = [pytest.mark.stage(name="chaos"), pytest.mark.timeout(300)]

HOUR = 3600
JUMPS = times(1) * (HOUR, 25 * HOUR, -HOUR, 0, -1000 * HOUR, 0)
"""How far the clock is from that of Redis, in seconds."""

INTERVAL = 2
SENT = "[*] [beat] Sent vmpooler_tasks.purge_stale_entries"


def test_a_clock_that_jumps_neither_stops_nor_repeats_ticks(
    installation: Installation, database: Database, tmp_path: Path
) -> None:
    clock = tmp_path / "clock"
    clock.write_text("0", encoding="utf-8")
    installation.configure(purge_interval=INTERVAL, health_check_enabled=False)
    folder = ROOT / "tests" / "support" / "jumping_clock"
    installation.environment |= {"JUMPING_CLOCK": str(clock), "PYTHONPATH": str(folder)}
    started = database.clock()
    beat = installation.beat().says(SENT)
    for jump in JUMPS:
        before = beat.log.count(SENT)
        database.call("DEL", "vmpooler.maintenance")  # a beat adds nothing to a queue that no worker empties
        move(clock, jump)
        until(lambda before=before: beat.log.count(SENT) >= before + 2, f"two ticks after a jump of {jump} s")  # type: ignore[misc]
    assert beat.log.count(SENT) <= 1 + (database.clock() - started) / INTERVAL
    assert "Traceback" not in beat.log


def move(clock: Path, seconds: int) -> None:
    """Set the clock, in one step."""
    new = clock.with_suffix(".new")
    new.write_text(str(seconds), encoding="utf-8")
    new.rename(clock)
