"""What the dummy provider keeps in Redis, how long it takes, and its options."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tests.support import servers
from tests.support.dummy_lab import NOW, POOL, SOME, Lab
from vmpooler_tasks.errors import ConfigurationError, PermanentProviderError
from vmpooler_tasks.providers import PoolSpec, ProviderContext, VirtualMachine, registry
from vmpooler_tasks.providers.dummy.inventory import PREFIX
from vmpooler_tasks.providers.dummy.options import DummyOptions
from vmpooler_tasks.providers.dummy.provider import Dummy

pytestmark = [pytest.mark.both_servers, pytest.mark.slow(seconds=3)]


def test_where_nothing_is_left_to_chance_each_operation_is_one_command(lab: Lab) -> None:
    own = lab.dummy(clone_seconds=[1, 9], boot_seconds=60, destroy_seconds=[1, 2], list_seconds=1)
    own.list_vms(POOL)  # connects
    assert lab.commands(lambda: own.create_vm(POOL, "vm")) == {"hsetnx": 1}
    assert lab.commands(lambda: own.create_vm(POOL, "vm")) == {"hsetnx": 1, "hget": 1}
    assert lab.commands(lambda: own.find_vm(POOL, "vm")) == {"hget": 1}
    assert lab.commands(lambda: own.is_ready(POOL, "vm")) == {"hget": 1}
    assert lab.commands(lambda: own.list_vms(POOL)) == {"hkeys": 1}
    assert lab.commands(lambda: own.destroy_vm(POOL, "vm")) == {"hdel": 1, "del": 1}
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


def test_its_vms_survive_the_loss_of_vmpoolers_redis(lab: Lab, tmp_path: Path) -> None:
    with servers.running("valkey", tmp_path) as other:
        own = lab.dummy(redis_url=other.url)
        own.create_vm(POOL, "vm")
        assert lab.db.client.keys() == []
        lab.db.call("FLUSHALL")
        assert set(own.list_vms(POOL)) == {"vm"}
        assert own.destroy_vm(POOL, "vm")


def test_its_address_is_checked_and_its_password_is_not_shown(lab: Lab) -> None:
    with pytest.raises(ValidationError) as caught:
        lab.dummy(redis_url="redis://user:s3cret@host:6379/0?databas=1")
    assert "unknown option databas" in str(caught.value.errors()[0]["msg"])
    assert "s3cret" not in repr(DummyOptions(redis_url="redis://user:s3cret@host:6379/0"))


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
    ({"redis_url": "http://127.0.0.1"}, "redis_url: 'http://127.0.0.1' must start with redis://"),
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
