"""The life of VMs under everything that can happen to the workers that manage them.

A state machine of Hypothesis drives the jobs on a real server. Clones are started, delivered late, twice and to two
workers. Workers stop for a while or for ever, before or after the provider did its work. Providers fail in every way.
Users take VMs and give them back, and order everything that VMPooler's API takes, by its commands. Pools leave the
configuration, return and are renamed. Leases expire. Dead letters are redriven. After each step a check finds whatever
is lost, doubled or forgotten; at the end everything must come to rest.

LIFECYCLE_EXAMPLES=2000 searches further, along other ways each time. LIFECYCLE_SHRINK=1 takes the time to shorten what
is found.
"""

import logging
import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, Phase
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.stateful.holders import Turn
from tests.stateful.known import LEASE_SECONDS, POOLS, Message
from tests.stateful.site import Names, Site
from tests.stateful.users import DISCOVERY_SECONDS, ORDERS
from tests.stateful.vm_orders import COURSES as ORDER_COURSES
from tests.stateful.vm_orders import KINDS
from tests.support import servers
from vmpooler_tasks.errors import (
    PermanentProviderError,
    ProviderTimeoutError,
    ThrottledProviderError,
    TransientProviderError,
)
from vmpooler_tasks.model.names import Queue
from vmpooler_tasks.model.pools import vm_names
from vmpooler_tasks.providers import Readiness
from vmpooler_tasks.store import Database

EXAMPLES, STEPS = 200, 40

TRANSIENT, PERMANENT = TransientProviderError("the line was cut"), PermanentProviderError("permission denied")
COURSES: dict[str, tuple[Turn, ...]] = {
    "well": (),
    "transient": (Turn(after=False, error=TRANSIENT),),
    "reply lost": (Turn(after=True, error=TRANSIENT),),
    "throttled": (Turn(after=False, error=ThrottledProviderError("slowly", 1.0)),),
    "transient for long": 3 * (Turn(after=False, error=TRANSIENT),),
    "done, reply too late": 3 * (Turn(after=True, error=ProviderTimeoutError("no reply")),),
    "permanent": (Turn(after=False, error=PERMANENT),),
    "permanent, yet done": (Turn(after=True, error=PERMANENT),),
    "a mistake": (Turn(after=False, error=KeyError("folder")),),
    "no address": (Turn(after=True, addressless=True),),
}
"""The course of the provider's calls for a VM, one by one. Later calls succeed."""

STOPS = {
    f"{what} {when}": (after, alive)
    for what, alive in (("killed", False), ("held up", True))
    for when, after in (("before", False), ("behind", True))
}
"""The worker stops before or after the provider has done it: for ever, or for a while."""

ENDS = {"well": None, "transient": TRANSIENT, "permanent": PERMANENT}
"""How it may end for a worker that was held up."""

courses = st.one_of(st.just("well"), st.sampled_from(sorted(COURSES)), st.sampled_from(sorted(STOPS)))
pools = st.sampled_from(sorted(POOLS))
places = st.integers(0, 7)
"""Which of several, the newest first; taken modulo their number."""

deliveries = st.lists(st.tuples(places, courses), min_size=1, max_size=6)

pauses = st.sampled_from([0, 1, DISCOVERY_SECONDS + 1, LEASE_SECONDS + 1, LEASE_SECONDS + 1, 5 * LEASE_SECONDS + 1])
rarely = st.sampled_from([False, False, False, True])


