"""The dummy provider: it keeps the contract, and does what its options say, each time the same."""

import json
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tests.support import servers
from tests.support.servers import TestServer
from vmpooler_tasks.errors import (
    ConfigurationError,
    PermanentProviderError,
    ProviderError,
    ThrottledProviderError,
    TransientProviderError,
)
from vmpooler_tasks.providers import PoolSpec, Provider, ProviderContext, VirtualMachine, registry
from vmpooler_tasks.providers.contract import ProviderContract
from vmpooler_tasks.providers.dummy.inventory import PREFIX
from vmpooler_tasks.providers.dummy.provider import OPERATIONS, RETRY_AFTER_SECONDS, Dummy
from vmpooler_tasks.store import Database

pytestmark = [pytest.mark.both_servers, pytest.mark.slow(seconds=10)]

POOL = PoolSpec(name="centos-7-x86_64", template="templates/centos-7")

NOW = 1_705_314_600.0

SOME = [f"vm-{number}" for number in range(200)]


@dataclass
class Lab:
    """A server, and dummies on it that share a clock; a sleep moves it and is noted."""

    url: str
    db: Database
    stack: ExitStack
    now: float = NOW
    slept: list[float] = field(default_factory=list)

    def dummy(self, **options: Any) -> Dummy:
        context = ProviderContext(name="dummy", options=options, redis_url=self.url)
        own = Dummy(context, sleep=self.sleep, clock=lambda: self.now)
        self.stack.callback(own.close)
        return own

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def commands(self, call: Callable[[], Any]) -> dict[str, int]:
        """Command → how often the server ran it for this call."""
        self.db.call("CONFIG", "RESETSTAT")
        call()
        stats = self.db.client.info("commandstats")
        return {
            name.removeprefix("cmdstat_"): counted["calls"]
            for name, counted in stats.items()
            if not name.startswith("cmdstat_config")
        }


@pytest.fixture
def lab(valkey: TestServer) -> Iterator[Lab]:
    with ExitStack() as stack:
        db = Database(valkey.url)
        stack.callback(db.close)
        yield Lab(valkey.url, db, stack)


class TestContract(ProviderContract):
    """On both kinds of server."""

    @pytest.fixture(autouse=True)
    def _connected(self, server: TestServer, db: Database) -> Iterator[None]:
        options = {"templates": [POOL.template]}
        self.own = registry.load(ProviderContext(name="dummy", options=options, redis_url=server.url))
        yield
        self.own.close()
        assert db.client.keys() == [], "each test takes away what it made"

    def provider(self) -> Provider:
        return self.own

    def pool(self) -> PoolSpec:
        return POOL

    def other_pool(self) -> PoolSpec:
        return PoolSpec(name="debian-12-x86_64", template=POOL.template)

    def pool_without_template(self) -> PoolSpec:
        return PoolSpec(name="old", template="templates/gone")


class TestContractWithEverythingOptional(TestContract):
    """The same where each call is counted and each VM may get lost, although none does."""

    @pytest.fixture(autouse=True)
    def _connected(self, server: TestServer, db: Database) -> Iterator[None]:
        rare = {"transient": 1e-12}
        options = {
            "templates": [POOL.template],
            "failures": dict.fromkeys(OPERATIONS, rare),
            "lost": 1.0,
            "lost_after_seconds": 1000,
        }
        self.own = registry.load(ProviderContext(name="dummy", options=options, redis_url=server.url))
        yield
        self.own.close()
        assert all(key.startswith(f"{PREFIX}calls:".encode()) for key in db.client.scan_iter())


class TwiceMade(Dummy):
    """Has every fault that a provider is tempted to have."""

    def find_vm(self, pool: PoolSpec, vm: str) -> VirtualMachine | None:
        return super().find_vm(pool, vm) or VirtualMachine(name=vm)

    def list_vms(self, pool: PoolSpec) -> Collection[str]:
        names = list(super().list_vms(pool))
        return names + names[:1]

    def destroy_vm(self, pool: PoolSpec, vm: str) -> bool:
        super().destroy_vm(pool, vm)
        return True


CONTRACT_TESTS = [
    name for name in vars(ProviderContract) if name.startswith("test_") and name != "test_it_is_a_provider"
]


