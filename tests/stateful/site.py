"""An installation of which everything is known: the jobs on a real server, and a small model of what they owe."""

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from tests.stateful.configurations import Configurations
from tests.stateful.holders import Gate, Holder, PowerFailureError, Turn
from tests.stateful.known import LEASE_SECONDS, LIMIT, POOLS, REQUEST_SECONDS, VM_DEAD_LETTERS, Message, Snapshot
from tests.stateful.users import DISCOVERY_SECONDS
from tests.support.pool_world import ManualRenewer
from vmpooler_tasks.errors import ProviderError, SuspendedError, TransientProviderError
from vmpooler_tasks.jobs.inspection import inspect
from vmpooler_tasks.jobs.pools import check_pending, check_ready, check_running, clone, destroy, new_clones
from vmpooler_tasks.jobs.pools.clone import CloneFailure
from vmpooler_tasks.jobs.pools.context import PoolContext, Work
from vmpooler_tasks.jobs.redrive import run as redrive
from vmpooler_tasks.jobs.redrive.selection import Selection
from vmpooler_tasks.jobs.requests import fulfil
from vmpooler_tasks.model.deadletters.filters import DeadLetterFilter
from vmpooler_tasks.model.names import Queue
from vmpooler_tasks.model.pools.lifecycle import Step
from vmpooler_tasks.model.redrive import Lineage, OwnTasks, RunOptions, RunState
from vmpooler_tasks.providers import Readiness
from vmpooler_tasks.store import keys
from vmpooler_tasks.store.guards import brakes
from vmpooler_tasks.store.redrive import runs
from vmpooler_tasks.store.redrive.steps import TaskMessage
from vmpooler_tasks.tasks import registry as names

ROUNDS = 80
"""Until all is quiet, a lease each: a destruction that failed often is put off for a while."""


@dataclass
class Names:
    """In the place of the generator of names: what failed has to be repeated with the same."""

    count: int = 0

    def generate_slug(self, words: int) -> str:
        self.count += 1
        return f"vm-{self.count:04}"


@dataclass
class Recorder:
    """A broker that writes down what it is given. `dies`: its process ends before it has handed anything out."""

    site: "Site"
    dies: bool
    own: OwnTasks = names.OWN
    is_same_server = True

    def prepare(self, task: str, args: Any, kwargs: Any, lineage: Lineage) -> TaskMessage:
        raise AssertionError(f"no task has failed here, and {task} is redriven")

    def hand_out(self, work: Work) -> None:
        self.site.note_successor(work)
        if self.dies:
            raise PowerFailureError
        self.site.send([work])