class Lifecycle(RuleBasedStateMachine):
    def __init__(self, db: Database, names: Names) -> None:
        super().__init__()
        names.count = 0
        self.site = Site(db)

    @initialize()
    def first_looks(self) -> None:
        self.site.tick()

    # --- ticks, and time ----------------------------------------------------------------------------------------------

    @rule(seconds=pauses, failing=rarely, deliveries=deliveries)
    def tick(self, seconds: int, deliveries: list[tuple[int, str]], *, failing: bool) -> None:
        self.site.now += seconds
        self.site.tick(readable=not failing)
        self.deliver(deliveries)

    @rule(seconds=pauses, what=st.sampled_from(["reap", "requests", *POOLS]))
    def one_tick(self, seconds: int, what: str) -> None:
        self.site.now += seconds
        match what:
            case "reap":
                self.site.reap()
            case "requests":
                self.site.fill_requests()
            case _:
                self.site.inspect(what)

    @rule()
    def a_long_time_passes(self) -> None:
        self.site.now += 16 * 60

    # --- workers ------------------------------------------------------------------------------------------------------

    def perform(self, message: Message, course: str) -> None:
        if course in STOPS:
            after, alive = STOPS[course]
            self.site.hold(message, after=after, alive=alive)
        else:
            self.site.perform(message, COURSES[course])

    def deliver(self, deliveries: list[tuple[int, str]]) -> None:
        for place, course in deliveries[: len(self.site.waiting)]:
            self.perform(self.site.waiting.pop(-1 - place % len(self.site.waiting)), course)

    @precondition(lambda self: self.site.waiting)
    @rule(deliveries=deliveries)
    def deliver_some(self, deliveries: list[tuple[int, str]]) -> None:
        self.deliver(deliveries)

    @precondition(lambda self: self.site.waiting or self.site.checks)
    @rule()
    def deliver_all(self) -> None:
        self.site.deliver_all()

    @precondition(lambda self: self.site.checks)
    @rule()
    def deliver_checks(self) -> None:
        self.site.deliver_checks()

    @precondition(lambda self: self.site.delivered)
    @rule(place=places, course=courses, same=st.booleans())
    def deliver_again(self, place: int, course: str, *, same: bool) -> None:
        """The same message, which was not acknowledged; or the same work, ordered once more."""
        message = self.site.delivered[-1 - place % len(self.site.delivered)]
        self.perform(message if same else self.site.message(message.work), course)

    @precondition(lambda self: self.site.checked)
    @rule(places=st.lists(places, min_size=1, max_size=4))
    def check_again(self, places: list[int]) -> None:
        """A check that was due some time ago."""
        for place in places:
            self.site.check_vm(self.site.checked[-1 - place % len(self.site.checked)])

    @precondition(lambda self: self.site.waiting)
    @rule(place=places)
    def lose_a_message(self, place: int) -> None:
        self.site.waiting.pop(place % len(self.site.waiting))

    @precondition(lambda self: self.site.held)
    @rule(place=places, end=st.sampled_from(sorted(ENDS)))
    def go_on(self, place: int, end: str) -> None:
        self.site.release(self.site.held.pop(place % len(self.site.held)), ENDS[end])

    @precondition(lambda self: self.site.held)
    @rule(seconds=st.sampled_from([1, LEASE_SECONDS - 1]))
    def renew(self, seconds: int) -> None:
        self.site.now += seconds
        for holder in self.site.held:
            self.site.renew(holder)

    @precondition(lambda self: self.site.held)
    @rule(place=places, after=st.booleans(), end=st.sampled_from(["later", *ENDS]))
    def a_slow_one_is_replaced(self, place: int, end: str, *, after: bool) -> None:
        """By one that is slow as well: both are at work, and one of them does not know that it has lost."""
        slow = self.site.held[place % len(self.site.held)]
        self.site.now += LEASE_SECONDS + 1
        self.site.tick()
        for message in [one for one in self.site.waiting if one.work.vm == slow.work.vm]:
            self.site.waiting.remove(message)
            self.site.hold(message, after=after, alive=True)
        if end in ENDS:
            self.site.held.remove(slow)
            self.site.release(slow, ENDS[end])

    @precondition(lambda self: self.site.held)
    @rule(place=places)
    def die(self, place: int) -> None:
        self.site.dead.append(self.site.held.pop(place % len(self.site.held)))

    # --- users, operators, the provider by itself ---------------------------------------------------------------------

    @precondition(lambda self: self.site.has(Queue.READY))
    @rule(slowly=rarely, back=st.booleans())
    def check_out(self, *, slowly: bool, back: bool) -> None:
        """From every pool; perhaps to give it back at once."""
        for pool in POOLS:
            self.site.check_out(pool, slowly=slowly)
            if back:
                self.site.hand_back(pool)

    @precondition(lambda self: self.site.has(Queue.RUNNING))
    @rule(pool=pools, slowly=rarely)
    def hand_back(self, pool: str, *, slowly: bool) -> None:
        self.site.hand_back(pool, slowly=slowly)

    @precondition(lambda self: self.site.open_requests() < 2)
    @rule(pool=pools, count=st.integers(1, 3))
    def request(self, pool: str, count: int) -> None:
        self.site.request(pool, count)

    @precondition(lambda self: self.site.has(Queue.READY, Queue.RUNNING))
    @rule(pool=pools, kinds=st.lists(st.sampled_from(KINDS), min_size=1, max_size=3))
    def order_for_a_vm(self, pool: str, kinds: list[str]) -> None:
        for kind in kinds:
            self.site.order_for_vm(pool, kind)

    @precondition(lambda self: self.site.has(Queue.READY, Queue.RUNNING))
    @rule(pool=pools, course=st.sampled_from(ORDER_COURSES), twice=st.booleans())
    def a_vm_is_reverted(self, pool: str, course: str, *, twice: bool) -> None:
        """To a snapshot that was made at once. The message of the revert may come again, soon or later."""
        for kind, how in (("snapshot", "well"), ("revert", course)):
            self.site.order_for_vm(pool, kind)
            self.site.take_orders()
            for message in self.site.orders[-1:]:
                self.site.carry_out(message, how)
                if kind == "snapshot" or not twice:
                    self.site.orders.remove(message)

    @precondition(lambda self: self.site.orders or self.site.orders_left())
    @rule(course=st.sampled_from(ORDER_COURSES), twice=st.booleans(), seconds=pauses)
    def carry_out_an_order(self, course: str, seconds: int, *, twice: bool) -> None:
        """Perhaps a second time, from the same message."""
        self.site.now += seconds
        self.site.take_orders()
        for message in self.site.orders[:1]:
            self.site.carry_out(message, course)
            if not twice:
                self.site.orders.remove(message)

    @rule(pool=pools, what=st.sampled_from(ORDERS))
    def order(self, pool: str, what: str) -> None:
        self.site.order(pool, what)

    @rule(pool=pools, what=st.sampled_from(["pause", "drain", "resume", "resume"]))
    def an_operator_pauses_or_resumes(self, pool: str, what: str) -> None:
        self.site.control(pool, what)

    @rule()
    def an_operator_releases_the_brakes(self) -> None:
        self.site.confirm()

    @precondition(lambda self: not self.site.absent)
    @rule(pool=pools, hours_ago=st.sampled_from([0, 2]))
    def a_pool_leaves_the_configuration(self, pool: str, hours_ago: float) -> None:
        self.site.leave(pool, hours_ago)

    @precondition(lambda self: self.site.absent)
    @rule(hours_ago=st.sampled_from([0, 2]))
    def a_pool_is_renamed(self, hours_ago: float) -> None:
        self.site.rename(hours_ago)

    @precondition(lambda self: self.site.absent)
    @rule()
    def it_returns(self) -> None:
        self.site.come_back()

    @precondition(lambda self: self.site.has(Queue.READY))
    @rule(pool=pools)
    def a_ready_vm_breaks(self, pool: str) -> None:
        self.site.break_one(pool)

    @precondition(lambda self: self.site.has(Queue.RUNNING))
    @rule(pool=pools)
    def a_running_vm_is_lost(self, pool: str) -> None:
        self.site.lose_one(pool)

    @rule(slowly=rarely)
    def vms_boot(self, *, slowly: bool) -> None:
        self.site.provider.default_readiness = Readiness(not slowly, "it is booting")

    @precondition(lambda self: self.site.has_dead_letters())
    @rule(limit=st.integers(1, 4), ordered=st.integers(1, 2), at_once=st.booleans())
    def redrive(self, limit: int, ordered: int, *, at_once: bool) -> None:
        """Perhaps by two at once, who do not know of each other."""
        for _ in range(ordered):
            self.site.redrive(limit)
        if at_once:
            for run in self.site.runs[-ordered:]:
                self.site.continue_run(run)

    @precondition(lambda self: self.site.runs)
    @rule(place=places, dies=st.booleans())
    def go_on_with_a_run(self, place: int, *, dies: bool) -> None:
        self.site.continue_run(self.site.runs[-1 - place % len(self.site.runs)], dies=dies)

    # --- what must hold -----------------------------------------------------------------------------------------------

    @invariant()
    def nothing_is_lost_or_doubled(self) -> None:
        self.site.check()
        self.site.check_orders()
        self.site.check_absent()

    def teardown(self) -> None:
        try:
            self.site.settle()
        finally:
            self.site.close()


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    with servers.running("valkey", tmp_path_factory.mktemp("lifecycle")) as server:
        db = Database(server.url)
        yield db
        db.close()


@pytest.mark.stage(name="lifecycle")
@pytest.mark.timeout(1800 if os.environ.keys() & {"LIFECYCLE_EXAMPLES", "LIFECYCLE_SHRINK"} else 300)
def test_vms_are_never_lost_doubled_or_forgotten(
    own: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, "vmpooler_tasks")  # or thousands of steps drown what failed
    names = Names()
    monkeypatch.setattr(vm_names, "_generator", lambda: names)
    further, shrinks = os.environ.get("LIFECYCLE_EXAMPLES"), os.environ.get("LIFECYCLE_SHRINK")
    phases = [Phase.explicit, Phase.generate, *([Phase.shrink] if shrinks else [])]

    class OnOurServer(Lifecycle):
        def __init__(self) -> None:
            super().__init__(own, names)

    run_state_machine_as_test(
        OnOurServer,
        settings=hypothesis_settings(
            max_examples=int(further or EXAMPLES),
            stateful_step_count=STEPS,
            derandomize=not further,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            print_blob=False,
            phases=phases,
        ),
    )