@pytest.mark.parametrize("test", CONTRACT_TESTS)
def test_the_contract_does_not_pass_a_provider_that_breaks_it(lab: Lab, test: str) -> None:
    own = TwiceMade(ProviderContext(name="dummy", options={}, redis_url=lab.url))
    lab.stack.callback(own.close)

    class Contract(TestContract):
        def provider(self) -> Provider:
            return own

    with pytest.raises(AssertionError):
        getattr(Contract(), test)()


def test_the_contract_skips_what_the_author_gives_no_pool_for() -> None:
    class Contract(ProviderContract):
        def provider(self) -> Provider:
            raise AssertionError("not needed")

        pool = TestContract.pool

    with pytest.raises(NotImplementedError, match="override provider"):
        ProviderContract().provider()
    with pytest.raises(NotImplementedError, match="override pool"):
        ProviderContract().pool()
    with pytest.raises(pytest.skip.Exception, match="pool_without_template"):
        Contract().test_a_template_that_does_not_exist_is_a_permanent_error()


def test_where_nothing_is_left_to_chance_each_operation_is_one_command(lab: Lab) -> None:
    own = lab.dummy(clone_seconds=[1, 9], boot_seconds=60, destroy_seconds=[1, 2], list_seconds=1)
    own.list_vms(POOL)  # connects
    assert lab.commands(lambda: own.create_vm(POOL, "vm")) == {"hsetnx": 1}
    assert lab.commands(lambda: own.create_vm(POOL, "vm")) == {"hsetnx": 1, "hget": 1}
    assert lab.commands(lambda: own.find_vm(POOL, "vm")) == {"hget": 1}
    assert lab.commands(lambda: own.is_ready(POOL, "vm")) == {"hget": 1}
    assert lab.commands(lambda: own.list_vms(POOL)) == {"hkeys": 1}
    assert lab.commands(lambda: own.destroy_vm(POOL, "vm")) == {"hdel": 1}
    assert lab.db.client.keys() == []


def test_only_what_is_left_to_chance_is_counted(lab: Lab) -> None:
    own = lab.dummy(failures={"find": {"transient": 1e-12}})
    own.list_vms(POOL)
    assert lab.commands(lambda: own.create_vm(POOL, "vm")) == {"hsetnx": 1}
    assert lab.commands(lambda: own.find_vm(POOL, "vm")) == {"incrby": 1, "expire": 1, "hget": 1}
    [key] = [key for key in lab.db.client.scan_iter() if b"calls" in key]
    assert 0 < lab.db.client.ttl(key) <= 24 * 3600, "a name is used once: its count must not stay for ever"


def test_all_keys_have_the_prefix_and_a_pool_has_one(lab: Lab) -> None:
    lab.dummy(lost=0.5).create_vm(POOL, "vm")
    assert all(key.startswith(PREFIX.encode()) for key in lab.db.client.scan_iter())
    record = json.loads(lab.db.client.hget(f"vmpooler_tasks__dummy__{POOL.name}", "vm"))
    assert record["hostname"] == "vm"


def test_two_providers_share_one_inventory(lab: Lab) -> None:
    one, two = lab.dummy(), lab.dummy(seed=2)
    made = one.create_vm(POOL, "vm")
    assert two.create_vm(POOL, "vm") == two.find_vm(POOL, "vm") == made
    assert list(two.list_vms(POOL)) == ["vm"]
    assert two.destroy_vm(POOL, "vm")
    assert one.find_vm(POOL, "vm") is None


def test_an_address_and_a_host_are_the_names_alone(lab: Lab) -> None:
    own = lab.dummy()
    machines = [own.create_vm(POOL, vm) for vm in SOME]
    assert machines == [lab.dummy(seed=7).create_vm(PoolSpec(name="other"), vm) for vm in SOME]
    octets = [[int(part) for part in (machine.ip or "").split(".")] for machine in machines]
    assert all(len(parts) == 4 and parts[0] == 10 and 1 <= parts[3] <= 254 for parts in octets)
    assert len({machine.ip for machine in machines}) > 195
    assert {machine.host for machine in machines} == {f"dummy-host-{number}" for number in range(16)}
    assert all(machine.hostname == machine.name for machine in machines)


