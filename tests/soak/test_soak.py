"""Everything that Procfile starts, at a steady load, for ten minutes or for hours: what grows, and what is forgotten.

What is set up
    Every process of `Procfile` with its literal command line, Flower included, on a Valkey with appendonly. Two pools
    of the dummy provider that users empty, and one for requests. Clones, boots and destructions take time and fail at
    times. Purge every 10 seconds, health checks every 5 seconds, inspections every second.

What is done
    Three checkouts a second; each fifth VM gets a disk, each fifth a snapshot; all are returned after 1 to 6 seconds.
    Each 4 seconds a request for two VMs. Each 5 seconds a task that fails, and a VM of which only its metadata is left.
    Each 30 seconds another size of a pool. Each second the dashboard's page, the API and the metrics are read, and
    Flower's. Each 8 seconds an operator's command: statistics of dead letters, a redrive, a deletion, a dry run, ….

What must hold
    - memory, connections, file handles and threads of no process grow in the second half by more than their bound
      (`processes.BOUNDS`), by a slope that single samples cannot change (`trends`);
    - no family of keys grows but those of `keyspace.GROWING`, and each key belongs to a documented family;
    - at the end, metadata, statistics, requests and dead letters are those that were made: no name more, none less;
    - each page and each command succeeded.
"""

import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.soak import books, report
from tests.soak.keyspace import BOUND_FLOOR, BOUND_SHARE, Fate, count_elements, fate_of
from tests.soak.operators import Operators
from tests.soak.processes import BOUNDS, measure
from tests.soak.report import Row
from tests.soak.settings import SECONDS, SEED
from tests.soak.system import System
from tests.soak.trends import Sample, trend
from tests.soak.users import Users
from tests.support import servers

pytestmark = [pytest.mark.stage(name="soak"), pytest.mark.timeout(SECONDS + 1200)]

SAMPLES = 200
"""Samples of a soak of any length, at most one a second."""

KEPT_MIB_OF_A_VM = 4 / 1024
"""Metadata, statistics, dead letters, and what the dummy keeps of it."""

Series = dict[str, list[Sample]]


@pytest.fixture
def system(tmp_path: Path) -> Iterator[System]:
    with (
        servers.running("valkey", tmp_path / "server", ("--appendonly", "yes")) as server,
        System(server, tmp_path) as own,
    ):
        yield own


def test_nothing_grows_and_nothing_is_forgotten(system: System) -> None:
    print(f"\nSOAK_HOURS={SECONDS / 3600:.3f} SOAK_SEED={SEED}", flush=True)
    users, operators = Users(system, SEED), Operators(system)
    users.start()
    operators.start()
    resources, families = _sampled(system, users, operators)
    operators.stop()
    users.stop()
    system.come_to_rest()
    rows = [*_resource_rows(resources, users), *_family_rows(families)]
    accounts = books.balance(system, users, operators)
    print(report.table(rows, accounts), f"\n\n{dict(users.made)}\n{dict(operators.ended)}", flush=True)
    assert [row.what for row in rows if not row.is_flat] == [], "these grow"
    assert [family for family in families if family.startswith("unknown: ")] == [], "no document names these keys"
    assert [one for one in accounts if not one.is_balanced] == []
    assert set(operators.statuses) == {200}
    assert {ended.rpartition(": ")[2] for ended in operators.ended} <= {"0", "1"}, "1: health is degraded"
    assert users.made["checkouts"] > SECONDS / 2, "so few VMs prove nothing"


def _sampled(system: System, users: Users, operators: Operators) -> tuple[Series, Series]:
    """Return the samples of all processes' resources, and of all families of keys."""
    resources: Series = defaultdict(list)
    counts: list[tuple[float, Counter[str]]] = []
    started, pids, pause = time.monotonic(), system.pids, max(1.0, SECONDS / SAMPLES)
    while (now := time.monotonic() - started) < SECONDS:
        assert users.error is None, users.error
        assert operators.error is None, operators.error
        for name, pid in pids.items():
            usage = measure(pid)
            assert usage is not None, f"{name} has ended"
            for resource in BOUNDS:
                resources[f"{resource} of {name}"].append(Sample(now, getattr(usage, resource)))
        counts.append((now, count_elements(system.db)))
        time.sleep(max(0.0, pause - (time.monotonic() - started - now)))
    names = {family for _, elements in counts for family in elements}
    families = {family: [Sample(at, elements[family]) for at, elements in counts] for family in names}
    return resources, families


def _resource_rows(resources: Series, users: Users) -> Iterator[Row]:
    """Yield the trends of the processes. The server's memory may grow by what it has to keep of the VMs."""
    for what, samples in resources.items():
        bound, found = BOUNDS[what.partition(" ")[0]], trend(samples)
        records = users.vms * KEPT_MIB_OF_A_VM / 2 if what == "memory of server" else 0
        yield Row(what, found, max(bound.floor, bound.share * found.middle) + records)


def _family_rows(families: Series) -> Iterator[Row]:
    for family, samples in sorted(families.items()):
        if fate_of(family) is Fate.BOUNDED:
            found = trend(samples)
            yield Row(f"elements of {family}", found, max(BOUND_FLOOR, BOUND_SHARE * found.middle))
