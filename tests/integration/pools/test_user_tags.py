"""A running VM gets its user as a tag in the provider, once."""

import logging
from typing import Any

import pytest

from tests.support.pool_world import HOUR, RESET, PoolWorld, Scripted, pool
from tests.support.world import POOL
from vmpooler_tasks.errors import PermanentProviderError
from vmpooler_tasks.jobs.inspection import checks
from vmpooler_tasks.model.pools.lifecycle import Step
from vmpooler_tasks.providers import PoolSpec
from vmpooler_tasks.store import Database

VM, OTHER = "pooler-a", "pooler-b"

JANE: dict[str, Any] = {"token:user": "jane"}
JANE_DOE: dict[str, Any] = {"token:user": "Jane.Doe"}


class Tagging(Scripted):
    """A provider that tags. `users` are the tags that it wrote."""

    def __init__(self) -> None:
        super().__init__()
        self.users: dict[str, str] = {}

    def tag_vm_user(self, pool: PoolSpec, vm: str, user: str) -> bool:
        self._begin("tag", pool, vm)
        if vm in self.machines:
            self.users[vm] = user
        return vm in self.machines


@pytest.fixture
def provider() -> Tagging:
    return Tagging()


@pytest.fixture
def world(db: Database, provider: Tagging) -> PoolWorld:
    return PoolWorld(db, pools=[pool(size=0)], provider=provider)


def run_checks(world: PoolWorld) -> list[str]:
    """Inspect the pool in the turn of the next tags, and check the running VMs that it hands out."""
    world.client.delete(f"vmpooler_tasks__lock__user_tags__{POOL}")
    return world.deliver_all(work for work in world.inspect().work if work.step is Step.CHECK_RUNNING)


def test_a_vm_is_tagged_once_with_its_user(world: PoolWorld, provider: Tagging) -> None:
    world.running_vm(VM, **JANE_DOE)
    assert run_checks(world) == ["running"]
    assert provider.users == {VM: "jane-doe"}
    assert world.metadata(VM)["user_tagged"] == "true"
    assert run_checks(world) == []
    assert provider.called("tag") == [VM]


@pytest.mark.parametrize("metadata", [{}, {"token:user": ""}, {"token:user": "jane", "user_tagged": "true"}])
def test_a_vm_without_a_user_and_one_that_vmpooler_tagged_are_left_as_they_are(
    world: PoolWorld, provider: Tagging, metadata: dict[str, Any]
) -> None:
    world.running_vm(VM, **metadata)
    assert run_checks(world) == []
    assert provider.users == {}


@pytest.mark.parametrize("error", [RESET, PermanentProviderError("the VM has the mark of another installation")])
def test_a_failure_is_logged_and_keeps_no_other_vm_from_its_tag(
    world: PoolWorld, provider: Tagging, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    for vm in (VM, OTHER):
        world.running_vm(vm, **JANE)
    provider.raises("tag", error)
    assert run_checks(world) == ["running", "running"]
    assert len(provider.users) == 1
    assert [record.getMessage().split("' ")[1] for record in caplog.records] == [
        f"did not get the tag of its user: {type(error).__name__}: {error}"
    ]
    assert run_checks(world) == ["running"]
    assert provider.users == {VM: "jane", OTHER: "jane"}


def test_a_pool_has_its_turn_and_a_maximum(
    world: PoolWorld, provider: Tagging, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "MAX_USER_TAGS", 1)
    for vm in (VM, OTHER):
        world.running_vm(vm, **JANE)
    assert len(run_checks(world)) == 1
    assert world.due(Step.CHECK_RUNNING) == [], "the next turn is later"
    assert len(run_checks(world)) == 1
    assert sorted(provider.users) == [VM, OTHER]


def test_a_vm_that_is_past_its_lifetime_or_gone_gets_no_tag(world: PoolWorld, provider: Tagging) -> None:
    world.running_vm(VM, 24 * HOUR + 1, **JANE)
    world.running_vm(OTHER, **JANE)
    provider.before("find", lambda vm: provider.machines.pop(vm, None))
    assert "running" not in run_checks(world)
    assert provider.users == {}


def test_a_provider_that_tags_nobody_is_not_asked(world: PoolWorld) -> None:
    world.provider = Scripted()
    world.running_vm(VM, **JANE)
    assert run_checks(world) == []
    assert "user_tagged" not in world.metadata(VM)
