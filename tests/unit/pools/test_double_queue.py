"""Where a VM belongs that is in more than one queue."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmpooler_tasks.model.guards.double_queue import QueuePlace, VmFacts, winning_place
from vmpooler_tasks.model.names import INSPECTED_QUEUES, Queue

NOW = 1_705_314_600.0
HOUR_AGO, TWO_DAYS_AGO = b"2024-01-15 09:30:00 +0000", b"2024-01-13 10:30:00 +0000"
PENDING, READY, RUNNING, COMPLETED, DISCOVERED = (
    *(Queue.PENDING, Queue.READY, Queue.RUNNING),
    *(Queue.COMPLETED, Queue.DISCOVERED),
)


def facts(**known: Any) -> VmFacts:
    nothing: dict[str, Any] = {
        "checkouts": {},
        "checkout": None,
        "lifetime": None,
        "destroy": None,
        "ready": None,
        "pool": b"a",
    }
    return VmFacts(**{**nothing, "lifetime_hours": 24, **known})


def winner(*queues: Queue, **known: Any) -> Queue:
    """The queue of one pool that wins, whatever the order."""
    places = [QueuePlace(queue, "a") for queue in queues]
    first = winning_place(places, facts(**known), NOW)
    assert winning_place(places[::-1], facts(**known), NOW) == first
    return first.queue


@pytest.mark.parametrize("known", [{}, {"checkout": HOUR_AGO}, {"checkout": TWO_DAYS_AGO}, {"destroy": HOUR_AGO}])
@pytest.mark.parametrize("other", [PENDING, READY])
def test_running_wins_over_ready_and_pending_in_any_case(other: Queue, known: dict[str, bytes]) -> None:
    assert winner(RUNNING, other, **known) is RUNNING


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        ({"checkout": HOUR_AGO}, RUNNING),
        ({"checkouts": {"a": HOUR_AGO}}, RUNNING),
        ({"checkouts": {"a": HOUR_AGO}, "checkout": TWO_DAYS_AGO}, RUNNING),
        ({"checkout": TWO_DAYS_AGO, "lifetime": b"100"}, RUNNING),
        ({"checkout": TWO_DAYS_AGO, "lifetime": b"0"}, RUNNING),
        ({"checkout": TWO_DAYS_AGO, "lifetime_hours": 0}, RUNNING),
        ({"checkout": HOUR_AGO, "lifetime": b"no number"}, RUNNING),
        ({}, COMPLETED),
        ({"checkout": b"no time"}, COMPLETED),
        ({"checkout": TWO_DAYS_AGO}, COMPLETED),
        ({"checkout": HOUR_AGO, "lifetime": b"0.5"}, COMPLETED),
        ({"checkout": HOUR_AGO, "destroy": HOUR_AGO}, COMPLETED),
        ({"checkout": HOUR_AGO, "destroy": b"no time"}, COMPLETED),
    ],
)
def test_running_wins_over_completed_while_a_user_has_the_vm(known: dict[str, Any], expected: Queue) -> None:
    assert winner(RUNNING, COMPLETED, **known) is expected
    assert winner(RUNNING, COMPLETED, READY, **known) is expected
    assert winner(RUNNING, COMPLETED, PENDING, READY, **known) is expected


def test_completed_wins_over_ready_and_pending() -> None:
    assert winner(COMPLETED, READY) is winner(COMPLETED, PENDING) is winner(COMPLETED, READY, PENDING) is COMPLETED


def test_ready_wins_over_pending_if_it_was_ready() -> None:
    assert winner(READY, PENDING, ready=HOUR_AGO) is READY
    assert winner(READY, PENDING) is PENDING


@pytest.mark.parametrize("other", [PENDING, READY, RUNNING, COMPLETED])
def test_discovered_loses(other: Queue) -> None:
    assert winner(DISCOVERED, other) is other


def test_the_vms_own_pool_wins() -> None:
    places = [QueuePlace(RUNNING, "a"), QueuePlace(RUNNING, "b")]
    assert winning_place(places, facts(pool=b"b"), NOW).pool == "b"
    assert winning_place(places, facts(pool=None, checkouts={"b": HOUR_AGO, "a": None}), NOW).pool == "b"
    assert winning_place(places, facts(pool=b"c"), NOW).pool == "a"
    assert winning_place([QueuePlace(READY, "b"), QueuePlace(RUNNING, "a")], facts(pool=b"b"), NOW) == QueuePlace(
        RUNNING, "a"
    )


PLACES = st.builds(QueuePlace, st.sampled_from(INSPECTED_QUEUES), st.sampled_from("abc"))
STAMPS = st.sampled_from([None, b"", b"x", HOUR_AGO, TWO_DAYS_AGO])


@given(
    st.sets(PLACES, min_size=1, max_size=15),
    st.dictionaries(st.sampled_from("abc"), STAMPS),
    st.fixed_dictionaries(dict.fromkeys(("checkout", "lifetime", "destroy", "ready"), STAMPS)),
    st.sampled_from([None, b"a", b"\xff"]),
)
def test_one_of_the_places_wins_in_any_order(
    places: set[QueuePlace], checkouts: dict[str, bytes | None], stamps: dict[str, bytes | None], home: bytes | None
) -> None:
    known = facts(checkouts=checkouts, pool=home, **stamps)
    chosen = winning_place(sorted(places), known, NOW)
    assert chosen in places
    assert winning_place(sorted(places, reverse=True), known, NOW) == chosen