def test_a_vm_is_shown_only_when_it_is_made(lab: Lab) -> None:
    seen: list[VirtualMachine | None] = []
    watcher = lab.dummy()
    context = ProviderContext(name="dummy", options={"clone_seconds": 30}, redis_url=lab.url)
    own = Dummy(context, sleep=lambda _: seen.append(watcher.find_vm(POOL, "vm")))
    lab.stack.callback(own.close)
    own.create_vm(POOL, "vm")
    assert seen == [None]
    assert watcher.find_vm(POOL, "vm") is not None


def test_operations_take_as_long_as_configured(lab: Lab) -> None:
    own = lab.dummy(clone_seconds=30, destroy_seconds=4.5, list_seconds=2)
    own.create_vm(POOL, "vm")
    own.find_vm(POOL, "vm")
    own.is_ready(POOL, "vm")
    own.list_vms(POOL)
    own.destroy_vm(POOL, "vm")
    assert lab.slept == [30, 2, 4.5]


def test_without_a_time_nothing_sleeps(lab: Lab) -> None:
    own = lab.dummy()
    own.create_vm(POOL, "vm")
    own.list_vms(POOL)
    own.destroy_vm(POOL, "vm")
    assert lab.slept == []


def test_a_time_within_bounds_is_drawn_per_vm_and_repeatable(lab: Lab) -> None:
    own = lab.dummy(clone_seconds=[10, 20])
    for vm in SOME:
        own.create_vm(POOL, vm)
    first, lab.slept = lab.slept, []
    assert all(10 <= seconds < 20 for seconds in first)
    assert len(set(first)) == len(SOME)
    assert 14 < sum(first) / len(first) < 16
    for vm in SOME:
        own.create_vm(POOL, vm)
    assert lab.slept == first


def test_a_vm_is_ready_when_it_has_booted(lab: Lab) -> None:
    own = lab.dummy(clone_seconds=30, boot_seconds=60)
    own.create_vm(POOL, "vm")
    lab.now = NOW + 30 + 59.9
    readiness = own.is_ready(POOL, "vm")
    assert (readiness.ready, readiness.error) == (False, "the VM is still booting")
    lab.now = NOW + 30 + 60
    assert own.is_ready(POOL, "vm").ready


def test_a_second_call_does_not_boot_it_again(lab: Lab) -> None:
    own = lab.dummy(boot_seconds=60)
    own.create_vm(POOL, "vm")
    lab.now += 60
    own.create_vm(POOL, "vm")
    assert own.is_ready(POOL, "vm").ready


def test_a_vm_that_does_not_exist_is_not_ready(lab: Lab) -> None:
    readiness = lab.dummy().is_ready(POOL, "vm")
    assert (readiness.ready, readiness.error_class) == (False, "VmNotFoundError")


CALLS: dict[str, Callable[[Dummy, str], Any]] = {
    "create": lambda own, vm: own.create_vm(POOL, vm),
    "destroy": lambda own, vm: own.destroy_vm(POOL, vm),
    "ready": lambda own, vm: own.is_ready(POOL, vm),
    "list": lambda own, vm: own.list_vms(PoolSpec(name=vm)),
    "find": lambda own, vm: own.find_vm(POOL, vm),
}

KINDS: dict[str, type[ProviderError]] = {
    "transient": TransientProviderError,
    "permanent": PermanentProviderError,
    "throttled": ThrottledProviderError,
}


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_an_operation_fails_as_configured_and_no_other_does(lab: Lab, operation: str, kind: str) -> None:
    own = lab.dummy(failures={operation: {kind: 1}})
    for name, call in CALLS.items():
        if name == operation:
            with pytest.raises(ProviderError, match=f"^{operation}: ") as caught:
                call(own, "vm")
            assert type(caught.value) is KINDS[kind]
        else:
            call(own, "vm")
    if kind == "throttled":
        assert getattr(caught.value, "retry_after_seconds", None) == RETRY_AFTER_SECONDS


def test_a_create_that_fails_makes_nothing_and_takes_no_time(lab: Lab) -> None:
    own = lab.dummy(clone_seconds=30, failures={"create": {"transient": 1}})
    with pytest.raises(TransientProviderError):
        own.create_vm(POOL, "vm")
    assert list(own.list_vms(POOL)) == []
    assert lab.slept == []


