"""The dummy fails, hangs and loses VMs as often as its options say, each time the same."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.support import servers
from tests.support.dummy_lab import CALLS, NOW, POOL, SOME, Lab
from vmpooler_tasks.errors import PermanentProviderError, ProviderError, ThrottledProviderError, TransientProviderError
from vmpooler_tasks.providers import ProviderContext
from vmpooler_tasks.providers.dummy.inventory import PREFIX
from vmpooler_tasks.providers.dummy.provider import OPERATIONS, RETRY_AFTER_SECONDS, Dummy

pytestmark = [pytest.mark.both_servers, pytest.mark.slow(seconds=4)]

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
