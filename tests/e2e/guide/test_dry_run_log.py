"""The command of the operator guide that follows the log, and does not end by itself."""

import re
from collections.abc import Callable

import pytest

from tests.support import guide
from tests.support.guide_site import CHANGED_LIMITS, FOLLOWED, HOUR, Site
from vmpooler_tasks.model.names import Queue


def vmpoolers_own(site: Site) -> dict[bytes, bytes]:
    """The database without what the worker keeps for itself."""
    return {key: value for key, value in site.world.snapshot().items() if key.startswith(b"vmpooler__")}


@pytest.mark.slow
def test_following_the_log_shows_what_a_dry_run_with_new_limits_would_purge(open_site: Callable[..., Site]) -> None:
    """Scenario 4, with a real worker that writes vmpooler.log."""
    _, block = next(found for found in guide.configurations(guide.TEXT) if found[0] == CHANGED_LIMITS)
    site = open_site(**guide.options(block))
    site.world.vm(Queue.PENDING, "pooler-sad-dog", 5 * HOUR)
    site.world.vm(Queue.PENDING, "pooler-lively-heron", 1.5 * HOUR)
    site.world.vm(Queue.PENDING, "pooler-happy-elephant", 0.5 * HOUR)
    site.installation.worker(name="vmpooler")
    before = vmpoolers_own(site)

    with site.shell.watch(FOLLOWED.text) as screen:
        site.installation.run("vmpooler-tasks", "purge", "--enqueue")
        seen = [line[line.index("[*]") :] for line in screen.until("Completed purge cycle")]

    assert sorted(re.sub(r"age: \d+s", "age: …s", line) for line in seen[:-1]) == [
        "[*] [purge][dry-run] Would purge stale pending VM 'pooler-lively-heron' (age: …s, max: 3600s)",
        "[*] [purge][dry-run] Would purge stale pending VM 'pooler-sad-dog' (age: …s, max: 3600s)",
    ]
    assert re.fullmatch(
        r"\[\*] \[purge]\[dry-run] Completed purge cycle in \d+\.\d\ds: 2 entries found, nothing changed", seen[-1]
    )
    assert vmpoolers_own(site) == before
    # The worker has published what it runs with.
    assert site.shell.type("redis-cli HGET vmpooler__config dlq_enabled") == "true\n"
    assert site.shell.type("redis-cli HGET vmpooler__config purge_dry_run") == "true\n"