def test_a_hang_lasts_and_is_done_after_all(lab: Lab) -> None:
    own = lab.dummy(failures={"create": {"hang": 1}, "destroy": {"hang": 1}}, clone_seconds=30, hang_seconds=900)
    assert own.create_vm(POOL, "vm").name == "vm"
    assert own.destroy_vm(POOL, "vm")
    assert lab.slept == [900, 30, 900]
    lab.slept.clear()
    lab.dummy(failures={"find": {"hang": 1}}).find_vm(POOL, "vm")
    assert lab.slept == [3600]


def failures(own: Dummy, operation: str = "create") -> list[str]:
    """What becomes of each of some VMs."""
    outcome = []
    for vm in SOME:
        try:
            CALLS[operation](own, vm)
        except ProviderError as error:
            outcome.append(type(error).__name__)
        else:
            outcome.append("")
    return outcome


def share(values: list[Any], value: Any) -> float:
    return values.count(value) / len(values)


def test_kinds_of_failure_share_out_the_calls(lab: Lab) -> None:
    outcome = failures(lab.dummy(failures={"create": {"transient": 0.2, "permanent": 0.3, "throttled": 0.1}}))
    assert 0.12 < share(outcome, "TransientProviderError") < 0.28
    assert 0.2 < share(outcome, "PermanentProviderError") < 0.4
    assert 0.04 < share(outcome, "ThrottledProviderError") < 0.16
    assert 0.3 < share(outcome, "") < 0.5


def test_the_same_seed_is_the_same_course_of_events_and_another_seed_another(lab: Lab) -> None:
    rates = {"create": {"transient": 0.3}, "find": {"transient": 0.3}}
    first = failures(lab.dummy(failures=rates))
    lab.db.call("FLUSHALL")
    assert failures(lab.dummy(failures=rates)) == first
    assert failures(lab.dummy(failures=rates), "find") != first, "each operation has its own fortune"
    lab.db.call("FLUSHALL")
    assert failures(lab.dummy(failures=rates, seed=2)) != first


def test_the_order_in_which_vms_are_made_does_not_matter(lab: Lab) -> None:
    own = lab.dummy(failures={"create": {"transient": 0.3}})
    first = failures(own)
    lab.db.call("FLUSHALL")

    def outcome(vm: str) -> str:
        try:
            own.create_vm(POOL, vm)
        except TransientProviderError as error:
            return type(error).__name__
        return ""

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(outcome, reversed(SOME))) == first[::-1]


def test_a_vm_that_is_tried_again_may_succeed_and_the_count_is_shared(lab: Lab) -> None:
    rates = {"create": {"transient": 0.5}}
    first, second = failures(lab.dummy(failures=rates)), failures(lab.dummy(failures=rates))
    both = [before and after for before, after in zip(first, second, strict=True)]
    assert 0.15 < share([bool(failed) for failed in both], True) < 0.35, "half of the half"


def test_rates_that_add_up_to_always_always_fail(lab: Lab) -> None:
    outcome = failures(lab.dummy(failures={"create": {"transient": 0.4, "permanent": 0.3, "throttled": 0.3}}))
    assert "" not in outcome


def test_some_vms_get_no_address(lab: Lab) -> None:
    own = lab.dummy(no_ip=0.25)
    without = [own.create_vm(POOL, vm).ip is None for vm in SOME]
    assert 0.15 < share(without, True) < 0.35
    assert [own.create_vm(POOL, vm).ip is None for vm in SOME] == without, "it was decided when they were made"
    assert lab.dummy(no_ip=1).create_vm(POOL, "other").ip is None


def test_some_vms_call_themselves_something_else(lab: Lab) -> None:
    own = lab.dummy(wrong_hostname=0.5)
    for vm in SOME:
        own.create_vm(POOL, vm)
    found = [own.find_vm(POOL, vm) for vm in SOME]
    hostnames = [machine.hostname if machine else None for machine in found]
    assert 0.4 < share(hostnames, "localhost") < 0.6
    assert all(name in ("localhost", vm) for name, vm in zip(hostnames, SOME, strict=True))


