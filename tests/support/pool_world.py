"""Pool workers over a test's database, and a provider whose every reply a test can set. Tests set the clock."""

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import repeat
from typing import Any

from tests.support.api_client import ApiClient
from tests.support.api_server import ApiPool
from tests.support.promises import dead_letters
from tests.support.world import POOL, World
from vmpooler_tasks.config import Options, Pool, RedisSection, Settings
from vmpooler_tasks.config.dns import DnsConfig
from vmpooler_tasks.dns import DnsPlugin
from vmpooler_tasks.errors import PermanentProviderError, TransientProviderError
from vmpooler_tasks.jobs.inspection import inspect
from vmpooler_tasks.jobs.inspection.inspect import Inspection
from vmpooler_tasks.jobs.ownership import marking
from vmpooler_tasks.jobs.pools import check_pending, check_ready, check_running, clone, destroy, new_clones
from vmpooler_tasks.jobs.pools.clone import CloneFailure
from vmpooler_tasks.jobs.pools.context import PoolContext, Work
from vmpooler_tasks.jobs.pools.provider_calls import Retries
from vmpooler_tasks.jobs.requests import fulfil
from vmpooler_tasks.model.names import Queue
from vmpooler_tasks.model.pools.lifecycle import Step
from vmpooler_tasks.providers import Inventory, PoolSpec, Provider, ProviderContext, Readiness, VirtualMachine
from vmpooler_tasks.providers.dummy.provider import Dummy
from vmpooler_tasks.store import keys
from vmpooler_tasks.store.keys import POOL_SLOTS, REQUEST_SLOTS
from vmpooler_tasks.store.pools.leases import Lease, LeaseRenewer

MINUTE, HOUR = 60, 3600
WEEK = 168 * HOUR

TEMPLATE = "templates/one"

RESET = TransientProviderError("the connection was reset")
MISSING = PermanentProviderError("template templates/one does not exist")


def pool(name: str = POOL, **entry: Any) -> Pool:
    """An entry of `:pools:`: two VMs of a template, unless it says otherwise."""
    return Pool(**{"name": name, "size": 2, "template": TEMPLATE, **entry})


class Scripted:
    """A provider that keeps its VMs in memory. What a test sets holds until it sets something else."""

    def __init__(self) -> None:
        self.machines: dict[str, VirtualMachine] = {}
        self.pool_of: dict[str, str] = {}
        self.marks: dict[str, str | None] = {}
        self.specs: dict[str, PoolSpec] = {}
        self.calls: list[tuple[str, str]] = []
        self.readiness: dict[str, Readiness] = {}
        self.default_readiness = Readiness(True)
        self.hidden: set[str] = set()
        self.without_address = False
        self._errors: dict[str, Iterator[Exception]] = {}
        self._before: dict[str, Callable[[str], object]] = {}
        self._lock = threading.Lock()

    def has(self, *vms: str, pool: str = POOL, hostname: str | None = None) -> None:
        """Add these VMs to its inventory."""
        for vm in vms:
            self.machines[vm] = VirtualMachine(name=vm, hostname=hostname or vm, ip="10.0.0.1", host="host-1")
            self.pool_of[vm] = pool

    def raises(self, operation: str, *errors: Exception, always: bool = False) -> None:
        """Raise each of these errors once, then succeed. With `always` raise the first in every call."""
        self._errors[operation] = repeat(errors[0]) if always else iter(errors)

    def before(self, operation: str, act: Callable[[str], object] | None) -> None:
        """Call `act` with the name before each result of the operation. None: no more."""
        self._before[operation] = act or _nothing

    def called(self, operation: str) -> list[str]:
        """Return the VMs (or pools) of the calls of this operation."""
        return [name for what, name in self.calls if what == operation]

    def list_vms(self, pool: PoolSpec) -> Inventory:
        self._begin("list", pool, pool.name)
        return {
            vm: self.marks.get(vm, "")
            for vm, home in self.pool_of.items()
            if home == pool.name and vm not in self.hidden
        }

    def find_vm(self, pool: PoolSpec, vm: str) -> VirtualMachine | None:
        self._begin("find", pool, vm)
        return self.machines.get(vm)

    def create_vm(self, pool: PoolSpec, vm: str) -> VirtualMachine:
        self._begin("create", pool, vm)
        existed = vm in self.machines
        if not existed:
            self.has(vm, pool=pool.name)
        if self.without_address:
            self.machines[vm] = replace(self.machines[vm], ip=None)
        return replace(self.machines[vm], existed=existed)

    def is_ready(self, pool: PoolSpec, vm: str) -> Readiness:
        self._begin("ready", pool, vm)
        if vm not in self.machines:
            return Readiness(False, f"{vm} does not exist", "VmNotFoundError")
        return self.readiness.get(vm, self.default_readiness)

    def destroy_vm(self, pool: PoolSpec, vm: str) -> bool:
        self._begin("destroy", pool, vm)
        self.pool_of.pop(vm, None)
        return self.machines.pop(vm, None) is not None

    def close(self) -> None:
        self.machines.clear()

    def _begin(self, operation: str, pool: PoolSpec, name: str) -> None:
        with self._lock:
            self.calls.append((operation, name))
            self.specs[operation] = pool
            error = next(self._errors.get(operation, iter(())), None)
        self._before.get(operation, _nothing)(name)
        if error:
            raise error


