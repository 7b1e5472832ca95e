"""A VM that moves between a purge's reading and its acting: driven through every moment and thousands of schedules.

Whatever others do and whenever they do it: a VM is where they put it, without a dead letter; what nobody touched is
purged; nothing is lost or doubled; the counters say what happened.
"""

import json
import logging
from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, seed
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.support.cycles import counters, cycle
from tests.support.meddling import ACTS, DATA_TTL, HOUR, MeddledDatabase, Party, filled, meddled_cycle
from tests.support.servers import TestServer
from tests.support.world import POOL
from vmpooler_tasks.jobs.purge.report import PurgeReport
from vmpooler_tasks.model.names import Queue
from vmpooler_tasks.model.purge import PurgeTarget
from vmpooler_tasks.store.vmpooler import queues

SCHEDULES = 760
"""On each kind of server."""

VMS = 13


@pytest.fixture
def meddled(
    server: TestServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> Iterator[MeddledDatabase]:
    """Pages of two VMs, so that even a small queue is read in several."""
    caplog.set_level(logging.CRITICAL, "vmpooler_tasks")  # or thousands of cycles drown what failed
    monkeypatch.setattr(queues, "PAGE", 2)
    monkeypatch.setattr(queues, "SCAN_COUNT", 4)
    db = MeddledDatabase(server.url)
    meddled_cycle(db, [])  # the scripts are on the server from here on
    yield db
    db.close()


def check(party: Party, report: PurgeReport) -> None:
    """That nothing was lost or doubled, and everything is where it belongs."""
    client, purged_orphans = party.client, 0
    dead_letters = Counter(
        json.loads(member)["vm"].encode() for member in client.zrange("vmpooler__dlq__pending", 0, -1)
    )
    for vm, (found, ttl) in party.locate_and_record_all(list(party.origin)).items():
        origin = party.origin[vm]
        purged_orphans += 0 < ttl <= HOUR
        if vm in party.placed:
            place = party.placed[vm]
            assert found == ({place} if place else set()), f"{vm!r} was put into {place} and is in {found}"
            if place:
                assert ttl in {-1, -2}, f"{vm!r} is in {place} and its metadata expires"
            else:
                assert ttl > HOUR or ttl == -1, f"the metadata of {vm!r} expires too soon"
        elif b"fresh" in vm:
            assert found == {origin}
            assert ttl == -1
        else:
            check_purged(vm, party, found, ttl)
        assert dead_letters[vm] == (vm in party.purged and origin is Queue.PENDING), (
            f"{vm!r} has {dead_letters[vm]} dead letters"
        )
    check_counters(party, report, purged_orphans)


def check_purged(vm: bytes, party: Party, found: set[Queue], ttl: int) -> None:
    match party.origin[vm]:
        case Queue.PENDING:
            assert not found
            assert HOUR < ttl <= DATA_TTL
        case Queue.READY:
            assert found == {Queue.COMPLETED}
            assert ttl == -1
        case _:
            assert not found
            # What another purge took from completed is an orphan to that purge, or to the next.
            assert 0 < ttl <= HOUR or (vm in party.by_others and ttl == -1), f"{vm!r} was forgotten"


def check_counters(party: Party, report: PurgeReport, purged_orphans: int) -> None:
    counted = counters(party.world)
    for queue in (Queue.PENDING, Queue.READY, Queue.COMPLETED):
        taken = sum(party.origin[vm] is queue for vm in party.purged)
        assert counted.get(f"purged:{queue}:{POOL}", 0) == taken
        assert report.purged[PurgeTarget(queue.value)] == taken - sum(
            party.origin[vm] is queue for vm in party.by_others
        )
    assert counted.get("dead_letters:pending", 0) == counted.get(f"purged:pending:{POOL}", 0)
    assert counted.get("purged:orphaned", 0) == purged_orphans == report.purged[PurgeTarget.ORPHANED]
    assert report.errors == []


def test_undisturbed_everything_stale_is_purged(meddled: MeddledDatabase) -> None:
    party, report = meddled_cycle(meddled, [])
    check(party, report)
    assert report.purged == {"pending": 4, "ready": 2, "completed": 2, "orphaned": 4}
    assert meddled.moments > 15, "the cycle has to be read in pages for others to come between"
    assert len(party.origin) == VMS


@pytest.mark.slow
def test_each_act_at_each_moment_on_each_vm_it_concerns(meddled: MeddledDatabase) -> None:
    meddled_cycle(meddled, [])
    moments, acted = meddled.moments, Counter[str]()
    for moment in range(moments):
        for act in ACTS:
            # All VMs that it can happen to at once: what happens to one is nothing to another.
            schedule = [(moment, act, vm) for vm in meddled.origin if vm[:1].decode() in ACTS[act]]
            party, report = meddled_cycle(meddled, schedule)
            check(party, report)
            acted[act] += len(party.placed) + len(party.by_others)
    assert set(acted) == set(ACTS)
    assert all(acted[act] > 0 for act in ACTS), f"an act that never happens proves nothing: {acted}"


@pytest.mark.slow
def test_thousands_of_schedules_lose_and_double_nothing(meddled: MeddledDatabase) -> None:
    meddled_cycle(meddled, [])
    ran = Counter[str]()
    possible = [(act, vm) for act, kinds in ACTS.items() for vm in meddled.origin if vm[:1].decode() in kinds]
    moments = st.integers(0, meddled.moments - 1)
    happenings = st.builds(lambda moment, act: (moment, *act), moments, st.sampled_from(possible))

    @seed(20240115)
    @hypothesis_settings(max_examples=SCHEDULES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(happenings, min_size=2, max_size=10))
    def run(schedule: list[tuple[int, str, bytes]]) -> None:
        party, report = meddled_cycle(meddled, schedule)
        check(party, report)
        ran["schedules"] += 1
        ran["acts that did something"] += len(party.placed) + len(party.by_others)

    run()
    assert ran["schedules"] >= SCHEDULES
    assert ran["acts that did something"] > SCHEDULES


def test_a_vm_that_is_moved_after_it_was_read_gets_no_dead_letter(meddled: MeddledDatabase) -> None:
    """The single case: read as pending, made ready, then the batch arrives."""
    world, origin = filled(meddled)
    vm = next(vm for vm, queue in origin.items() if queue is Queue.PENDING and vm.startswith(b"p1"))
    moved: list[object] = []
    send = meddled.send

    def just_before(script: str, *rest: object) -> object:
        if script == "purge/purge_pending" and not moved:
            moved.append(Party(world, origin).becomes_ready(vm))
        return send(script, *rest)  # type: ignore[arg-type]

    meddled.send = just_before  # type: ignore[method-assign, assignment]
    report, party = cycle(world), Party(world, origin)
    assert moved == [Queue.READY]
    assert party.locate_and_record(vm) == {Queue.READY}
    assert vm.decode() not in str(world.client.zrange("vmpooler__dlq__pending", 0, -1))
    assert report.purged[PurgeTarget.PENDING] == 3