def test_some_vms_are_never_ready(lab: Lab) -> None:
    own = lab.dummy(unreachable=0.5, boot_seconds=60)
    for vm in SOME:
        own.create_vm(POOL, vm)
    assert {own.is_ready(POOL, vm).error for vm in SOME} == {"the VM is still booting"}
    lab.now += 1_000_000
    results = [own.is_ready(POOL, vm) for vm in SOME]
    assert 0.4 < share([result.ready for result in results], False) < 0.6
    message = {(result.error_class, result.error) for result in results if not result.ready}
    assert message == {("ConnectionError", "the VM does not answer")}
    assert [own.is_ready(POOL, vm) for vm in SOME] == results


def test_a_lost_vm_is_there_until_it_is_lost(lab: Lab) -> None:
    own = lab.dummy(lost=1)
    own.create_vm(POOL, "vm")
    lab.now = NOW + 59.9
    assert own.find_vm(POOL, "vm") is not None
    assert own.is_ready(POOL, "vm").ready
    assert list(own.list_vms(POOL)) == ["vm"]
    lab.now = NOW + 60
    assert own.find_vm(POOL, "vm") is None
    assert own.is_ready(POOL, "vm").error == "the VM does not exist"
    assert list(own.list_vms(POOL)) == []
    assert own.destroy_vm(POOL, "vm") is False


def test_a_lost_vm_can_be_destroyed_before_and_made_again_after(lab: Lab) -> None:
    own = lab.dummy(lost=1, lost_after_seconds=10)
    own.create_vm(POOL, "vm")
    assert own.destroy_vm(POOL, "vm") is True
    own.create_vm(POOL, "vm")
    lab.now += 10
    with ThreadPoolExecutor(8) as threads:
        made = list(threads.map(lambda name: own.create_vm(POOL, name), ["vm"] * 8))
    assert all(machine == made[0] for machine in made)
    assert list(own.list_vms(POOL)) == ["vm"]
    lab.now += 9
    assert own.find_vm(POOL, "vm") is not None, "its time starts again"


def test_some_vms_get_lost_and_the_others_stay(lab: Lab) -> None:
    own = lab.dummy(lost=0.3)
    for vm in SOME:
        own.create_vm(POOL, vm)
    lab.now += 60
    left = set(own.list_vms(POOL))
    assert 0.6 < len(left) / len(SOME) < 0.8
    assert {vm for vm in SOME if own.find_vm(POOL, vm)} == left


def test_half_an_inventory_is_an_error_and_never_a_result(lab: Lab) -> None:
    own = lab.dummy(half_inventory=0.5)
    for vm in SOME:
        own.create_vm(POOL, vm)
    results: list[int] = []
    for _ in range(100):
        with suppress(TransientProviderError):
            results.append(len(own.list_vms(POOL)))
    assert set(results) == {len(SOME)}
    assert 30 < len(results) < 70
    with pytest.raises(TransientProviderError, match="broke off after 100 of 200 VMs"):
        lab.dummy(half_inventory=1).list_vms(POOL)


def test_a_template_that_is_not_listed_does_not_exist(lab: Lab) -> None:
    own = lab.dummy(templates=["templates/debian-12"], clone_seconds=30)
    with pytest.raises(PermanentProviderError, match=r"^template templates/centos-7 does not exist$"):
        own.create_vm(POOL, "vm")
    with pytest.raises(PermanentProviderError, match=r"^pool bare has no template$"):
        own.create_vm(PoolSpec(name="bare"), "vm")
    assert lab.slept == []
    assert own.create_vm(PoolSpec(name="deb", template="templates/debian-12"), "vm").name == "vm"


def test_without_a_list_every_template_exists(lab: Lab) -> None:
    assert lab.dummy().create_vm(PoolSpec(name="bare"), "vm").name == "vm"
    with pytest.raises(PermanentProviderError):
        lab.dummy(templates=[]).create_vm(POOL, "vm")


def test_more_threads_than_redis_py_has_connections_for_by_itself(lab: Lab) -> None:
    own = lab.dummy()
    with ThreadPoolExecutor(150) as threads:
        made = list(threads.map(lambda number: own.create_vm(POOL, f"vm-{number}"), range(1000)))
    assert len(own.list_vms(POOL)) == len(made) == 1000


