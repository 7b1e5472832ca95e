"""What becomes of the VMs of a pool that left the configuration, in words."""

import pytest

from vmpooler_tasks.model.guards.managed import KeptPool, RemovedPool
from vmpooler_tasks.model.guards.removed import DrainRules, RemovedPoolState
from vmpooler_tasks.model.names import Queue

RULES = DrainRules(is_managed=True, providers=("one",), grace_seconds=3600)
OFF = DrainRules(is_managed=False, providers=("one",), grace_seconds=3600)
KEPT = KeptPool(since=1000.0, who="olga@host", why="a user needs them")


def state(removed: RemovedPool | None, provider: str = "one") -> RemovedPoolState:
    return RemovedPoolState(name="old", vms={Queue.READY: 2, Queue.RUNNING: 3}, removed=removed, provider=provider)


@pytest.mark.parametrize(
    ("found", "rules", "fate", "start"),
    [
        (state(RemovedPool(since=400.0)), RULES, "drained from 1970-01-01T01:06:40Z on", 4000.0),
        (state(RemovedPool(since=400.0)), OFF, "they are not drained: manage_pools is off", None),
        (state(None), RULES, "they will be drained", None),
        (state(None, ""), RULES, "they are not drained: its provider is not known", None),
        (
            state(RemovedPool(since=400.0), "two"),
            RULES,
            "they are not drained: its provider 'two' is not configured",
            None,
        ),
        (
            state(RemovedPool(since=400.0, kept=KEPT)),
            RULES,
            "kept by olga@host since 1970-01-01T00:16:40Z: a user needs them",
            None,
        ),
    ],
)
def test_the_fate_of_its_vms(found: RemovedPoolState, rules: DrainRules, fate: str, start: float | None) -> None:
    assert (found.fate(rules), found.drained_from(rules)) == (fate, start)


def test_its_vms_are_counted_by_queue() -> None:
    found = state(None)
    assert (found.count, found.counts_text) == (5, "2 ready, 3 running")