class Site(Configurations):
    """What beat, workers, users and operators do there."""

    # --- ticks --------------------------------------------------------------------------------------------------------

    def tick(self, *, readable: bool = True) -> None:
        """As beat orders it."""
        self.reap()
        self.fill_requests()
        self.take_orders()
        if self.absent:
            self.update_roster()
        for pool in POOLS:
            self.inspect(pool, readable=readable)

    def inspect(self, pool: str, *, readable: bool = True) -> list[Work]:
        if not self.is_inspected(pool):
            return []
        suspended, stray = self._is_suspended(), self._stray(pool)
        if not readable:
            self.provider.raises("list", TransientProviderError("it broke off half-way"))
        pending = self._members(Queue.PENDING, pool)
        inspection = inspect.inspect_pool(self.context, pool)
        self._note_taken_back(pool, pending)
        self.provider.raises("list")
        assert not inspection.busy
        assert (inspection.error is None) == (readable or suspended) or pool == self.absent
        self.send(inspection.work)
        if pool == self.absent:
            self._strays[pool] = {}  # nobody completes them as unknown
        elif readable and not suspended:
            self._expect_discovery(pool, stray)
        return inspection.work

    def _is_suspended(self) -> bool:
        until = self.db.client.hget(keys.breaker("staged"), "open_until")
        return until is not None and float(until) > self.now

    def _stray(self, pool: str) -> set[str]:
        """VMs that the provider has and no queue."""
        return {vm for vm, home in self.provider.pool_of.items() if home == pool}.difference(self.snapshot().everywhere)

    def _expect_discovery(self, pool: str, stray: set[str]) -> None:
        """What was a stray in two inspections that were long enough apart is known now, unless the brake holds it."""
        since, left = self._strays[pool], self._stray(pool)
        if brakes.is_engaged(self.db, pool):
            assert stray <= left, f"the brake is engaged, and {stray - left} are not held"
            self._strays[pool] = {}
            return
        for vm in left & since.keys():
            assert self.now - since[vm] < DISCOVERY_SECONDS, f"the provider has {vm}, and nobody knows of it"
        self._strays[pool] = {vm: since.get(vm, self.now) for vm in stray}

    def reap(self) -> list[Work]:
        work = new_clones.reap(self.context)
        self.send(work)
        for vm in [vm for vm, holder in self._holder.items() if holder.work.step is Step.CLONE]:
            if self._holder[vm].leased_until <= self.now:
                del self._holder[vm]
        for slots in self.snapshot().slots.values():
            assert all(until > self.now for until in slots.values()), (
                f"a lease has run out, and was not reaped: {slots}"
            )
        return work

    def fill_requests(self) -> list[Work]:
        work = fulfil.run(self.context)
        self.send(work)
        return work

    # --- workers ------------------------------------------------------------------------------------------------------

    def deliver_all(self) -> None:
        self.deliver_checks()
        while self.orders:
            self.carry_out(self.orders.pop(0), "well")
        while self.waiting:
            self.perform(self.waiting.pop(0))

    def deliver_checks(self) -> None:
        while self.checks:
            self.check_vm(self.checks.pop(0))

    def perform(self, message: Message, turns: tuple[Turn, ...] = ()) -> None:
        """A worker takes the message, and the provider's next calls for the VM go like this."""
        if self.can_be_done(message.work):
            self._start(message, Gate(), turns)

    def hold(self, message: Message, *, after: bool, alive: bool) -> None:
        """A worker takes it, and stops while the provider works on it, or when that is done."""
        if not self.can_be_done(message.work):
            return
        gate = Gate()
        holder = self._start(message, gate, (Turn(after=after, gate=gate),))
        if holder.waits:
            (self.held if alive else self.dead).append(holder)

    def check_vm(self, message: Message) -> None:
        """As a task without retries: the next inspection hands out another."""
        self.checked.append(message)
        with suppress(SuspendedError, ProviderError):
            if self.can_be_done(message.work):
                self._check_vm(message.work)

    def _check_vm(self, work: Work) -> None:
        match work.step:
            case Step.CHECK_PENDING:
                if check_pending.check(self.context, work.vm, work.pool) == "removed":
                    self._gone.add(work.vm)
            case Step.CHECK_READY:
                check_ready.check(self.context, work.vm, work.pool)
            case _:
                check_running.check(self.context, work.vm, work.pool)

    def _start(self, message: Message, gate: Gate, turns: tuple[Turn, ...]) -> Holder:
        if message not in self.delivered:
            self.delivered.append(message)
        work, context = message.work, self._worker()
        assert isinstance(context.leases, ManualRenewer)
        holder = Holder(work, message.task_id, context.leases, lambda: self._run(context, message), gate)
        other, calls_before = self._holder.get(work.vm), len(self.provider.calls)
        is_wanted = self._is_wanted(work)
        operation = "create" if work.step is Step.CLONE else "destroy"
        self.provider.stage(operation, work.vm, *turns)
        holder.start()
        self.provider.stage(operation, work.vm)
        # A check may find a VM ready, whose clone is held up when all is done; then that is over.
        is_over = other and other.work.step is Step.CLONE and self._has(work.vm, "ready")
        if other and not is_over and other.owner != holder.owner and other.leased_until > self.now:
            assert len(self.provider.calls) == calls_before, f"two are at work on {work.vm} at once"
            assert not holder.error
        assert is_wanted or len(self.provider.calls) == calls_before, f"nobody wants that any more: {work}"
        if holder.outcome == "paused":
            assert self._is_stopped(work.pool)
            self._gone.add(work.vm)
        if holder.waits:
            holder.leased_until = self.now + LEASE_SECONDS
            self._holder[work.vm] = holder
        else:
            if len(self.provider.calls) > calls_before:  # it has taken the work on, and ended it
                self._holder.pop(work.vm, None)
            self._ended(holder, in_time=True)
        return holder

    def _is_wanted(self, work: Work) -> bool:
        if work.step is Step.DESTROY:
            return work.vm in self._members(Queue.COMPLETED, work.pool)
        return self._is_pending(work) and not self._is_made(work.vm) and work.pool not in self._pending_at_pause

    def _run(self, context: PoolContext, message: Message) -> str:
        work = message.work
        if work.step is Step.DESTROY:
            return destroy.run(context, work.vm, work.pool, message.task_id)
        return clone.run(context, work.vm, work.pool, message.task_id, work.request_id)

    def renew(self, holder: Holder) -> None:
        work, before = holder.work, self._leases(holder.work.vm)
        holder.leases.renew_all()
        if self._holder.get(work.vm) is not holder:
            may = work.step is Step.DESTROY or holder in self._unsure
            assert may or self._leases(work.vm) == before, f"{work} was lost, and is renewed"
        elif holder.leased_until > self.now or (work.step is Step.CLONE and self._is_pending(work)):
            holder.leased_until = self.now + LEASE_SECONDS
        else:
            self._unsure.add(holder)  # an inspection may have handed out the VM's destruction, or not
            del self._holder[work.vm]

    def release(self, holder: Holder, error: Exception | None = None) -> None:
        work, current, is_wanted = holder.work, self._holder.get(holder.work.vm), self._is_wanted(holder.work)
        holder.release(error)
        if current is holder:
            del self._holder[work.vm]
            in_time = is_wanted and holder.leased_until > self.now
            assert not (in_time and holder.outcome == "lost"), f"{work} was taken from {holder.owner} before its time"
        elif not holder.error and (current or (work.step is Step.CLONE and holder not in self._unsure)):
            left = holder.outcome == "left_queue" and not self._is_pending(work)
            assert left or holder.outcome == "lost", f"{work} was taken over, and is {holder.outcome} all the same"
        self._ended(holder, in_time=current is holder and holder.leased_until > self.now)

    def _ended(self, holder: Holder, *, in_time: bool) -> None:
        """What a worker does when its task is over. `in_time`: nobody else can have taken it over."""
        work = holder.work
        if holder.error is None or work.step is Step.DESTROY:
            return
        other = self._holder.get(work.vm)
        is_others = other and other.work == work and other.owner != holder.owner and other.leased_until > self.now
        was_pending, is_made, reported = self._is_pending(work), self._is_made(work.vm), self._count_dead_letters()
        counts = self._report(holder)
        assert counts == (was_pending and not self._is_pending(work))
        assert counts or not (in_time and was_pending and not is_made), f"the failure of {work.vm} was not heard"
        if is_others or is_made:
            assert not counts, f"{work.vm} has failed, and another worker makes it, or has"
            assert self._count_dead_letters() == reported, f"{work.vm} is made, and has a dead letter"
        if counts:
            self._failed.add(work.vm)
            assert self._leases(work.vm) == [None, None], f"{work.vm} has failed, and keeps its slot"
        reported = self._count_dead_letters()
        self.now += 1  # so that a second dead letter would differ from the first
        assert not self._report(holder), f"the failure of {work.vm} counts twice"
        assert self._count_dead_letters() == reported, f"the failure of {work.vm} is reported twice"

    def _report(self, holder: Holder) -> bool:
        assert holder.error
        work, failure = holder.work, CloneFailure.of(holder.error)
        return clone.fail(self.context, work.vm, work.pool, failure, holder.owner, work.request_id)

    # --- dead letters -------------------------------------------------------------------------------------------------

    def redrive(self, limit: int) -> None:
        """Start a run; others drive it."""
        chosen = Selection(wanted=DeadLetterFilter(queues=VM_DEAD_LETTERS), limit=limit)
        run = redrive.start(self.db, chosen, RunOptions(who="test", why=None, rate=0, max_failed_percent=100), self.now)
        self.runs.append(run)

    def continue_run(self, run: str, *, dies: bool = False) -> None:
        """Until it ends, has to wait for a slot, or its process dies."""
        position = redrive.read_run(self.db, run).position
        course = redrive.drive(self.db, self.settings, Recorder(self, dies), self.clock, run, sleep=lambda _: None)
        with suppress(PowerFailureError):
            for now in course:
                if now.state is RunState.RUNNING and now.position == position:
                    assert max(map(len, self.snapshot().slots.values())) == LIMIT, "it waits, and there is room"
                    return
                position = now.position
            assert redrive.read_run(self.db, run).state is RunState.DONE

    def note_successor(self, work: Work) -> None:
        (lineage,) = runs.read_lineages(self.db, [work.vm])
        assert lineage, f"{work.vm} does not know its dead letter"
        assert lineage.dead_letter_id not in self._successors, f"{lineage.dead_letter_id} has two successors"
        self._successors[lineage.dead_letter_id] = work.vm
        self._started.add(work.vm)

    # --- the end ------------------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Nothing fails any more, and nobody requests anything: everything comes to rest, and is where it should be."""
        self.provider.default_readiness = Readiness(True)
        self.provider.readiness.clear()
        self.come_back()
        while self.held:
            self.release(self.held.pop())
            self.check()
        for pool in POOLS:
            self.control(pool, "resume")
            self.order(pool, "undo")
        for _ in range(ROUNDS):
            self.now += LEASE_SECONDS + 1
            self.tick()
            self.confirm()
            self.check()
            self.deliver_all()
            self.check()
            if self._is_quiet():
                break
        seen = self.snapshot()
        left = (sorted(self.provider.machines), self.orders_left(), self.api.config())
        assert self._is_quiet(), f"it never comes to rest: {seen}, {left}"
        self._check_ends(seen)

    def _is_quiet(self) -> bool:
        seen = self.snapshot()
        return (
            not any(seen.slots.values())
            and not any(seen.migrating.values())
            and not self.orders_left()
            and all(one["template_ready"] for one in self.api.config().values())
            and all(len(seen.queue(Queue.READY, pool=pool)) == size for pool, size in POOLS.items())
            and set(seen.everywhere) == seen.queue(Queue.READY, Queue.RUNNING) == set(self.provider.machines)
            and all(self._status(name) for name in self._requests)
        )

    def _check_ends(self, seen: Snapshot) -> None:
        self.check_orders()
        self.check_disks()
        for pool, ready in ((pool, seen.queue(Queue.READY, pool=pool)) for pool in POOLS):
            in_force = (self.api.pools[pool].template, self.api.pools[pool].clone_target or "")
            others = {vm: made for vm in ready if (made := self.provider.made_from[vm]) != in_force}
            assert not others, f"{pool} has VMs of something else than {in_force}: {others}"
        for vm in self._started - set(seen.everywhere):
            reported = any((queue, vm) in self._dead_letters for queue in VM_DEAD_LETTERS)
            destroyed = self._has(vm, "destroy")
            assert reported or destroyed or vm in self._gone, f"nobody knows what became of {vm}"
        for name, (wanted, since) in self._requests.items():
            if self._status(name) == "ready":
                assert self.db.client.scard(keys.delivered(name.encode(), wanted.alias, wanted.pool)) == wanted.count
            elif self.now - since < REQUEST_SECONDS:
                reason = self.db.client.hget(keys.request(name.encode()), "failure_reason").decode()
                assert "not filled" not in reason

    def close(self) -> None:
        """Ends the threads of those that were killed."""
        for holder in [*self.held, *self.dead]:
            holder.release(PowerFailureError())