@pytest.mark.parametrize("operation", OPERATIONS)
def test_redis_down_is_transient(lab: Lab, tmp_path: Path, operation: str) -> None:
    with servers.running("valkey", tmp_path / "own") as own_server:
        counting = {"failures": {operation: {"transient": 1e-12}}}
        contexts = [
            ProviderContext(name="dummy", options=options, redis_url=own_server.url) for options in ({}, counting)
        ]
        for own in map(Dummy, contexts):
            CALLS[operation](own, "vm")
            own_server.kill()
            with pytest.raises(TransientProviderError, match="the dummy's Redis: "):
                CALLS[operation](own, "vm")
            own_server.start()
            CALLS[operation](own, "vm")
            own.close()


def test_a_key_that_is_no_inventory_is_transient(lab: Lab) -> None:
    lab.db.call("SET", PREFIX + POOL.name, "x")
    for operation in ("create", "destroy", "ready", "find"):
        with pytest.raises(TransientProviderError, match="WRONGTYPE"):
            CALLS[operation](lab.dummy(), "vm")


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"clone_second": 1}, "clone_second: unknown option"),
    (
        {"clone_seconds": -1},
        "clone_seconds: must be a number of seconds, 0 or more, or two of them: [minimum, maximum]",
    ),
    ({"boot_seconds": [5, 1]}, "boot_seconds: must be a number of seconds"),
    ({"list_seconds": [1, 2, 3]}, "list_seconds: must be a number of seconds"),
    ({"destroy_seconds": "soon"}, "destroy_seconds: must be a number of seconds"),
    ({"destroy_seconds": True}, "destroy_seconds: must be a number of seconds"),
    ({"clone_seconds": float("nan")}, "clone_seconds: must be a number of seconds"),
    ({"clone_seconds": None}, "clone_seconds: must be a number of seconds"),
    ({"hang_seconds": -1}, "hang_seconds: must be greater than or equal to 0"),
    ({"lost_after_seconds": float("inf")}, "lost_after_seconds: must be "),
    ({"seed": 1.5}, "seed: must be a valid integer"),
    ({"no_ip": 2}, "no_ip: must be less than or equal to 1"),
    ({"lost": -0.1}, "lost: must be greater than or equal to 0"),
    ({"unreachable": True}, "unreachable: must be a valid number"),
    ({"wrong_hostname": "0.1"}, "wrong_hostname: must be a valid number"),
    ({"half_inventory": None}, "half_inventory: must be a valid number"),
    ({"templates": "one"}, "templates: must be a valid tuple"),
    ({"templates": [1]}, "templates[0]: must be a valid string"),
    ({"failures": {"clone": {}}}, "failures.clone: unknown option"),
    ({"failures": {"create": {"fatal": 1}}}, "failures.create.fatal: unknown option"),
    ({"failures": {"create": {"hang": 1.01}}}, "failures.create.hang: must be less than or equal to 1"),
    ({"failures": {"list": {"hang": 0.6, "transient": 0.6}}}, "failures.list: must not add up to more than 1"),
]


@pytest.mark.parametrize(("options", "message"), WRONG, ids=[message for _, message in WRONG])
def test_a_wrong_option_is_reported_with_its_path(options: dict[str, Any], message: str) -> None:
    context = ProviderContext(name="lab", options={"provider_class": "dummy", **options}, redis_url="redis://127.0.0.1")
    with pytest.raises(ConfigurationError) as caught:
        registry.load(context)
    [line] = caught.value.problems
    assert line.startswith(f"providers.lab.{message}")
    with pytest.raises(ValidationError):
        Dummy(context)


def test_an_invalid_address_is_reported_without_its_password() -> None:
    context = ProviderContext(name="dummy", options={}, redis_url="redis://:s3/cret@127.0.0.1:x/0")
    with pytest.raises(ConfigurationError, match="the address of Redis is not valid") as caught:
        registry.load(context)
    assert "cret" not in str(caught.value)


def test_options_cannot_be_changed(lab: Lab) -> None:
    own = lab.dummy(clone_seconds=1)
    with pytest.raises(ValidationError, match="frozen"):
        own._options.seed = 2  # type: ignore[misc]