def _nothing(name: str) -> None:
    del name


class ManualRenewer(LeaseRenewer):
    """Renews leases when a test calls `renew_all`, not in a thread."""

    def _start_thread(self) -> None:
        """Start no thread."""

    def renew_all(self) -> None:
        held: list[Lease] = [lease for lease in self._held if not lease.lost]
        if held:
            self._renew(held)


@dataclass
class PoolWorld(World):
    """`config` and `pools` are what is configured, `provider` what all pools have that name none of `providers`."""

    config: dict[str, Any] = field(default_factory=dict)
    pools: list[Pool] = field(default_factory=lambda: [pool()])
    provider: Scripted = field(default_factory=Scripted)
    providers: dict[str, Provider] = field(default_factory=dict)
    dns: dict[str, DnsConfig] = field(default_factory=dict)
    dns_plugins: dict[str, DnsPlugin] = field(default_factory=dict)
    data_ttl: float = 168
    slept: list[float] = field(default_factory=list)
    leases: ManualRenewer | None = None

    @property
    def settings(self) -> Settings:
        given = {"manage_pools": True, "dlq_enabled": True, "prefix": "pooler-", "domain": "example.com"}
        return Settings(
            config=Options(**{**given, **self.config}),
            redis=RedisSection(data_ttl=self.data_ttl),
            pools=tuple(self.pools),
            providers={name: {} for name in ("scripted", *self.providers)},
            dns_configs=self.dns,
        )

    @property
    def context(self) -> PoolContext:
        chosen = self.settings
        self.leases = self.leases or ManualRenewer(self.db, chosen.config.lease_seconds, self.clock)
        retries, plugin = Retries(chosen.config.max_tries, self.sleep), self.dns_plugins.__getitem__
        return PoolContext(self.db, chosen, self._provider, self.clock, self.leases, retries, plugin)

    def _provider(self, name: str) -> Provider:
        return self.providers.get(name, self.provider)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def dummy(self, url: str, **options: Any) -> Dummy:
        """A dummy whose time is the tests'; it is what pools have that name `dummy`."""
        own = Dummy(ProviderContext(name="dummy", options=options, redis_url=url), sleep=self.sleep, clock=self.clock)
        self.providers["dummy"] = own
        return own

    def inspect(self, name: str = POOL) -> Inspection:
        return inspect.inspect_pool(self.context, name)

    def clones(self, name: str = POOL) -> list[str]:
        """Inspect the pool. Return the VMs whose clones it starts."""
        return [work.vm for work in self.inspect(name).work if work.step is Step.CLONE]

    def due(self, step: Step, name: str = POOL) -> list[str]:
        """Inspect the pool. Return the VMs that it hands out for this step."""
        return [work.vm for work in self.inspect(name).work if work.step is step]

    def reap(self) -> list[Work]:
        return new_clones.reap(self.context)

    def clone(self, vm: str, owner: str = "task-1", pool: str = POOL, request_id: str | None = None) -> str:
        """Clone as a worker does. Errors are raised, not reported."""
        return clone.run(self.context, vm, pool, owner, request_id)

    def fail(self, vm: str, error: Exception, owner: str = "task-1", pool: str = POOL) -> bool:
        """Report a failure as the failure hook does."""
        return clone.fail(self.context, vm, pool, CloneFailure.of(error), owner)

    def deliver(self, work: Work, owner: str | None = None) -> str:
        """Do the work as its task does. Report a failed clone as the failure hook does."""
        vm, name, task = work.vm, work.pool, owner or f"task-{work.vm}"
        match work.step:
            case Step.CLONE:
                try:
                    return clone.run(self.context, vm, name, task, work.request_id)
                except Exception as error:  # noqa: BLE001 - whatever it is, the hook takes it
                    clone.fail(self.context, vm, name, CloneFailure.of(error), task, work.request_id)
                    return type(error).__name__
            case Step.CHECK_PENDING:
                return check_pending.check(self.context, vm, name)
            case Step.CHECK_READY:
                return check_ready.check(self.context, vm, name)
            case Step.CHECK_RUNNING:
                return check_running.check(self.context, vm, name)
            case Step.MARK:
                return marking.run(self.context, vm, name)
            case Step.DESTROY:
                return destroy.run(self.context, vm, name, task)
            case _:
                raise AssertionError(f"{work.step} is an order: see order_world.py")

    def deliver_all(self, work: Iterable[Work]) -> list[str]:
        return [self.deliver(one) for one in work]

    def round(self) -> list[str]:
        """Inspect every pool and process every request, and do all the work."""
        outcomes = []
        for one in self.pools:
            outcomes += self.deliver_all(self.inspect(one.name).work)
        return outcomes + self.deliver_all(fulfil.run(self.context))

    def has_metadata(self, *vms: str) -> None:
        """Redis knows these VMs, whatever queue they are in: a clone of theirs was started once."""
        for vm in vms:
            self.client.hsetnx(keys.vm(vm.encode()), "clone", self.stamp(0))

    def pending_vm(self, vm: str, age: float = 0, name: str = POOL, **metadata: Any) -> str:
        """One that the provider has, of this age."""
        self.vm(Queue.PENDING, vm, age, name, **metadata)
        self.provider.has(vm, pool=name)
        return vm

    def ready_vm(self, vm: str, age: float = 0, name: str = POOL, **metadata: Any) -> str:
        self.vm(Queue.READY, vm, age, name, **metadata)
        self.provider.has(vm, pool=name)
        return vm

    def running_vm(self, vm: str, age: float | None = 0, name: str = POOL, **metadata: Any) -> str:
        """Checked out so long ago; None: it was never said when."""
        self.vm(Queue.RUNNING, vm, 0, name, **metadata)
        if age is not None:
            self.client.hset(keys.active(name), vm, self.stamp(age))
        self.provider.has(vm, pool=name)
        return vm

    def completed_vm(self, vm: str, name: str = POOL, **metadata: Any) -> str:
        self.vm(Queue.COMPLETED, vm, 0, name, **metadata)
        self.provider.has(vm, pool=name)
        return vm

    def start_api(self, **options: Any) -> ApiClient:
        """Start an API server of VMPooler with the pools of now."""
        given = [ApiPool(one.name, one.size, one.template, one.clone_target, tuple(one.alias)) for one in self.pools]
        return ApiClient(self.client, given, clock=self.clock, **options)

    def check_out(self, vm: str, name: str = POOL) -> None:
        assert self.start_api().checkout_vm(vm, name)

    def names_in(self, queue: Queue, name: str = POOL) -> set[str]:
        return {vm.decode() for vm in self.members(queue, name)}

    def queues_of(self, vm: str) -> list[Queue]:
        """Every queue of every pool that it is in, but `migrating`, where each checkout adds it too."""
        places = ((queue, one.name) for one in self.pools for queue in Queue if queue is not Queue.MIGRATING)
        return [queue for queue, name in places if vm.encode() in self.members(queue, name)]

    def metadata(self, vm: str) -> dict[str, str]:
        return {name.decode(): value.decode() for name, value in self.client.hgetall(keys.vm(vm.encode())).items()}

    def ttl(self, vm: str) -> int:
        return int(self.client.ttl(keys.vm(vm.encode())))

    def dead_letters(self, queue: str) -> list[dict[str, Any]]:
        """Oldest first, without their ids."""
        return [{name: value for name, value in one.items() if name != "id"} for one in dead_letters(self, queue)]

    def slots(self) -> int:
        """Clones in flight for pools, after seeing that VMPooler's counters say the same as the slots."""
        for slots in (POOL_SLOTS, REQUEST_SLOTS):
            assert int(self.client.get(slots.counter) or 0) == self.client.zcard(slots.key)
        return int(self.client.zcard(POOL_SLOTS.key))

    def request_slots(self) -> int:
        """The same for requests."""
        self.slots()
        return int(self.client.zcard(REQUEST_SLOTS.key))

    def count(self, name: str) -> int:
        return int(self.client.hget(keys.COUNTERS.decode(), name) or 0)
